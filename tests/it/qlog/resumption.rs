//! The log of a connection that is resumed.

use std::{io::Write, sync::mpsc, time::Duration};

use serde_json::Value;
use wsmux::{Config, ConnectionEvent, QlogConfig, VarInt, WebSocketClient, WebSocketServer};
use wsmux_testing::{
    cutter::{Cut, Cutter},
    interop::{self, Echo, MIB, get_echo, within},
};

use super::{
    Collect, records,
    schema::{check_event, frames, uint},
};

/// Returns a configuration whose logs arrive at the receiver.
fn qlog() -> (QlogConfig, mpsc::Receiver<Vec<u8>>) {
    let (sender, logs) = mpsc::channel();
    let qlog = QlogConfig::new(move |_| {
        Some(Box::new(Collect(Vec::new(), sender.clone())) as Box<dyn Write + Send>)
    });
    (qlog, logs)
}

/// Asserts that a log has one loss and one new socket, with messages before and after them. Returns
/// the number of resent messages that the log gives.
fn check(records: &[Value]) -> u64 {
    let events = &records[1..];
    events.iter().for_each(check_event);
    let name = |event: &Value| match event["name"].as_str().unwrap() {
        "transport:packet_sent" | "transport:packet_received" => "packet".to_owned(),
        name => name.to_owned(),
    };
    let mut names: Vec<_> = events.iter().map(name).collect();
    names.retain(|name| !name.ends_with("_set") && !name.ends_with("_updated"));
    names.dedup();
    // The client's log contains the request to resume, which is sent on the new socket. The
    // server's connection gets the new socket only after this request.
    let asks = records[0]["trace"]["vantage_point"]["type"] == "client";
    let mut expected =
        vec!["connectivity:connection_started", "packet", "wsmux:connection_suspended"];
    expected.extend(asks.then_some("packet"));
    expected.extend(["wsmux:connection_resumed", "packet", "connectivity:connection_closed"]);
    assert_eq!(names, expected);
    let resumed = events.iter().find(|event| event["name"] == "wsmux:connection_resumed").unwrap();
    uint(&resumed["data"]["resent_messages"])
}

#[test]
fn the_log_of_a_connection_goes_on_after_a_lost_socket() {
    let [(at_client, client_logs), (at_server, server_logs)] = [qlog(), qlog()];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let resent = runtime.block_on(async {
        let config = interop::config(|config: &mut Config| {
            config.resume_timeout(Some(Duration::from_secs(60)));
        });
        let server = WebSocketServer::builder().config(config.clone()).qlog(Some(at_server));
        let server = server.bind("127.0.0.1:0").await.unwrap();
        let cutter = Cutter::start(server.local_addr().unwrap()).await;
        let client =
            WebSocketClient::builder().config(config).qlog(Some(at_client)).build().unwrap();
        let url = format!("ws://{}/", cutter.address());
        let (client, server_end) = tokio::join!(client.connect(&url), interop::accept(&server));
        let client = client.unwrap();
        let _echo = Echo::start(&server_end);
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                tokio::spawn(incoming);
            }
        });
        let mut events = client.events();
        let cut = async {
            cutter.forwarded(MIB).await;
            cutter.cut(Cut::Reset);
            assert_eq!(within("a loss", events.next()).await, Some(ConnectionEvent::Suspended));
        };
        tokio::join!(get_echo(&client, 1, 4 * MIB), cut);
        client.close(VarInt::from_u32(7), b"bye");
        client.closed().await;
        server_end.closed().await;
        [&client, &server_end].map(|end| end.session_stats().resent_messages)
    });
    drop(runtime);
    // The server has begun another log for the new socket. That log ends where the server learned
    // to which connection the socket belongs.
    let is_resumed =
        |log: &Vec<Value>| log.iter().any(|event| event["name"] == "wsmux:connection_resumed");
    let mut of_server: Vec<_> = server_logs.iter().map(|log| records(&log)).collect();
    let moved = of_server.extract_if(.., |log| !is_resumed(log));
    for log in moved {
        let end = &log.last().unwrap()["data"];
        assert_eq!(end["reason"], "its client has resumed an earlier connection");
        assert_eq!(end["trigger"], "clean");
    }
    let records = records(&client_logs.recv().unwrap());
    assert_eq!([&records, &of_server[0]].map(|log| check(log)), resent);
    let sent = frames(&records, "transport:packet_sent");
    let received = frames(&records, "transport:packet_received");
    let has = |frames: &[Value], kind: &str| frames.iter().any(|frame| frame["frame_type"] == kind);
    assert!(has(&sent, "session_ack") && has(&received, "session_ack"));
    assert!(has(&received, "session_resumed") && !has(&sent, "session_resumed"));
    assert_eq!(records.last().unwrap()["data"]["reason"], "bye");
}
