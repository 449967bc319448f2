//! The server's side of the opening handshake (RFC 6455 §4.2): it checks the request and makes the
//! response.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};
use wsmux_proto::Wire;

use super::{
    head::MAX_HEADERS,
    headers::{RESERVED, elements, has_element, header_map, only, write_headers},
    host::{is_host, is_host_and_port},
    key::accept_key,
    negotiation::Negotiation,
};

/// The response to a request that gets no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: StatusCode,
    pub(crate) reason: Cow<'static, str>,
    /// The headers are boxed, because they are large and an error type should be small.
    pub(crate) headers: Box<HeaderMap>,
    /// The body of the response. If it is `None`, the reason is the body.
    pub(crate) body: Option<Bytes>,
}

impl ErrorResponse {
    pub(crate) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), headers: Box::default(), body: None }
    }

    fn bad(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

/// Makes the response, with the headers that its status and its body require. Headers that concern
/// the underlying stream are not included.
impl From<ErrorResponse> for Response<Bytes> {
    fn from(refusal: ErrorResponse) -> Self {
        let ErrorResponse { status, reason, headers, body } = refusal;
        let mut headers = *headers;
        let mut insert = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        match status {
            // RFC 9110 §15.5.6: a 405 names the methods that are allowed.
            StatusCode::METHOD_NOT_ALLOWED => insert(header::ALLOW, "GET"),
            // RFC 9110 §15.5.22, §7.8; RFC 6455 §4.4: a 426 names what is required.
            StatusCode::UPGRADE_REQUIRED => {
                insert(header::UPGRADE, "websocket");
                insert(header::CONNECTION, "Upgrade");
                insert(header::SEC_WEBSOCKET_VERSION, "13");
            }
            _ => {}
        }
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.entry(header::CONTENT_TYPE).or_insert(plain);
        let mut response = Response::new(body.unwrap_or_else(|| format!("{reason}\n").into()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Prepares a response of the application: removes the headers that concern the handshake or the
/// underlying stream.
pub(crate) fn page(mut page: Response<Bytes>) -> Response<Bytes> {
    // This response is the only response to the request, so its status must not be 1xx.
    if page.status().is_informational() {
        *page.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    for name in &RESERVED {
        page.headers_mut().remove(name);
    }
    page
}

/// Returns the bytes of a response over HTTP/1.1 to a request that gets no WebSocket. The
/// connection is closed after this response.
pub(crate) fn response_bytes(answer: Response<Bytes>, method: Option<&Method>) -> Vec<u8> {
    let (mut head, body) = answer.into_parts();
    let connection = match head.headers.contains_key(header::UPGRADE) {
        true => "Upgrade, close",
        false => "close",
    };
    head.headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    // RFC 9110 §8.6, §9.3.2, §15.3.5, §15.4.5: some responses have no body or no length.
    let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let sent = if has_body && method != Some(&Method::HEAD) { &body[..] } else { b"" };
    response(head.status, &head.headers, sent)
}

fn response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    write_headers(&mut out, headers);
    out.extend_from_slice(body);
    out
}

/// Parses the request at the start of `bytes`. Returns the length of the request's head, and the
/// request, or `None` if the head is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, Request<()>)>, ErrorResponse> {
    let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut parsed);
    let len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
        Err(httparse::Error::Version) if names_http(bytes) => return Err(bad_version()),
        Err(_) => return Err(ErrorResponse::bad("not an HTTP request")),
    };
    // HTTP/1.0 has no Upgrade (RFC 6455 §4.2.1), but it is parsed, because the health check of a
    // load balancer may use it.
    let version = match parsed.version {
        Some(0) => Version::HTTP_10,
        Some(1) => Version::HTTP_11,
        _ => return Err(bad_version()),
    };
    let method = parsed.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    // A fragment is refused (RFC 9112 §3.2). `Uri` would drop the fragment without an error.
    let target = parsed.path.filter(|target| !target.contains('#'));
    let uri = target.and_then(|target| target.parse::<Uri>().ok());
    let headers = header_map(parsed.headers);
    let (Some(method), Some(uri), Some(headers)) = (method, uri, headers) else {
        return Err(ErrorResponse::bad("not an HTTP request"));
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Ok(Some((len, request)))
}

/// Whether the third word of the first line is a version of HTTP. If it is not, either more than
/// two words precede the version, or the bytes are not HTTP.
fn names_http(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    line.split(|byte| *byte == b' ').nth(2).is_some_and(|version| version.starts_with(b"HTTP/"))
}

pub(crate) fn too_large() -> ErrorResponse {
    ErrorResponse::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request head is too large")
}

fn bad_version() -> ErrorResponse {
    ErrorResponse::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "WebSocket needs HTTP/1.1")
}

/// Checks that a request, whether for a WebSocket or not, names one server in a valid way (RFC 9112
/// §3.2, RFC 9113 §8.3.1).
pub(crate) fn check_target(request: &Request<()>) -> Result<(), ErrorResponse> {
    let (uri, headers) = (request.uri(), request.headers());
    // W-45 (RFC 9112 §3.2): a request has exactly one `Host`. HTTP/1.0 and HTTP/2 requests may have
    // no `Host`.
    let is_present = headers.contains_key(header::HOST);
    let may_miss = request.version() != Version::HTTP_11;
    match only(headers, &header::HOST) {
        Some(host) if is_host(host) => {}
        None if !is_present && may_miss => {}
        _ => return Err(ErrorResponse::bad("no valid Host, or more than one")),
    }
    // W-46: a target may contain only ASCII.
    if uri.path_and_query().is_some_and(|target| !target.as_str().is_ascii()) {
        return Err(ErrorResponse::bad("the request's target has characters that are not escaped"));
    }
    if uri.authority().is_some_and(|authority| !is_host_and_port(authority.as_str())) {
        return Err(ErrorResponse::bad("the request's target has no valid host"));
    }
    if request.version() == Version::HTTP_2 {
        return check_authority(uri, headers);
    }
    // W-46 (RFC 9112 §3.2): a target has one of four forms, as the method requires.
    let method = request.method();
    let is_form_of_http = match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path() == "*" => method == Method::OPTIONS,
        (None, None) => uri.path().starts_with('/'),
        (None, Some(_)) => method == Method::CONNECT,
        (Some(scheme), Some(_)) => matches!(scheme, "http" | "https"),
        (Some(_), None) => false,
    };
    if is_form_of_http { Ok(()) } else { Err(ErrorResponse::bad("not a request's target")) }
}

/// Checks that an HTTP/2 request names one server.
fn check_authority(uri: &Uri, headers: &HeaderMap) -> Result<(), ErrorResponse> {
    // W-48 (RFC 9113 §8.3.1): `:authority` or `Host` is present. If both are present, they are
    // equal.
    match (uri.authority(), headers.get(header::HOST)) {
        (None, None) => Err(ErrorResponse::bad("no :authority")),
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(ErrorResponse::bad("Host and :authority differ"))
        }
        _ => Ok(()),
    }
}

/// Sets `Host` to the authority of the request's target, if there is one, so that the application
/// finds the right server in `Host`. HTTP/2 clients usually send no `Host`.
pub(crate) fn settle_host(request: &mut Request<()>) {
    let authority =
        request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(authority)) = authority {
        // W-47 (RFC 9112 §3.2.2): the authority of the target takes precedence.
        request.headers_mut().insert(header::HOST, authority);
    }
}

/// Checks that a request asks for a WebSocket as its version of HTTP requires. The caller has
/// [checked](check_target) the target before.
pub(crate) fn check(request: &Request<()>) -> Result<(), ErrorResponse> {
    match request.version() {
        Version::HTTP_11 => check_upgrade(request),
        Version::HTTP_2 => check_connect(request),
        _ => Err(bad_version()),
    }
}

/// Checks an extended CONNECT (RFC 8441 §4, §5), which has neither a key nor `Upgrade`. The caller
/// checks that `:protocol` is `websocket`.
fn check_connect(request: &Request<()>) -> Result<(), ErrorResponse> {
    let headers = request.headers();
    if request.method() != Method::CONNECT {
        return Err(ErrorResponse::bad("WebSocket over HTTP/2 needs an extended CONNECT"));
    }
    if has_length(headers) {
        return Err(ErrorResponse::bad("request has a body"));
    }
    if !has_version(headers) {
        return Err(ErrorResponse::bad("no \"Sec-WebSocket-Version: 13\""));
    }
    Ok(())
}

fn has_length(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != "0")
}

fn has_version(headers: &HeaderMap) -> bool {
    only(headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// Checks a request over HTTP/1.1 (RFC 6455 §4.2.1).
fn check_upgrade(request: &Request<()>) -> Result<(), ErrorResponse> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, "WebSocket needs GET"));
    }
    // A request with a body is refused. Otherwise the bytes of the body would be read as frames.
    if headers.contains_key(header::TRANSFER_ENCODING) || has_length(headers) {
        return Err(ErrorResponse::bad("request has a body"));
    }
    let upgrade = |reason| Err(ErrorResponse::new(StatusCode::UPGRADE_REQUIRED, reason));
    if !has_element(headers, &header::UPGRADE, "websocket") {
        return upgrade("no \"Upgrade: websocket\"");
    }
    if !has_element(headers, &header::CONNECTION, "upgrade") {
        return upgrade("no \"Connection: Upgrade\"");
    }
    if !has_version(headers) {
        return upgrade("no \"Sec-WebSocket-Version: 13\"");
    }
    match only(headers, &header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(()),
        _ => Err(ErrorResponse::bad("no Sec-WebSocket-Key of 16 bytes in base64")),
    }
}

/// Whether the request is meant for a WebSocket, even if it is not valid.
pub(crate) fn wants_websocket(request: &Request<()>) -> bool {
    match request.version() {
        Version::HTTP_2 => request.method() == Method::CONNECT,
        _ => has_element(request.headers(), &header::UPGRADE, "websocket"),
    }
}

/// Whether the key is base64 of 16 bytes. The unused bits of the last digit may have any value,
/// because they are not zero in the example of RFC 6455 §4.1.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// Selects the wire and the subprotocol for a request.
pub(crate) fn select<'a>(
    headers: &HeaderMap,
    negotiation: &'a Negotiation,
) -> Result<(Wire, Option<&'a str>), ErrorResponse> {
    // W-17 (RFC 6455 §4.2.2): exactly the name that was offered is echoed.
    let subprotocol = acceptable(headers, negotiation).next();
    if subprotocol.is_none() && headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        // W-18, W-21: the server accepts none of the offered names.
        return Err(ErrorResponse::bad("no subprotocol that is offered is spoken here"));
    }
    match negotiation.wire_of(subprotocol) {
        // W-19: a name was selected, or nothing is offered and js-ws is permitted.
        Some(wire) => Ok((wire, subprotocol)),
        // W-20: nothing is offered, and js-ws is not permitted.
        None => Err(ErrorResponse::bad("no subprotocol offered")),
    }
}

/// Returns the subprotocols that the server accepts and the client offers, in the server's order.
pub(crate) fn acceptable<'a>(
    headers: &HeaderMap,
    negotiation: &'a Negotiation,
) -> impl Iterator<Item = &'a str> {
    // W-16 (RFC 6455 §11.3.4): each name in our order of preference is compared byte by byte with
    // the elements of all lines.
    negotiation.names().filter(|name| {
        elements(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|offer| offer == name.as_bytes())
    })
}

/// Returns the headers of the response, which never accepts an extension.
pub(crate) fn accept(
    request: &Request<()>,
    subprotocol: Option<&str>,
    extra: &HeaderMap,
) -> Result<HeaderMap, ErrorResponse> {
    // W-4: an application cannot set `Sec-WebSocket-Extensions`, and this function does not set it
    // either.
    let mut headers = extra.clone();
    let value = |value: &str| {
        HeaderValue::from_str(value)
            .map_err(|_| ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid header"))
    };
    // RFC 8441 §5: over HTTP/2 there is no upgrade and no key.
    if request.version() == Version::HTTP_11 {
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let accept = accept_key(key.unwrap_or_default());
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, value(&accept)?);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(subprotocol)?);
    }
    Ok(headers)
}

/// Returns the bytes of a 101 response with these headers.
pub(crate) fn switching_protocols(headers: &HeaderMap) -> Vec<u8> {
    response(StatusCode::SWITCHING_PROTOCOLS, headers, b"")
}

#[cfg(test)]
mod tests {
    use super::{super::negotiation::Subprotocols, *};

    const GOOD: &str = "GET /path?query HTTP/1.1\r\nHost: example.com\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n\r\n";

    fn checked(request: &str) -> Result<Request<()>, ErrorResponse> {
        let (_, request) = parse(request.as_bytes())?.expect("a whole request");
        check_target(&request)?;
        check(&request)?;
        Ok(request)
    }

    #[test]
    fn a_request_as_the_standard_wants_it_passes() {
        let request = checked(GOOD).unwrap();
        assert_eq!(request.uri(), "/path?query");
        let headers = accept(&request, Some("qmux-02"), &HeaderMap::new()).unwrap();
        assert_eq!(headers[header::SEC_WEBSOCKET_ACCEPT], accept_key(b"AQIDBAUGBwgJCgsMDQ4PEC=="));
        assert_eq!(headers.len(), 4);
        checked(&GOOD.replacen("WebSocket", "h2c, websocket", 1)).unwrap();
    }

    #[test]
    fn every_fault_has_its_status() {
        for (from, to, status) in [
            ("GET ", "POST ", 405),
            ("GET ", "G\x00T ", 400),
            ("HTTP/1.1", "HTTP/1.0", 505),
            ("HTTP/1.1", "HTTP/2.0", 505),
            ("/path", "path^", 400),
            ("Host: example.com\r\n", "", 400),
            ("Host: example.com\r\n", "Host: a\r\nHost: b\r\n", 400),
            ("Host: example.com", "Host: a\r\nContent-Length: 3", 400),
            ("Host: example.com", "Host: a\r\nContent-Length: 0\r\nContent-Length: 3", 400),
            ("Host: example.com", "Host: a\r\nTransfer-Encoding: chunked", 400),
            ("Host: ", "Host : ", 400),
            ("Upgrade: WebSocket\r\n", "", 426),
            ("Upgrade: WebSocket", "Upgrade: h2c", 426),
            ("keep-alive, upgrade", "keep-alive", 426),
            ("Version: 13", "Version: 8", 426),
            ("Sec-WebSocket-Version: 13\r\n", "", 426),
            ("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n", "", 400),
            ("AQIDBAUGBwgJCgsMDQ4PEC==", "AQIDBAUGBwgJCgsMDQ4PECA=", 400),
            ("AQIDBAUGBwgJCgsMDQ4PEC==", "AQIDBAUGBwgJCgsMDQ4PE!==", 400),
            ("AQIDBAUGBwgJCgsMDQ4PEC==", "", 400),
        ] {
            assert!(GOOD.contains(from));
            let refusal = checked(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert_eq!(refusal.status.as_u16(), status, "{from:?} -> {to:?}");
        }
        let many = "X: y\r\n".repeat(MAX_HEADERS);
        let refusal = checked(&GOOD.replace("Host", &format!("{many}Host"))).unwrap_err();
        assert_eq!(refusal.status.as_u16(), 431);
    }

    /// RFC 8441 §5.
    #[test]
    fn an_extended_connect_has_neither_key_nor_upgrade() {
        let request = |method: Method, uri: &str, headers: &[(&'static str, &'static str)]| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            *request.uri_mut() = uri.parse().unwrap();
            *request.version_mut() = Version::HTTP_2;
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            request
        };
        let version = ("sec-websocket-version", "13");
        let good = request(Method::CONNECT, "https://a/b", &[version]);
        check_target(&good).and_then(|()| check(&good)).unwrap();
        let headers = accept(&good, Some("qmux-02"), &HeaderMap::new()).unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[header::SEC_WEBSOCKET_PROTOCOL], "qmux-02");
        for bad in [
            request(Method::GET, "https://a/b", &[version]),
            request(Method::CONNECT, "/b", &[version]),
            request(Method::CONNECT, "https://a/b", &[]),
            request(Method::CONNECT, "https://a/b", &[("sec-websocket-version", "8")]),
            request(Method::CONNECT, "https://a/b", &[version, ("content-length", "1")]),
        ] {
            let refusal = check_target(&bad).and_then(|()| check(&bad)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{bad:?}");
        }
    }

    fn select_of(lines: &[&str], accepted: &[&str], jsws: bool) -> Option<(Wire, Option<String>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_str(line).unwrap();
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let names = accepted.iter().map(|&name| name.to_owned()).collect();
        let subprotocols = Subprotocols { names: Some(names), ..Subprotocols::default() };
        let qmux = (!accepted.is_empty()).then_some(Wire::QMux);
        let wires: Vec<_> = qmux.into_iter().chain(jsws.then_some(Wire::JsWs)).collect();
        let negotiation = Negotiation::new(&wires, &subprotocols).unwrap();
        let selected = select(&headers, &negotiation).ok()?;
        Some((selected.0, selected.1.map(Into::into)))
    }

    /// [W-16] A server MUST split every `Sec-WebSocket-Protocol` line of the request at commas, and
    /// compare each subprotocol byte by byte.
    /// [W-17] If a server accepts an offered name, the server MUST select it, speak QMux, and echo
    /// exactly that name. If the server accepts several of the offered names, its own order of
    /// preference decides.
    /// [W-18] When names are offered and the server accepts none of them, the server MUST answer
    /// HTTP 400 and not upgrade.
    /// [W-19] When nothing is offered, a server that permits js-ws MUST speak js-ws and select no
    /// subprotocol.
    /// [W-20] When nothing is offered, a server that does not permit js-ws MUST answer HTTP 400.
    /// [W-21] A `Sec-WebSocket-Protocol` header that is present but holds no valid name counts as
    /// an offer, and MUST be answered with HTTP 400.
    #[test]
    fn the_subprotocol_decides_on_the_wire() {
        let qmux = |name: &str| Some((Wire::QMux, Some(name.to_owned())));
        let accepted = ["qmux-02.b", "qmux-02.a", "qmux-02"];
        assert_eq!(select_of(&["qmux-02"], &accepted, false), qmux("qmux-02"));
        assert_eq!(
            select_of(&["qmux-02,qmux-02.a", "x ,\tqmux-02.b"], &accepted, true),
            qmux("qmux-02.b")
        );
        for unknown in ["QMUX-02", "qmux-02.c", "qmux-0", "", ",", "qmux-02 qmux-02.a", "\""] {
            assert_eq!(select_of(&[unknown], &accepted, true), None, "{unknown:?}");
        }
        assert_eq!(select_of(&[], &accepted, true), Some((Wire::JsWs, None)));
        assert_eq!(select_of(&[], &accepted, false), None);
        assert_eq!(select_of(&["qmux-02"], &[], true), None);
    }

    #[test]
    fn refusals_say_what_is_wanted() {
        let bytes = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            let bytes = response_bytes(ErrorResponse::new(status, "why").into(), None);
            String::from_utf8(bytes).unwrap().to_lowercase()
        };
        assert!(bytes(405).starts_with("http/1.1 405 method not allowed\r\n"));
        assert!(bytes(405).contains("\r\nallow: get\r\n"));
        assert!(bytes(426).contains("\r\nupgrade: websocket\r\n"));
        assert!(bytes(426).contains("\r\nsec-websocket-version: 13\r\n"));
        assert!(bytes(400).contains("\r\ncontent-length: 4\r\n"));
        assert!(bytes(400).ends_with("\r\n\r\nwhy\n"));
    }
}
