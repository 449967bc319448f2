//! The client's side of the opening handshake (RFC 6455 §4.1): it parses the URL, makes the
//! request, and checks the response.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
#[cfg(feature = "http2")]
use http::{Method, Uri, Version};
use url::{Host, Position, Url};

use super::{
    head::MAX_HEADERS,
    headers::{elements, has_element, header_map, hide_secrets, only, write_headers},
    key::{accept_key, generate_key},
    negotiation::{Agreed, Negotiation},
};
use crate::error::{
    ConnectError,
    connect::{CREDENTIALS, FRAGMENT},
};

/// The server of a URL, and the path to request from it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// The host: a name, or an IP address without brackets and zone.
    pub(crate) host: String,
    /// The zone of an IPv6 address, which names a network interface of this machine. It is not sent
    /// to the server (RFC 6874 §4).
    pub(crate) zone: Option<String>,
    pub(crate) port: u16,
    /// The value of the `Host` header.
    authority: String,
    pub(super) path: String,
}

/// The output hides the path and the query, which may contain a token.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("tls", &self.tls)
            .field("host", &self.host)
            .field("zone", &self.zone)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Parses a URL as a browser does.
    ///
    /// # Errors
    /// [`ConnectError::InvalidUrl`] or [`ConnectError::UnsupportedScheme`].
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let invalid = |reason: &str| ConnectError::InvalidUrl(reason.to_owned());
        // W-49 (WHATWG URL): the URL leads to the same server as in a browser.
        let (url, zone) = read_url(url).map_err(|reason| invalid(&reason))?;
        let tls = match url.scheme() {
            "ws" => false,
            "wss" => true,
            scheme => return Err(ConnectError::UnsupportedScheme(scheme.to_owned())),
        };
        // W-50 (RFC 6455 §3): the URL contains neither a fragment nor a user.
        if url.fragment().is_some() {
            return Err(invalid(FRAGMENT));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(CREDENTIALS));
        }
        Self::new(&url, tls, zone).ok_or_else(|| invalid("no host"))
    }

    /// Makes the target of a URL. Returns `None` if the URL has no host, or has neither a port nor
    /// a scheme with a default port.
    pub(super) fn new(url: &Url, tls: bool, zone: Option<String>) -> Option<Self> {
        let (host, port) = (url.host()?, url.port_or_known_default()?);
        Some(Self {
            tls,
            authority: match url.port() {
                // The default port of the scheme is left out.
                Some(port) => format!("{host}:{port}"),
                None => host.to_string(),
            },
            host: match host {
                Host::Ipv6(address) => address.to_string(),
                host => host.to_string(),
            },
            zone,
            port,
            path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        })
    }

    /// Returns the host in the form that the system resolves, with its zone if it has one.
    pub(crate) fn host_in_zone(&self) -> Cow<'_, str> {
        match &self.zone {
            Some(zone) => format!("{}%{zone}", self.host).into(),
            None => (&self.host).into(),
        }
    }

    /// Makes the request, with a fresh key and without extensions.
    pub(crate) fn request(
        &self,
        offered: &[String],
        extra: &HeaderMap,
    ) -> Result<Request<()>, ConnectError> {
        let invalid = |what: &str| ConnectError::InvalidUrl(format!("no {what}"));
        let value = |value: &str| HeaderValue::from_str(value).map_err(|_| invalid("header"));
        let mut request = Request::new(());
        *request.uri_mut() = self.path.parse().map_err(|_| invalid("path"))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, value(&self.authority)?);
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_KEY, value(&generate_key())?);
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        // W-3: no extension is offered.
        if !offered.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(&offered.join(", "))?);
        }
        for name in extra.keys() {
            // A `Host` header that the application has set replaces ours.
            headers.remove(name);
        }
        for (name, value) in extra {
            headers.append(name, value.clone());
        }
        hide_secrets(headers);
        Ok(request)
    }
}

/// Parses a URL as a browser does (WHATWG URL). Unlike a browser, this function accepts a zone in
/// an IPv6 address. It returns the URL without the zone, and the zone. An error does not repeat the
/// URL, which may contain a password or a token.
pub(super) fn read_url(url: &str) -> Result<(Url, Option<String>), String> {
    let (plain, zone) = cut_zone(url).ok_or("no such zone")?;
    let url = Url::parse(&plain).map_err(|error| error.to_string())?;
    Ok((url, zone.map(str::to_owned)))
}

/// Splits the zone off a URL. The zone follows `%25`, as in `[fe80::1%25eth0]` (RFC 6874 §2), or a
/// bare `%`, as many people write it. Returns `None` if the zone cannot be the name or the number
/// of an interface.
fn cut_zone(url: &str) -> Option<(Cow<'_, str>, Option<&str>)> {
    let percent_and_end = || {
        let start = url.find("://")? + 3;
        let len = url[start..].starts_with('[').then(|| url[start..].find(']'))??;
        let percent = url[start..start + len].find('%')?;
        Some((start + percent, start + len))
    };
    let Some((percent, end)) = percent_and_end() else { return Some((url.into(), None)) };
    let zone = &url[percent + 1..end];
    let zone = zone.strip_prefix("25").unwrap_or(zone);
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let valid = !zone.is_empty() && zone.bytes().all(is_unreserved);
    valid.then(|| (format!("{}{}", &url[..percent], &url[end..]).into(), Some(zone)))
}

/// Returns the bytes of the request.
pub(crate) fn request_bytes(request: &Request<()>) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut out = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    write_headers(&mut out, request.headers());
    out
}

/// Converts the request to HTTP/2 (RFC 8441 §5), as an extended CONNECT. The caller adds
/// `:protocol`.
#[cfg(feature = "http2")]
pub(crate) fn extended_connect(
    request: &Request<()>,
    tls: bool,
) -> Result<Request<()>, ConnectError> {
    let invalid = |error| ConnectError::InvalidUrl(format!("{error}"));
    let host = request.headers().get(header::HOST).map_or(&[][..], HeaderValue::as_bytes);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut connect = Request::new(());
    *connect.method_mut() = Method::CONNECT;
    *connect.uri_mut() = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(host)
        .path_and_query(path)
        .build()
        .map_err(invalid)?;
    *connect.version_mut() = Version::HTTP_2;
    *connect.headers_mut() = request.headers().clone();
    // RFC 9113 §8.2.2: headers that concern a single connection are not allowed, so they are
    // removed even if the application has set them.
    let one_connections = ["host", "upgrade", "connection", "keep-alive", "proxy-connection", "te"];
    for name in one_connections.into_iter().chain(["sec-websocket-key"]) {
        connect.headers_mut().remove(name);
    }
    Ok(connect)
}

/// Parses the response at the start of `bytes`. Returns the response and the length of its head, or
/// `None` if the head is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, Response<()>)>, ConnectError> {
    let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut parsed);
    let invalid = |reason: String| ConnectError::InvalidResponse(reason);
    let len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(invalid(format!("not an HTTP response: {error}"))),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let (Some(status), Some(headers)) = (status, header_map(parsed.headers)) else {
        return Err(invalid("not an HTTP response".into()));
    };
    if status == StatusCode::SWITCHING_PROTOCOLS && parsed.version != Some(1) {
        return Err(invalid("HTTP/1.0 has no Upgrade".into()));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Some((len, response)))
}

/// Checks that a 101 answers this request (RFC 6455 §4.1). Returns the subprotocol that the
/// response selects.
pub(crate) fn check(
    request: &Request<()>,
    response: &HeaderMap,
    negotiation: &Negotiation,
) -> Result<Option<Agreed>, ConnectError> {
    let invalid = |reason: &str| Err(ConnectError::InvalidResponse(reason.to_owned()));
    if !has_element(response, &header::UPGRADE, "websocket") {
        return invalid("no \"Upgrade: websocket\"");
    }
    if !has_element(response, &header::CONNECTION, "upgrade") {
        return invalid("no \"Connection: Upgrade\"");
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = accept_key(key.unwrap_or_default());
    if only(response, &header::SEC_WEBSOCKET_ACCEPT).is_none_or(|found| *found != accept) {
        return invalid("Sec-WebSocket-Accept does not fit the key");
    }
    selected(response, negotiation)
}

/// Returns the subprotocol that a response selects. The response may have any version of HTTP.
pub(crate) fn selected(
    response: &HeaderMap,
    negotiation: &Negotiation,
) -> Result<Option<Agreed>, ConnectError> {
    let invalid = |reason: &str| Err(ConnectError::InvalidResponse(reason.to_owned()));
    // W-5 (RFC 6455 §4.1): no extension was offered, so the server may not select one.
    if elements(response, &header::SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        return invalid("an extension that was not offered");
    }
    let name = &header::SEC_WEBSOCKET_PROTOCOL;
    let selected = match only(response, name) {
        Some(line) => Some(String::from_utf8_lossy(line.as_bytes()).into_owned()),
        None if response.contains_key(name) => return invalid("more than one subprotocol"),
        None => None,
    };
    negotiation.agreed(selected)
}

#[cfg(test)]
mod tests {
    use super::{
        super::negotiation::{Protocol, Subprotocols},
        *,
    };
    use wsmux_proto::Wire;

    use wsmux_testing::urls;

    #[test]
    fn urls_are_taken_apart_as_a_browser_does() {
        for (url, expected) in urls::URLS.iter().chain(urls::NOT_CHROMIUMS) {
            let Ok(target) = Target::parse(url) else {
                assert_eq!(*expected, None, "{url:?}");
                continue;
            };
            let urls::Lead { scheme, authority, path_and_query } = expected.expect(url);
            assert_eq!(target.tls, scheme == "wss", "{url:?}");
            assert_eq!((&*target.authority, &*target.path), (authority, path_and_query), "{url:?}");
            let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let default_port = if target.tls { 443 } else { 80 };
            assert_eq!(target.port, port.unwrap_or(default_port), "{url:?}");
            assert!(!target.host.contains(['[', ']']), "{url:?}");
        }
    }

    #[test]
    fn a_zone_is_for_the_resolver_alone() {
        for url in ["ws://[fe80::1%25eth0]:5/x", "ws://[fe80::1%eth0]:5/x"] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.host_in_zone(), "fe80::1%eth0");
            let (host, authority) = (target.host.as_str(), target.authority.as_str());
            assert_eq!((host, authority, target.port), ("fe80::1", "[fe80::1]:5", 5));
        }
        assert_eq!(Target::parse("ws://[::1]").unwrap().host_in_zone(), "::1");
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for url in [
            "ws://[fe80::1%25]",
            "ws://[fe80::1%]",
            "ws://[fe80::1%25a%25b]",
            "ws://[fe80::1%25a/b]",
            "ws://[a%25eth0]",
        ] {
            let refused = Target::parse(url).unwrap_err();
            assert!(matches!(refused, ConnectError::InvalidUrl(_)), "{url:?}: {refused:?}");
        }
        // A query may contain anything.
        let target = Target::parse("ws://a/?b=http://[fe80::1%25eth0]").unwrap();
        assert_eq!((target.zone, &*target.path), (None, "/?b=http://[fe80::1%25eth0]"));
    }

    const ANSWER: &str = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: qmux-02\r\n\r\n";

    /// Replaces `from` by `to` in a valid response, and returns the outcome of the check.
    fn outcome(wire: Wire, from: &str, to: &str) -> Result<Option<String>, ConnectError> {
        let protocols = vec![Protocol::OfVersion("a".into())];
        let subprotocols = Subprotocols { protocols, ..Subprotocols::default() };
        let negotiation = Negotiation::new(&[wire], &subprotocols).unwrap();
        let target = Target::parse("ws://a").unwrap();
        let request = target.request(&negotiation.offered(), &HeaderMap::new()).unwrap();
        let accept = accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
        let answer = ANSWER.replace(from, to).replace("ACCEPT", &accept);
        let (_, response) = parse(answer.as_bytes())?.expect("a whole response");
        let agreed = check(&request, response.headers(), &negotiation)?;
        Ok(agreed.map(|agreed| agreed.name.to_string()))
    }

    #[test]
    fn an_answer_as_the_standard_wants_it_passes() {
        assert_eq!(outcome(Wire::QMux, "", "").unwrap().unwrap(), "qmux-02");
        assert_eq!(outcome(Wire::QMux, "qmux-02", "qmux-02.a").unwrap().unwrap(), "qmux-02.a");
        let mixed = outcome(Wire::QMux, "Connection: Upgrade", "connection: keep-alive, UPGRADE");
        assert!(mixed.is_ok());
        assert_eq!(outcome(Wire::JsWs, "Sec-WebSocket-Protocol: qmux-02\r\n", "").unwrap(), None);
    }

    /// [W-5] A client MUST fail the handshake when the server's answer names an extension that was
    /// not offered.
    #[test]
    fn every_other_answer_fails() {
        for (from, to) in [
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "SSH-2.0"),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Connection: Upgrade", "Connection: close"),
            ("ACCEPT", "AAAA"),
            ("ACCEPT", "ACCEPT\r\nSec-WebSocket-Accept: ACCEPT"),
            ("Sec-WebSocket-Accept: ACCEPT\r\n", ""),
            ("ACCEPT", "ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate"),
            ("qmux-02", "qmux-02\r\nSec-WebSocket-Protocol: qmux-02.a"),
        ] {
            let failed = outcome(Wire::QMux, from, to).unwrap_err();
            assert!(matches!(failed, ConnectError::InvalidResponse(_)), "{from:?} -> {to:?}");
        }
    }

    /// [W-14] If the server selects no subprotocol, or a subprotocol that was not offered, a client
    /// on the QMux wire MUST fail the handshake. The error MUST name what was offered and what the
    /// server selected.
    /// [W-15] A client on the js-ws wire MUST fail the handshake when the server selects a
    /// subprotocol.
    #[test]
    fn a_subprotocol_that_was_not_offered_fails() {
        for (wire, line, expected) in [
            (Wire::QMux, "", None),
            (Wire::QMux, "Sec-WebSocket-Protocol: qmux-01\r\n", Some("qmux-01")),
            (Wire::QMux, "Sec-WebSocket-Protocol: QMUX-02\r\n", Some("QMUX-02")),
            (Wire::QMux, "Sec-WebSocket-Protocol: \r\n", Some("")),
            (Wire::JsWs, "Sec-WebSocket-Protocol: qmux-02\r\n", Some("qmux-02")),
        ] {
            match outcome(wire, "Sec-WebSocket-Protocol: qmux-02\r\n", line).unwrap_err() {
                ConnectError::Subprotocol { selected, .. } => {
                    assert_eq!(selected.as_deref(), expected)
                }
                other => panic!("{line:?}: {other:?}"),
            }
        }
    }

    /// [W-13] A client on the js-ws wire MUST NOT offer a subprotocol, because a server built on
    /// npm `ws` selects the first subprotocol that is offered, whatever it is.
    #[test]
    fn no_subprotocol_and_no_extension_is_offered_on_js_ws() {
        let target = Target::parse("ws://a:81/b").unwrap();
        let mut extra = HeaderMap::new();
        extra.insert(header::HOST, HeaderValue::from_static("other"));
        let request = request_bytes(&target.request(&[], &extra).unwrap());
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nHost: other\r\n"), "{request}");
        assert!(!request.contains("Protocol") && !request.contains("Extensions"), "{request}");
    }
}
