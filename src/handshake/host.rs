//! Which server a request is meant for: the `Host` header, and the authority of the request's
//! target.

use std::net::Ipv6Addr;

use http::{HeaderValue, uri::Authority};

/// Whether the text is `uri-host [ ":" port ]` (RFC 9110 §7.2) with a host that is not empty and a
/// valid TCP port. A user and a password are not allowed.
///
/// Parsing the text as an `Authority` is not enough, because an `Authority` may contain any text
/// after the colon and between brackets.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let host = authority.host();
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    // A text that contains a user does not start with the host, so it is refused.
    let is_port = match text.strip_prefix(host) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(is_port),
        None => false,
    };
    is_host && is_port
}

/// Whether the text is a valid port, or is empty, which stands for the default port of the scheme
/// (RFC 3986 §3.2.3).
fn is_port(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (text.is_empty() || text.parse::<u16>().is_ok())
}

/// Whether the value of a header is a [host with an optional port](is_host_and_port).
pub(crate) fn is_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(is_host_and_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "a",
            "A.b-c",
            "a_b",
            "a.",
            "a:",
            "a:0",
            "a:65535",
            "a:00080",
            "1.2.3.4",
            "1.2.3.4:5",
            "[::1]",
            "[::1]:",
            "[::1]:65535",
            "[::ffff:1.2.3.4]",
            "xn--9ca",
        ] {
            assert!(is_host_and_port(good), "{good:?}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a/../b",
            "a/",
            "u@a",
            "@a",
            "u:p@a",
            "u:80@a",
            "a:99999999",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:80:80",
            "a:8o",
            ":80",
            ":",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[]:80",
            "[a]",
            "[1.2.3.4]",
            "[::1]x",
            "[::1]80",
            "x[::1]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "a?b",
            "a#b",
            "a\\b",
            "é",
            "http://a",
            "a\tb",
            "a%",
            "<a>",
            "\"a\"",
        ] {
            assert!(!is_host_and_port(bad), "{bad:?}");
        }
    }
}
