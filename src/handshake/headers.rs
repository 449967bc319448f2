//! Headers: which headers are reserved, which are secret, how to read a header that is a list, and
//! how to write headers.

use std::sync::Arc;

#[cfg(feature = "hyper")]
use http::Request;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::head::MAX_HEADERS;
use crate::error::BuildError;

/// Headers that only the handshake may set.
pub(super) const RESERVED: [HeaderName; 9] = [
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

/// Headers with values that no log should show.
const SECRET: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    // A web page can set only this header, so a page may put a token here.
    header::SEC_WEBSOCKET_PROTOCOL,
];

/// Adds a header of the application, if it is valid and not reserved.
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

/// Marks the values of secret headers as sensitive. Values that the application has marked stay
/// marked.
pub(crate) fn hide_secrets(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        value.set_sensitive(value.is_sensitive() || SECRET.contains(name));
    }
}

/// Returns the elements of a header whose value is a list. The list may be spread over several
/// lines.
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

pub(super) fn has_element(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
}

/// Returns the value of a header if it occurs exactly once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Appends the lines of the headers, and then an empty line.
pub(super) fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        // Some servers expect the capital letters of RFC 6455.
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

/// Converts the headers that the parser found. Returns `None` if one of the headers is not valid.
pub(super) fn header_map(parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.try_append(name, HeaderValue::from_bytes(header.value).ok()?).ok()?;
    }
    hide_secrets(&mut headers);
    Some(headers)
}

/// Returns a copy with memory of its own. The original headers may be slices of one large block,
/// and would keep the whole block allocated.
pub(crate) fn exact_headers(headers: &HeaderMap) -> HeaderMap {
    let mut exact = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        let copied = (
            HeaderName::from_bytes(name.as_str().as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        );
        if let (Ok(name), Ok(mut copy)) = copied {
            copy.set_sensitive(value.is_sensitive());
            exact.append(name, copy);
        }
    }
    exact
}

/// Returns a copy of a request with memory of its own, without the extensions.
#[cfg(feature = "hyper")]
pub(crate) fn exact_request(request: &Request<()>) -> Request<()> {
    let mut exact = Request::new(());
    *exact.method_mut() = request.method().clone();
    // The URI is parsed from a string, because that allocates new memory.
    *exact.uri_mut() = request.uri().to_string().parse().unwrap_or_else(|_| request.uri().clone());
    *exact.version_mut() = request.version();
    *exact.headers_mut() = exact_headers(request.headers());
    hide_secrets(exact.headers_mut());
    exact
}

/// Copies the first [`MAX_HEADERS`] headers of a response, for an error. The values are marked as
/// sensitive, so that `Debug` hides them, because a `Location` may repeat the URL.
pub(crate) fn kept_headers(headers: &HeaderMap) -> Arc<HeaderMap> {
    let mut kept = HeaderMap::with_capacity(headers.keys_len().min(MAX_HEADERS));
    for (name, value) in exact_headers(headers).iter().take(MAX_HEADERS) {
        let mut value = value.clone();
        value.set_sensitive(true);
        kept.append(name, value);
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_error_keeps_a_limited_number_of_headers_and_shows_none() {
        let mut headers = HeaderMap::new();
        for at in 0..2 * MAX_HEADERS {
            let value = HeaderValue::try_from(format!("secret {at}")).unwrap();
            headers.append(HeaderName::try_from(format!("x-{}", at / 3)).unwrap(), value);
        }
        let kept = kept_headers(&headers);
        assert_eq!(kept.len(), MAX_HEADERS);
        let repeated: Vec<_> = kept.get_all("x-1").iter().collect();
        assert_eq!(repeated, ["secret 3", "secret 4", "secret 5"]);
        assert!(!format!("{kept:?}").contains("secret"));
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
