//! The versions of QMux that wsmux supports: their names, and how they differ on the wire.

/// A version of QMux. The subprotocol on which both ends agree names or implies the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QMuxVersion {
    /// The name of the version. A subprotocol that names the version has one of two forms. It is
    /// this name alone, or it is this name, a dot and the application's protocol.
    pub(crate) name: &'static str,
    /// The type of the QX_TRANSPORT_PARAMETERS frame, which is the first frame of each end.
    pub(crate) parameters: u64,
    /// Whether a ping may have the same number as the previous ping.
    pub(crate) equal_pings: bool,
}

/// The type of the QX_TRANSPORT_PARAMETERS frame, which is encoded as `\xffQS0\r\n\r\n`. Pull
/// request 69 of quicwg/qmux proposes another type for later versions.
const QS0: u64 = 0x3f51_5330_0d0a_0d0a;

/// The versions, one in each line, in order of preference.
const VERSIONS: [QMuxVersion; 2] = [
    QMuxVersion { name: "qmux-02", parameters: QS0, equal_pings: false },
    // In -01 the numbers of pings increase "monotonically", so equal numbers are valid. In -02 they
    // increase "strictly".
    QMuxVersion { name: "qmux-01", parameters: QS0, equal_pings: true },
];

/// The names of all versions, in order of preference.
pub(super) const NAMES: [&str; VERSIONS.len()] = [VERSIONS[0].name, VERSIONS[1].name];

impl QMuxVersion {
    /// All versions that wsmux supports, in order of preference. By default a client offers only
    /// the first version.
    pub const ALL: &[Self] = &VERSIONS;

    /// The newest version, which a client and a server of wsmux prefer.
    pub const NEWEST: Self = VERSIONS[0];

    /// The version that is used if the subprotocol is only the name of an application's protocol.
    /// The draft draft-lcurley-qmux-websocket-00 ("QMux Version") is based on this version.
    const IMPLIED: Self = VERSIONS[VERSIONS.len() - 1];

    /// Returns the version that the agreed subprotocol names or implies.
    pub fn of_subprotocol(subprotocol: &str) -> Self {
        // W-44 (Binding "QMux Version")
        Self::split_subprotocol(subprotocol).0.unwrap_or(Self::IMPLIED)
    }

    /// Splits a subprotocol into the version and the application's protocol. If the subprotocol
    /// does not begin with a version of [`ALL`](Self::ALL), the whole subprotocol is an
    /// application's protocol.
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

    /// Returns the name of the version, such as `qmux-02`.
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

    /// Returns the first message of an end.
    fn hello(engine: &mut Connection) -> Bytes {
        let mut out = MessageBuf::new();
        let Some(Outgoing::Message(first)) = engine.poll_transmit(Time::EPOCH, &mut out) else {
            panic!("no message");
        };
        first.to_bytes()
    }

    /// The frame type of QX_TRANSPORT_PARAMETERS MUST be the frame type of the version that
    /// the subprotocol selects (W-44). On the frame type of another version we MUST close with
    /// PROTOCOL_VIOLATION.
    #[test]
    fn the_first_frame_has_the_type_of_its_version() {
        // Pull request 69 of quicwg/qmux proposes this type.
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

    /// [W-44] If the whole subprotocol, or its part before the first dot, is the name of a version,
    /// QMux MUST be spoken in that version. Any other subprotocol means `qmux-01`.
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
