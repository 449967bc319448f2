//! The setters that the builders of clients and of servers share.

/// Defines the setters for subprotocols, connection settings and qlog, inside the `impl` of a
/// builder.
///
/// The builder has the fields `subprotocols: Subprotocols` and `connection:
/// WebSocketConnectionBuilder`. The two forms, `shared_setters!(client)` and
/// `shared_setters!(server)`, differ in a few words of the documentation, because a client offers
/// subprotocols and a server accepts them.
macro_rules! shared_setters {
    (client) => { shared_setters!(@ "Offers", "offers", "offered", "server", "false"); };
    (server) => { shared_setters!(@ "Accepts", "accepts", "accepted", "client", "true"); };
    (@ $Verb:literal, $verb:literal, $participle:literal, $peer:literal, $older:literal) => {
        #[doc = concat!($Verb, " the application protocol `name`,")]
        /// as subprotocol `qmux-02.<name>`. The order of the calls is the order of preference.
        /// Default none.
        pub fn protocol(mut self, name: impl Into<String>) -> Self {
            let protocol = $crate::handshake::negotiation::Protocol::OfVersion(name.into());
            self.subprotocols.protocols.push(protocol);
            self
        }

        #[doc = concat!($Verb, " the application protocol `name` by its bare name,")]
        /// such as `moqt-18` (draft-lcurley-qmux-websocket-00). [`protocol`](Self::protocol)
        #[doc = concat!($verb, " the form `qmux-02.<name>`.")]
        /// The order of the calls of these two setters is the order of preference. Default none.
        pub fn bare_protocol(mut self, name: impl Into<String>) -> Self {
            let protocol = $crate::handshake::negotiation::Protocol::Bare(name.into());
            self.subprotocols.protocols.push(protocol);
            self
        }

        #[doc = concat!("Whether names of older versions of QMux are ", $participle, ", too.")]
        /// The older names select the same wire. In the order of preference, each older name
        /// follows the newest name of the same form: `qmux-01` after `qmux-02`, and
        /// `qmux-01.<name>` after `qmux-02.<name>` for each [`protocol`](Self::protocol).
        #[doc = concat!("Default `", $older, "`.")]
        pub fn older_versions(mut self, enabled: bool) -> Self {
            self.subprotocols.older_versions = enabled;
            self
        }

        #[doc = concat!("Whether a ", $peer, " must know one of the application protocols.")]
        #[doc = concat!("If `false`, the bare `qmux-02` is ", $participle, " after them.")]
        /// Default `false`.
        pub fn require_protocol(mut self, required: bool) -> Self {
            self.subprotocols.protocol_required = required;
            self
        }

        #[doc = concat!($Verb, " exactly these subprotocols, the most preferred first.")]
        /// These names replace the names that the other setters, such as
        /// [`protocol`](Self::protocol), produce.
        #[doc = concat!("This is for ", $peer, "s that call the QMux wire by other names.")]
        pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
            self.subprotocols.names = Some(names.into_iter().map(Into::into).collect());
            self
        }

        /// Sets the limits and timeouts of each connection. Default
        /// [`Config::default`](crate::Config::default).
        pub fn config(mut self, config: wsmux_proto::Config) -> Self {
            self.connection = self.connection.config(config);
            self
        }

        /// Writes a log of each connection on the QMux wire in QUIC's qlog format; see
        /// [`QlogConfig`](crate::QlogConfig). With `None`, which is the default, no log is written,
        /// because a log costs time and disk space, and shows who did what and when.
        #[cfg(feature = "qlog")]
        pub fn qlog(mut self, qlog: Option<$crate::observe::qlog::QlogConfig>) -> Self {
            self.connection = self.connection.qlog(qlog);
            self
        }
    };
}

pub(crate) use shared_setters;
