//! The opening handshake (RFC 6455 §4): what both ends ask of it, without a socket.

pub(crate) mod client;
pub(crate) mod head;
pub(crate) mod proxy;
pub(crate) mod server;

use std::collections::HashSet;

use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The subprotocol of the QMux wire, and what the names of those for one application begin with.
const QMUX: &str = "qmux-02";

/// Headers that the handshake writes itself.
const RESERVED: [HeaderName; 9] = [
    header::CONNECTION,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];

/// Headers whose values no log should show.
const SECRET: [HeaderName; 4] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// What a builder was given cannot be: always this end's mistake.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A protocol's name is empty, or holds a character that a header does not take there (RFC 6455 §4.1).
    #[error("{0:?} is no name for a subprotocol")]
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
#[derive(Debug, Clone, Default)]
pub(crate) struct Subprotocols {
    pub(crate) protocols: Vec<String>,
    pub(crate) protocol_required: bool,
    /// Instead of what follows from the above.
    pub(crate) names: Option<Vec<String>>,
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
}

/// W-22.
fn valid_token(name: &str) -> Result<(), BuildError> {
    if is_token(name.as_bytes()) { Ok(()) } else { Err(BuildError::InvalidProtocol(name.into())) }
}

/// A `token` of RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_token_char =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token_char)
}

/// Adds a header that the user wants sent, once it has been found to be one.
pub(crate) fn add_header<N, V>(headers: &mut HeaderMap, name: N, value: V) -> Result<(), BuildError>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    let Ok(name) = name.try_into() else {
        return Err(BuildError::InvalidHeader("(its name)".into()));
    };
    let Ok(value) = value.try_into() else {
        return Err(BuildError::InvalidHeader(name.to_string()));
    };
    if RESERVED.contains(&name) {
        return Err(BuildError::ReservedHeader(name.to_string()));
    }
    headers.append(name, value);
    hide_secrets(headers);
    Ok(())
}

/// What the application marked so stays so.
pub(crate) fn hide_secrets(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        value.set_sensitive(value.is_sensitive() || SECRET.contains(name));
    }
}

/// The elements of a header that is a list, over all its lines.
pub(crate) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn has_element(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
}

/// A header's value, if it stands there exactly once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Appends the headers and the empty line after them.
fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        // Some servers compare names as they stand in RFC 6455.
        for (i, word) in name.as_str().split('-').enumerate() {
            if i > 0 {
                out.push(b'-');
            }
            match word {
                "websocket" => out.extend_from_slice(b"WebSocket"),
                word => {
                    let mut letters = word.bytes();
                    out.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
                    out.extend(letters);
                }
            }
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// A header map out of what the parser found.
fn header_map(parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(header.value).ok()?).ok()?;
    }
    hide_secrets(&mut headers);
    Some(headers)
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

    #[test]
    fn headers_of_the_handshake_cannot_be_set() {
        let mut headers = HeaderMap::new();
        let add =
            |headers: &mut HeaderMap, name: &str, value: &str| add_header(headers, name, value);
        add(&mut headers, "X-Fine", "1").unwrap();
        add(&mut headers, "Authorization", "secret").unwrap();
        assert!(!format!("{headers:?}").contains("secret"));
        let reserved = add(&mut headers, "sec-websocket-KEY", "1");
        assert!(matches!(reserved, Err(BuildError::ReservedHeader(_))));
        for (name, value) in [("a b", "1"), ("a", "1\r\nb: 2")] {
            let invalid = add(&mut headers, name, value);
            assert!(matches!(invalid, Err(BuildError::InvalidHeader(_))), "{name:?}");
        }
    }

    #[test]
    fn names_of_headers_are_written_as_in_the_standard() {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("x"));
        headers.insert(header::HOST, HeaderValue::from_static("y"));
        let mut out = Vec::new();
        write_headers(&mut out, &headers);
        assert_eq!(out, b"Sec-WebSocket-Key: x\r\nHost: y\r\n\r\n");
    }
}
