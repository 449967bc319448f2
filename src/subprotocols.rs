//! The names by which the two ends agree on a wire, and what is wrong with a builder's settings.

use std::{collections::HashSet, fmt};

use crate::{ConnectError, Wire};

/// The subprotocol of the QMux wire, and what the names of those for one application begin with.
const QMUX: &str = "qmux-02";

/// What a builder was given cannot be: always this end's mistake.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A protocol's name is empty, or holds a character that a header does not take there (RFC 6455 §4.1). This says
    /// which and where, and does not repeat the name, which may be a token.
    #[error("no name for a subprotocol: {0}")]
    InvalidProtocol(String),
    /// The QMux wire needs at least one subprotocol, and there is none.
    #[error("no subprotocol to offer or accept")]
    NoSubprotocol,
    /// A server accepts no wire.
    #[error("no wire to accept")]
    NoWire,
    /// A header's name or value is not one.
    #[error("invalid header {0:?}")]
    InvalidHeader(String),
    /// A header that the handshake writes itself.
    #[error("the header {0:?} is the handshake's own")]
    ReservedHeader(String),
    /// A client's proxy has no URL of the form `http://user:password@host:port` or `https://...`.
    #[error("invalid proxy: {0}")]
    InvalidProxy(String),
    /// The name that a server is to show in TLS is none.
    #[error("{0:?} is no name for a server")]
    InvalidServerName(String),
    /// The certificates or keys are of no use.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Which subprotocols mean the QMux wire, in order of preference.
#[derive(Clone, Default)]
pub(crate) struct Subprotocols {
    pub(crate) protocols: Vec<String>,
    pub(crate) protocol_required: bool,
    /// Instead of what follows from the above.
    pub(crate) names: Option<Vec<String>>,
}

/// Without the names that were given as they are: pages put tokens there.
impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprotocols")
            .field("protocols", &self.protocols)
            .field("protocol_required", &self.protocol_required)
            .field("names", &self.names.as_ref().map(Vec::len))
            .finish()
    }
}

impl Subprotocols {
    /// The names themselves: each application protocol's (W-12), then the bare one.
    pub(crate) fn names(&self) -> Result<Vec<String>, BuildError> {
        for protocol in &self.protocols {
            valid_token(protocol)?;
        }
        let mut names = self.names.clone().unwrap_or_else(|| {
            let bare = (!self.protocol_required).then(|| QMUX.to_owned());
            self.protocols.iter().map(|app| format!("{QMUX}.{app}")).chain(bare).collect()
        });
        for name in &names {
            valid_token(name)?;
        }
        // RFC 6455 §4.1: no name is offered twice.
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        if names.is_empty() { Err(BuildError::NoSubprotocol) } else { Ok(names) }
    }

    /// What a client offers on `wire` (W-12, W-13). Names are looked at even where they are not offered.
    pub(crate) fn offered(&self, wire: Wire) -> Result<Vec<String>, BuildError> {
        match (self.names(), wire) {
            (Ok(_) | Err(BuildError::NoSubprotocol), Wire::JsWs) => Ok(Vec::new()),
            (names, _) => names,
        }
    }
}

/// What a server selected, if a client can speak that.
pub(crate) fn agreed(
    selected: Option<String>,
    wire: Wire,
    offered: &[String],
) -> Result<Option<String>, ConnectError> {
    let expected = match (&selected, wire) {
        // W-15.
        (selected, Wire::JsWs) => selected.is_none(),
        // W-14.
        (None, _) => false,
        (Some(selected), _) => offered.contains(selected),
    };
    match expected {
        true => Ok(selected),
        false => Err(ConnectError::Subprotocol { offered: offered.to_vec(), selected }),
    }
}

/// W-22.
fn valid_token(name: &str) -> Result<(), BuildError> {
    match name.char_indices().find(|(_, letter)| !is_token_char(*letter)) {
        Some((at, letter)) => Err(BuildError::InvalidProtocol(format!("{letter:?} at byte {at}"))),
        None if name.is_empty() => Err(BuildError::InvalidProtocol("it is empty".into())),
        None => Ok(()),
    }
}

/// Whether a `token` of RFC 9110 §5.6.2 may hold it.
fn is_token_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(protocols: &[&str], protocol_required: bool) -> Result<Vec<String>, BuildError> {
        let protocols = protocols.iter().map(|&protocol| protocol.to_owned()).collect();
        Subprotocols { protocols, protocol_required, names: None }.names()
    }

    /// [W-12] A client on the QMux wire MUST offer at least one subprotocol, and by default offers `qmux-02.<app>`
    /// for each configured application protocol, in order of preference, and then `qmux-02` unless an application
    /// protocol is required.
    #[test]
    fn application_protocols_come_before_the_bare_name() {
        assert_eq!(names(&[], false).unwrap(), ["qmux-02"]);
        assert_eq!(names(&["b", "a"], false).unwrap(), ["qmux-02.b", "qmux-02.a", "qmux-02"]);
        assert_eq!(names(&["a", "a"], true).unwrap(), ["qmux-02.a"]);
    }

    /// [W-22] An application protocol's name that is empty, or that is not an HTTP token, MUST be refused when it
    /// is configured.
    #[test]
    fn a_protocol_that_is_no_token_is_refused() {
        for name in ["", "a b", "a,b", "é", "a\r\n", "a/b"] {
            assert!(
                matches!(names(&[name], false), Err(BuildError::InvalidProtocol(_))),
                "{name:?}"
            );
        }
        assert!(matches!(names(&[], true), Err(BuildError::NoSubprotocol)));
    }
}
