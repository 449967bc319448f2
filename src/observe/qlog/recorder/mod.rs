//! Turns what a connection's task sees into events, within the bounds of the log.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    self as proto, Close, ConnectionError, Frame, SessionFrame, Side, Time, Timeout, Wire,
};

use super::{
    milliseconds,
    output::{CHUNK, Output},
    schema::{self, ErrorCode, MAX_REASON, Owner},
    side_name, since_1970,
};
use crate::{
    connection::{
        events::{ConnectionEvent, EventLog},
        shared::Shared,
    },
    socket::Incoming,
};

/// After this time, collected records are passed to the writer with the next event, so that a log
/// can be read while it grows.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Bytes reserved for the end of a log: two warnings, and the event that says how the connection
/// ended.
pub(super) const END: u64 = 2 * 256 + 512 + 6 * MAX_REASON as u64;

/// The most entries for the frames of one message, apart from the entry that all further frames
/// share. This limit is needed because a message of 64 KiB may contain tens of thousands of frames.
const MAX_FRAMES: usize = 1_000;

/// The log of one connection, owned by its task.
#[derive(Debug)]
pub(crate) struct Log {
    output: Output,
    shared: Arc<Shared>,
    wire: Wire,
    /// Records that have not been passed to the output.
    chunk: Vec<u8>,
    /// When records were last passed to the output.
    handed_over: Time,
    /// Bytes that are left for events. The room for the end of the log is reserved separately.
    room: u64,
    /// Whether an event did not fit into the log.
    is_full: bool,
    /// The number of events that were left out since the last event was written.
    lost: u64,
    /// How many messages were sent. This is also the number of the next message.
    sent: u64,
    received: u64,
    rtt: Option<Duration>,
    /// The number of the connection's next event that is recorded.
    next_event: u64,
    /// The close that this end sent.
    farewell: Option<Close>,
}

impl Log {
    /// Makes a log with `room` bytes for events.
    pub(super) fn new(output: Output, shared: Arc<Shared>, wire: Wire, room: u64) -> Self {
        Self {
            output,
            handed_over: shared.now(),
            shared,
            wire,
            chunk: Vec::new(),
            room,
            is_full: false,
            lost: 0,
            sent: 0,
            received: 0,
            rtt: None,
            next_event: 0,
            farewell: None,
        }
    }

    pub(super) fn begin(&mut self, side: Side, title: Option<&str>, description: Option<&str>) {
        let header = schema::Header {
            qlog_version: "0.3",
            qlog_format: "JSON-SEQ",
            title,
            description,
            trace: schema::Trace {
                title,
                description,
                common_fields: schema::CommonFields {
                    protocol_type: ["QMux"],
                    group_id: self.shared.id.to_string(),
                    time_format: "relative",
                    // The moment from which this connection's times are counted.
                    reference_time: milliseconds(
                        since_1970().saturating_sub(self.shared.now().since_epoch()),
                    ),
                },
                vantage_point: schema::VantagePoint { name: "wsmux", kind: side_name(side) },
            },
        };
        self.record(&header);
        self.room = self.room.saturating_sub(self.chunk.len() as u64);
        let info = &self.shared.info;
        if let (Some(local), Some(remote)) = (info.local_address(), info.remote_address()) {
            let (from, to) = match side {
                Side::Client => (local, remote),
                Side::Server => (remote, local),
            };
            let started = schema::ConnectionStarted {
                ip_version: if to.is_ipv4() { "v4" } else { "v6" },
                src_ip: from.ip(),
                dst_ip: to.ip(),
                protocol: "QMux",
                src_port: from.port(),
                dst_port: to.port(),
            };
            self.event(self.shared.now(), "connectivity:connection_started", started);
        }
    }

    /// Records a message that is handed to the socket.
    pub(crate) fn sent(&mut self, now: Time, message: Bytes) {
        let number = self.sent;
        self.sent += 1;
        self.packet(now, Owner::Local, number, message);
    }

    /// Records items that the socket has received.
    pub(crate) fn received(&mut self, now: Time, items: &[Incoming]) {
        for item in items {
            if let Incoming::Message(message) = item {
                let number = self.received;
                self.received += 1;
                self.packet(now, Owner::Remote, number, message.clone());
            }
        }
    }

    fn packet(&mut self, now: Time, sender: Owner, packet_number: u64, mut message: Bytes) {
        if self.output.has_failed() {
            return;
        }
        if self.is_full || self.output.is_full() {
            self.lost += 1;
            // The message is not recorded, but the last event of the log has to contain this end's
            // close.
            if let (Owner::Local, Ok(Some(Frame::ConnectionClose(close)))) =
                (sender, self.wire.decode(&mut message))
            {
                self.farewell = Some(close);
            }
            return;
        }
        let raw = schema::RawInfo { length: message.len() };
        let mut frames: Vec<schema::SizedFrame> = Vec::new();
        // After `most` entries, all further frames share one last entry. Frames after a close have
        // no effect, so they get no entries of their own.
        let (mut most, mut last_kind) = (MAX_FRAMES, proto::VarInt::default());
        let mut before = message.len();
        // A message that cannot be decoded ends the connection; the last event reports that.
        loop {
            let kind = self.wire.frame_type(&message).unwrap_or_default();
            if frames.is_empty()
                && let Some(frame) = SessionFrame::take_from(&mut message)
            {
                let frame_size = before - message.len();
                before = message.len();
                let frame = schema::Frame::of_session(frame);
                frames.push(schema::SizedFrame { frame, frame_size, count: 1 });
                last_kind = kind;
                continue;
            }
            let Ok(Some(frame)) = self.wire.decode(&mut message) else { break };
            let frame_size = before - message.len();
            before = message.len();
            // Transport parameters are valid only as the first frame of the first message; anywhere
            // else they end the connection.
            if let (0, true, Frame::TransportParameters(parameters)) =
                (packet_number, frames.is_empty(), &frame)
            {
                let parameters = schema::ParametersSet::new(sender, parameters);
                self.event(now, "transport:parameters_set", parameters);
            }
            if let Some(frame) = schema::Frame::new(&frame) {
                let are_full = frames.len() > most;
                let entry = schema::SizedFrame { frame, frame_size, count: 1 };
                match frames.last_mut() {
                    Some(last) if last.frame == entry.frame => last.add(&entry),
                    Some(last) if are_full => last.add_other(&entry, last_kind),
                    _ => {
                        frames.push(entry);
                        last_kind = kind;
                    }
                }
            }
            if let Frame::ConnectionClose(close) = frame {
                most = most.min(frames.len());
                if let Owner::Local = sender {
                    self.farewell = Some(close);
                }
            }
        }
        let name = match sender {
            Owner::Local => "transport:packet_sent",
            Owner::Remote => "transport:packet_received",
        };
        let header = schema::PacketHeader { packet_type: "1RTT", packet_number };
        self.event(now, name, schema::Packet { header, frames, raw });
    }

    /// Records the smoothed round-trip time.
    pub(crate) fn rtt(&mut self, now: Time, rtt: Option<Duration>) {
        if let Some(rtt) = rtt
            && self.rtt.replace(rtt) != Some(rtt)
        {
            let metrics = schema::MetricsUpdated { smoothed_rtt: milliseconds(rtt) };
            self.event(now, "recovery:metrics_updated", metrics);
        }
    }

    /// Records what has happened to the connection's sockets since the last call.
    pub(crate) fn session(&mut self, now: Time, events: &EventLog) {
        while let Some((number, event)) = events.get(self.next_event) {
            self.next_event = number + 1;
            match event {
                ConnectionEvent::Suspended => {
                    let data = schema::ConnectionSuspended {};
                    self.event(now, "wsmux:connection_suspended", data);
                }
                ConnectionEvent::Resumed { gap, resent_messages, resent_bytes } => {
                    let gap = milliseconds(gap);
                    let data = schema::ConnectionResumed {
                        gap,
                        resent_messages: schema::Uint(resent_messages),
                        resent_bytes: schema::Uint(resent_bytes),
                    };
                    self.event(now, "wsmux:connection_resumed", data);
                }
                // The log already contains this notice as a frame of the peer's message.
                ConnectionEvent::PeerDraining => {}
            }
        }
    }

    fn event(&mut self, now: Time, name: &'static str, data: impl serde::Serialize) {
        if self.output.has_failed() {
            return;
        }
        if self.is_full || self.output.is_full() {
            self.lost += 1;
            return;
        }
        let (before, lost) = (self.chunk.len(), self.lost);
        self.append(now, name, data);
        let written = (self.chunk.len() - before) as u64;
        match self.room.checked_sub(written) {
            Some(room) => self.room = room,
            None => {
                self.chunk.truncate(before);
                self.is_full = true;
                self.lost = lost + 1;
                self.warn(now, "the log has reached its largest size: what follows is missing");
            }
        }
        if self.chunk.len() >= CHUNK || now - self.handed_over >= MAX_DELAY {
            self.handed_over = now;
            self.output.push(std::mem::take(&mut self.chunk));
        }
    }

    fn append(&mut self, now: Time, name: &'static str, data: impl serde::Serialize) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let why = if self.is_full { "no room in the log" } else { "the writer is slow" };
            self.warn(now, &format!("{why}: {lost} events are missing here"));
        }
        self.record(&schema::Event { time: milliseconds(now.since_epoch()), name, data });
    }

    fn warn(&mut self, now: Time, message: &str) {
        let data = schema::Warning { message };
        self.record(&schema::Event {
            time: milliseconds(now.since_epoch()),
            name: "generic:warning",
            data,
        });
    }

    /// Appends a record in the format of RFC 7464.
    fn record(&mut self, record: &impl serde::Serialize) {
        let before = self.chunk.len();
        self.chunk.push(0x1e);
        // Serialisation to JSON cannot fail here. If it did, the record would be left out.
        match serde_json::to_writer(&mut self.chunk, record) {
            Ok(()) => self.chunk.push(b'\n'),
            Err(_) => self.chunk.truncate(before),
        }
    }

    fn closed(&mut self) -> schema::ConnectionClosed {
        let state = self.shared.lock();
        if state.moved_to.is_some() {
            // The earlier connection has a log of its own, which goes on.
            let reason = "its client has resumed an earlier connection".to_owned();
            return schema::ConnectionClosed { reason, trigger: "clean", ..Default::default() };
        }
        let error = state.engine().close_reason().cloned();
        drop(state);
        let Some(error) = error else {
            // The connection has not ended. A driver that is dropped ends its connection, so this
            // log was never given to a driver.
            let reason = "never began".to_owned();
            return schema::ConnectionClosed { reason, trigger: "error", ..Default::default() };
        };
        let owner = match &error {
            // The peer closed the connection.
            ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
                Some(Owner::Remote)
            }
            ConnectionError::SocketLost(_) => None,
            // In all other cases this end closed the connection.
            _ => Some(Owner::Local),
        };
        let trigger = match &error {
            ConnectionError::TimedOut(Timeout::Handshake) => "handshake_timeout",
            ConnectionError::TimedOut(Timeout::Idle | Timeout::KeepAlive) => "idle_timeout",
            ConnectionError::LocallyClosed | ConnectionError::ApplicationClosed(_) => "application",
            ConnectionError::ConnectionClosed(close) if close.error_code.into_inner() == 0 => {
                "clean"
            }
            _ => "error",
        };
        let mut closed = schema::ConnectionClosed {
            owner,
            connection_code: None,
            application_code: None,
            reason: error.to_string(),
            trigger,
        };
        match (&error, self.farewell.take()) {
            (ConnectionError::ConnectionClosed(close), _) => {
                closed.connection_code = Some(close.error_code.into());
                closed.reason = schema::reason(&close.reason);
            }
            (ConnectionError::ApplicationClosed(close), _) => {
                closed.application_code = Some(ErrorCode::application(close.error_code));
                closed.reason = schema::reason(&close.reason);
            }
            (_, Some(Close::Transport { code, .. })) => closed.connection_code = Some(code.into()),
            (_, Some(Close::Application { code, reason })) => {
                closed.application_code = Some(ErrorCode::application(code));
                closed.reason = schema::reason(&reason);
            }
            (_, Some(_) | None) => {}
        }
        closed.reason.truncate(closed.reason.floor_char_boundary(MAX_REASON));
        closed
    }
}

/// The log is dropped when the connection has ended.
impl Drop for Log {
    fn drop(&mut self) {
        let closed = self.closed();
        // This event is written even if too much is waiting, because readers of a log look for it
        // first.
        self.append(self.shared.now(), "connectivity:connection_closed", closed);
        self.output.push(std::mem::take(&mut self.chunk));
        self.output.end();
    }
}

#[cfg(test)]
mod tests;
