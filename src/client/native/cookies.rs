//! The cookies of a load balancer, which lead a client back to the same server.
//!
//! Only the name and the value of a cookie matter here. A crate for cookies would also parse dates,
//! and would add a crate for time to each user's build.

use http::{HeaderMap, HeaderValue, header};

/// How many bytes of cookies a client keeps from one response to the next. Without this limit, a
/// server that sets new cookies in each response could make the requests grow for ever.
const MAX_KEPT: usize = 8 * 1024;

/// Returns the value of a `Cookie` header with the cookies that a response has set. Returns `None`
/// if the response has set no cookie.
///
/// The attributes of the cookies, such as `Path` and `Max-Age` (RFC 6265 §5.2), are ignored. They
/// do not matter, because the client sends the cookies to the same URL soon after the response.
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

/// Returns the cookies of a new response, and the cookies of earlier responses that the new
/// response has not set again. A balancer sets its cookie only for a client that has not sent this
/// cookie. So the balancer's cookie must be kept, even if a later response sets only other cookies.
pub(super) fn merge(earlier: Option<HeaderValue>, new: HeaderValue) -> HeaderValue {
    let Some(earlier) = earlier else { return new };
    let name = |pair: &[u8]| pair.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let pairs = |value: &HeaderValue| -> Vec<Vec<u8>> {
        value
            .as_bytes()
            .split(|byte| *byte == b';')
            .map(|pair| pair.trim_ascii().to_vec())
            .collect()
    };
    let set = pairs(&new);
    let is_set_again = |pair: &Vec<u8>| set.iter().any(|new| name(new) == name(pair));
    let kept = pairs(&earlier).into_iter().filter(|pair| !is_set_again(pair));
    let all = kept.chain(set.iter().cloned()).collect::<Vec<_>>().join(&b"; "[..]);
    if all.len() > MAX_KEPT {
        return new;
    }
    sensitive(all).unwrap_or(new)
}

/// Adds these cookies to the cookies that the application has set. There is one `Cookie` header
/// (RFC 6265 §5.4).
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
    fn a_cookie_is_kept_until_a_response_sets_it_again() {
        let value = |value| HeaderValue::from_static(value);
        assert_eq!(merge(None, value("SRV=a")), "SRV=a");
        let merged = merge(Some(value("SRV=a; user=1")), value("user=2"));
        assert_eq!(merged, "SRV=a; user=2");
        assert!(merged.is_sensitive());
        assert_eq!(merge(Some(merged), value("user=3; SRV=b")), "user=3; SRV=b");
    }

    #[test]
    fn cookies_do_not_grow_for_ever() {
        let mut cookies = None;
        for nth in 0..1_000 {
            let new = format!("cookie{nth}={}", "x".repeat(100)).parse().unwrap();
            cookies = Some(merge(cookies, new));
        }
        let cookies = cookies.unwrap();
        assert!(cookies.len() <= MAX_KEPT);
        assert!(cookies.to_str().unwrap().contains("cookie999="));
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
