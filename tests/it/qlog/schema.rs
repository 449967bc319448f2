//! Checks a log against the schema that qvis reads.

use std::collections::BTreeMap;

use serde_json::Value;
use wsmux::Side;

use super::{SIZES, records};

pub(super) fn uint(value: &Value) -> u64 {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().expect("a whole number");
            assert!(number < 1 << 53, "JavaScript would take {number} for another");
            number
        }
        Value::String(text) => text.parse().expect("a number in words"),
        other => panic!("{other} is no number"),
    }
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

fn is_uint(value: &Value) -> bool {
    uint(value) < 1 << 62
}

fn is_code(value: &Value) -> bool {
    value.is_string() || is_uint(value)
}

fn is_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|time| time >= 0.0)
}

fn is_one_of<const N: usize>(names: [&'static str; N]) -> impl Fn(&Value) -> bool {
    move |value| value.as_str().is_some_and(|text| names.contains(&text))
}

/// Asserts that the field exists and that its value satisfies `is`.
fn require(object: &Value, field: &str, is: impl Fn(&Value) -> bool) {
    let value = object.get(field).unwrap_or_else(|| panic!("no {field} in {object}"));
    assert!(is(value), "{field} of {object}");
}

/// Checks the fields of the header that QlogFileSeq and TraceSeq require, and the fields that only
/// qvis requires.
pub(super) fn check_header(header: &Value, side: &str) {
    // qvis accepts "draft-02", two names of later drafts, and "0.3".
    require(header, "qlog_version", is_one_of(["0.3"]));
    require(header, "qlog_format", is_one_of(["JSON-SEQ"]));
    let trace = header.get("trace").expect("a trace");
    require(&trace["vantage_point"], "type", |value| value == side);
    let common = &trace["common_fields"];
    require(common, "time_format", is_one_of(["relative"]));
    // The time is in milliseconds since 1970, and lies in this century.
    require(common, "reference_time", |value| {
        value.as_f64().is_some_and(|time| (1.7e12..4.1e12).contains(&time))
    });
    require(common, "protocol_type", |value| value.as_array().is_some_and(|all| !all.is_empty()));
}

pub(super) fn check_event(event: &Value) {
    require(event, "time", is_time);
    require(event, "name", is_text);
    require(event, "data", Value::is_object);
    let data = &event["data"];
    match event["name"].as_str().unwrap() {
        "connectivity:connection_started" => {
            require(data, "src_ip", is_text);
            require(data, "dst_ip", is_text);
        }
        "connectivity:connection_closed" => {
            require(data, "owner", is_one_of(["local", "remote"]));
            let triggers = ["clean", "handshake_timeout", "idle_timeout", "error", "application"];
            require(data, "trigger", is_one_of(triggers));
        }
        "transport:parameters_set" => {
            require(data, "owner", is_one_of(["local", "remote"]));
            for name in ["initial_max_data", "initial_max_stream_data_uni", "max_idle_timeout"] {
                require(data, name, is_uint);
            }
        }
        "transport:packet_sent" | "transport:packet_received" => {
            require(&data["header"], "packet_type", is_one_of(["1RTT"]));
            require(&data["header"], "packet_number", is_uint);
            require(&data["raw"], "length", is_uint);
            require(data, "frames", Value::is_array);
            data["frames"].as_array().unwrap().iter().for_each(check_frame);
            let sizes = data["frames"].as_array().unwrap().iter().map(|f| uint(&f["frame_size"]));
            assert_eq!(sizes.sum::<u64>(), uint(&data["raw"]["length"]), "frames fill {data}");
        }
        "wsmux:connection_suspended" => {}
        "wsmux:connection_resumed" => {
            require(data, "gap", is_time);
            require(data, "resent_messages", is_uint);
            require(data, "resent_bytes", is_uint);
        }
        "recovery:metrics_updated" => require(data, "smoothed_rtt", is_time),
        other => panic!("no such event in the schema: {other}"),
    }
}

/// Checks the fields that the schema requires of each frame.
fn check_frame(frame: &Value) {
    require(frame, "frame_type", is_text);
    let uints: &[&str] = match frame["frame_type"].as_str().unwrap() {
        "padding" => &["payload_length"],
        "reset_stream" => &["stream_id", "error_code", "final_size"],
        "stop_sending" => &["stream_id", "error_code"],
        "stream" => &["stream_id", "offset", "length"],
        "max_data" => &["maximum"],
        "max_stream_data" => &["stream_id", "maximum"],
        "max_streams" => {
            require(frame, "stream_type", is_one_of(["bidirectional", "unidirectional"]));
            &["maximum"]
        }
        "data_blocked" => &["limit"],
        "stream_data_blocked" => &["stream_id", "limit"],
        "streams_blocked" => {
            require(frame, "stream_type", is_one_of(["bidirectional", "unidirectional"]));
            &["limit"]
        }
        "connection_close" => {
            require(frame, "error_space", is_one_of(["transport", "application"]));
            require(frame, "error_code", is_code);
            &["error_code_value"]
        }
        "datagram" => &["length"],
        "qx_transport_parameters" | "wsmux_going_away" => &[],
        "session_ack" | "session_resumed" => &["received"],
        "qx_ping" => &["sequence_number"],
        other => panic!("no such frame: {other}"),
    };
    uints.iter().for_each(|field| require(frame, field, is_uint));
    if frame.get("count").is_some() {
        require(frame, "count", |count| uint(count) > 1);
    }
}

/// Checks that the packets of one direction are numbered in order, and returns their frames.
pub(super) fn frames(events: &[Value], name: &str) -> Vec<Value> {
    let mut frames = Vec::new();
    let packets = events.iter().filter(|event| event["name"] == name);
    for (number, packet) in packets.enumerate() {
        assert_eq!(uint(&packet["data"]["header"]["packet_number"]), number as u64);
        frames.extend(packet["data"]["frames"].as_array().unwrap().iter().cloned());
    }
    frames
}

/// Checks that the packets of one direction are numbered in order. Returns their frames, and the
/// number of bytes on each stream.
pub(super) fn check_packets(events: &[Value], name: &str) -> (Vec<Value>, BTreeMap<u64, u64>) {
    let frames = frames(events, name);
    let mut streams: BTreeMap<u64, u64> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame["frame_type"] == "stream") {
        let at = streams.entry(uint(&frame["stream_id"])).or_default();
        assert_eq!(uint(&frame["offset"]), *at, "no byte is skipped or sent twice: {frame}");
        *at += uint(&frame["length"]);
    }
    (frames, streams)
}

/// Checks that a log conforms to the schema and contains the transfer. Returns the number of
/// packets in each direction.
pub(super) fn check_log(log: &[u8], side: Side) -> [usize; 2] {
    let records = records(log);
    let (header, events) = records.split_first().unwrap();
    let local = if side == Side::Client { "client" } else { "server" };
    check_header(header, local);
    events.iter().for_each(check_event);
    let times: Vec<f64> = events.iter().map(|event| event["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "qvis wants events in the order of their times");
    assert_eq!(events[0]["name"], "connectivity:connection_started");
    assert_eq!(events.last().unwrap()["name"], "connectivity:connection_closed");
    let owners = events.iter().filter(|event| event["name"] == "transport:parameters_set");
    assert_eq!(owners.count(), 2, "one of either end");

    let directions = ["transport:packet_sent", "transport:packet_received"];
    let [sent, received] = directions.map(|name| check_packets(events, name));
    let (of_client, of_server) = match side {
        Side::Client => (sent, received),
        Side::Server => (received, sent),
    };
    for (index, size) in SIZES.into_iter().enumerate() {
        let id = index as u64 * 4;
        assert_eq!(of_client.1[&id], size as u64, "stream {id} there");
        assert_eq!(of_server.1[&id], size as u64, "stream {id} and back");
    }
    assert_eq!(of_client.1[&2], 4, "the unidirectional stream");
    let has = |frames: &[Value], kind: &str, field: &str, value: u64| {
        frames.iter().any(|frame| frame["frame_type"] == kind && frame[field] == value)
    };
    assert!(has(&of_server.0, "stop_sending", "error_code", 9));
    assert!(has(&of_client.0, "reset_stream", "error_code", 9));
    assert!(has(&of_client.0, "datagram", "length", 8));
    assert!(has(&of_client.0, "connection_close", "error_code_value", 0));
    directions.map(|name| events.iter().filter(|event| event["name"] == name).count())
}
