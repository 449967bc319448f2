//! The versions of QMux that are spoken: what differs from one to the next on the wire, and their names.

/// A version of QMux, which the agreed subprotocol names or implies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QMuxVersion {
    /// Alone, or before a dot and the application's protocol, the subprotocol.
    pub(crate) name: &'static str,
    /// The type of QX_TRANSPORT_PARAMETERS, the first frame of each end.
    pub(crate) parameters: u64,
    /// Whether a ping may have the number of the one before.
    pub(crate) equal_pings: bool,
}

/// On the wire `\xffQS0\r\n\r\n`, and at least up to quicwg/qmux's pull request 69.
const QS0: u64 = 0x3f51_5330_0d0a_0d0a;

/// One line for each version, in order of preference.
const VERSIONS: [QMuxVersion; 2] = [
    QMuxVersion { name: "qmux-02", parameters: QS0, equal_pings: false },
    // "Monotonically increasing", where -02 has "strictly".
    QMuxVersion { name: "qmux-01", parameters: QS0, equal_pings: true },
];

impl QMuxVersion {
    /// All versions that wsmux speaks, in order of preference: a client offers the first by default.
    pub const ALL: &[Self] = &VERSIONS;

    /// The version that both ends prefer.
    pub const NEWEST: Self = VERSIONS[0];

    /// What the bare name of an application's protocol stands for: the version that draft-lcurley-qmux-websocket-00
    /// builds on ("QMux Version").
    const IMPLIED: Self = VERSIONS[VERSIONS.len() - 1];

    /// The version that follows from the subprotocol that was agreed on.
    pub fn of_subprotocol(subprotocol: &str) -> Self {
        // W-44 (Binding "QMux Version")
        Self::split_subprotocol(subprotocol).0.unwrap_or(Self::IMPLIED)
    }

    /// The version that a subprotocol names, and the application's protocol after it. A subprotocol that names no
    /// version of [`ALL`](Self::ALL) is an application's protocol as a whole.
    pub fn split_subprotocol(subprotocol: &str) -> (Option<Self>, Option<&str>) {
        for version in VERSIONS {
            let Some(rest) = subprotocol.strip_prefix(version.name) else { continue };
            if rest.is_empty() {
                return (Some(version), None);
            }
            if let Some(application) = rest.strip_prefix('.') {
                return (Some(version), (!application.is_empty()).then_some(application));
            }
        }
        (None, Some(subprotocol))
    }

    /// The name of its subprotocol, such as `qmux-02`.
    pub fn name(self) -> &'static str {
        self.name
    }
}

#[cfg(test)]
mod tests {

    use bytes::Bytes;

    use super::*;
    use crate::{
        Config, Connection, ConnectionError, Incoming, MessageBuf, Outgoing, Side, Time,
        TransportErrorCode, Wire,
    };

    fn engine(version: QMuxVersion, side: Side) -> Connection {
        let mut engine = Connection::new(Config::default(), side, Wire::QMux, Time::EPOCH);
        engine.set_qmux_version(version);
        engine
    }

    /// The first message.
    fn hello(engine: &mut Connection) -> Bytes {
        let mut out = MessageBuf::new();
        let Some(Outgoing::Message(first)) = engine.poll_transmit(Time::EPOCH, &mut out) else {
            panic!("no message");
        };
        first.to_bytes()
    }

    /// The type of QX_TRANSPORT_PARAMETERS MUST be that of the version which the subprotocol means; on that of
    /// another version we MUST close with PROTOCOL_VIOLATION.
    #[test]
    fn the_first_frame_has_the_type_of_its_version() {
        // quicwg/qmux's pull request 69, as it stands.
        let next =
            QMuxVersion { name: "qmux-03", parameters: 0x3f51_4d58_0d0a_0d0a, ..VERSIONS[0] };
        let mut client = engine(next, Side::Client);
        let first = hello(&mut client);
        assert!(first.starts_with(b"\xffQMX\r\n\r\n"), "{first:?}");
        for version in VERSIONS {
            let mut server = engine(version, Side::Server);
            let ours = hello(&mut server);
            assert!(ours.starts_with(b"\xffQS0\r\n\r\n"), "{ours:?}");
            client = engine(version, Side::Client);
            client.handle(Time::EPOCH, Incoming::Message(ours.clone()));
            assert!(client.is_established());

            client = engine(next, Side::Client);
            client.handle(Time::EPOCH, Incoming::Message(ours));
            match client.close_reason() {
                Some(ConnectionError::TransportError(error)) => {
                    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION, "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// [W-44] The version of QMux MUST be the one whose name is the whole subprotocol, or its part
    /// before the first dot; any other subprotocol means `qmux-01`.
    #[test]
    fn the_subprotocol_names_or_implies_the_version() {
        for (subprotocol, version) in [
            ("qmux-02", "qmux-02"),
            ("qmux-02.a", "qmux-02"),
            ("qmux-01", "qmux-01"),
            ("qmux-01.qmux-02", "qmux-01"),
            ("moqt-18", "qmux-01"),
            ("qmux-020", "qmux-01"),
        ] {
            assert_eq!(QMuxVersion::of_subprotocol(subprotocol).name(), version, "{subprotocol}");
        }
    }
}
