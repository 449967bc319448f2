//! The cookies of a load balancer, which lead a client back to the same server.

use http::{HeaderMap, HeaderValue, header};

/// Returns the value of a `Cookie` header with the cookies that a response has set. Returns `None`
/// if it has set none.
///
/// The request that sends them has the URL of the request whose response set them, and follows soon.
/// So their attributes are ignored, such as `Path` and `Max-Age` (RFC 6265 §5.2).
pub(super) fn cookies_of(response: &HeaderMap) -> Option<HeaderValue> {
    let mut cookies = Vec::new();
    for cookie in response.get_all(header::SET_COOKIE) {
        let pair = cookie.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let pair = pair.trim_ascii();
        // RFC 6265 §5.2: a cookie without a name is ignored.
        if pair.iter().position(|byte| *byte == b'=').is_none_or(|at| at == 0) {
            continue;
        }
        if !cookies.is_empty() {
            cookies.extend_from_slice(b"; ");
        }
        cookies.extend_from_slice(pair);
    }
    sensitive(cookies)
}

/// Adds cookies to those that the application has set. There is one `Cookie` header (RFC 6265
/// §5.4).
pub(super) fn add_cookies(headers: &mut HeaderMap, cookies: &HeaderValue) {
    let own = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let all: Vec<_> = own.chain([cookies.as_bytes()]).collect();
    if let Some(all) = sensitive(all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, all);
    }
}

fn sensitive(cookies: Vec<u8>) -> Option<HeaderValue> {
    if cookies.is_empty() {
        return None;
    }
    let mut value = HeaderValue::from_bytes(&cookies).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(cookies: &[&'static str]) -> HeaderMap {
        let cookies = cookies.iter().map(|cookie| HeaderValue::from_static(cookie));
        cookies.map(|cookie| (header::SET_COOKIE, cookie)).collect()
    }

    #[test]
    fn the_cookies_of_a_response_are_sent_without_attributes() {
        let response = response(&["SRV=a; path=/; HttpOnly", "nameless", "=x", " id=1=2 "]);
        assert_eq!(cookies_of(&response).unwrap(), "SRV=a; id=1=2");
        assert_eq!(cookies_of(&HeaderMap::new()), None);
    }

    #[test]
    fn the_cookies_of_the_application_come_first() {
        let mut headers = HeaderMap::new();
        add_cookies(&mut headers, &HeaderValue::from_static("SRV=a"));
        assert_eq!(headers[header::COOKIE], "SRV=a");
        headers.insert(header::COOKIE, HeaderValue::from_static("user=b"));
        add_cookies(&mut headers, &HeaderValue::from_static("SRV=a"));
        assert_eq!(headers[header::COOKIE], "user=b; SRV=a");
        assert!(headers[header::COOKIE].is_sensitive());
    }
}
