// URLs, and the parts that a client must find in them. A native client and a page have to agree;
// `tests/browser` compares this list with the browser.

/// The parts of a URL that a client uses, in the terms of `http::Uri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    pub scheme: &'static str,
    /// The content of the `Host` header.
    pub authority: &'static str,
    /// The target in the request line.
    pub path_and_query: &'static str,
}

const fn to(
    scheme: &'static str,
    authority: &'static str,
    path_and_query: &'static str,
) -> Option<Lead> {
    Some(Lead { scheme, authority, path_and_query })
}

/// `None` marks a URL that is not valid.
pub const URLS: &[(&str, Option<Lead>)] = &[
    ("ws://a", to("ws", "a", "/")),
    ("WSS://A.b/", to("wss", "a.b", "/")),
    ("  ws://a/\n", to("ws", "a", "/")),
    ("w\ts:/\n/a/b\r\nc", to("ws", "a", "/bc")),
    ("ws://a/\r\nX: y", to("ws", "a", "/X:%20y")),
    ("ws:a", to("ws", "a", "/")),
    ("ws:///a/b", to("ws", "a", "/b")),
    ("ws:\\\\a\\b", to("ws", "a", "/b")),
    // Ports.
    ("ws://a:/", to("ws", "a", "/")),
    ("ws://a:80/", to("ws", "a", "/")),
    ("ws://a:00080/", to("ws", "a", "/")),
    ("wss://a:443", to("wss", "a", "/")),
    ("wss://a:80/b?c=d", to("wss", "a:80", "/b?c=d")),
    ("ws://a:443", to("ws", "a:443", "/")),
    ("ws://a:65535", to("ws", "a:65535", "/")),
    ("ws://a:65536", None),
    ("ws://a:+8080", None),
    ("ws://a:-1", None),
    ("ws://a:b", None),
    ("ws://a:80:80", None),
    // Hosts.
    ("ws://1.2.3.4:5", to("ws", "1.2.3.4:5", "/")),
    ("ws://0x7f.1", to("ws", "127.0.0.1", "/")),
    ("ws://2130706433/", to("ws", "127.0.0.1", "/")),
    ("ws://1.2.3.400", None),
    ("ws://[::1]:5/x", to("ws", "[::1]:5", "/x")),
    ("wss://[0:0:0:0:0:0:0:1]", to("wss", "[::1]", "/")),
    ("ws://[::ffff:1.2.3.4]", to("ws", "[::ffff:102:304]", "/")),
    ("ws://[::1", None),
    ("ws://[]:80", None),
    ("ws://[a]:80", None),
    ("ws://[1.2.3.4]", None),
    ("ws://a_b.c-d.", to("ws", "a_b.c-d.", "/")),
    ("ws://%61/", to("ws", "a", "/")),
    ("ws://\u{e9}", to("ws", "xn--9ca", "/")),
    ("ws://B\u{fc}cher.example:81/", to("ws", "xn--bcher-kva.example:81", "/")),
    ("ws://\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}/", to("ws", "xn--r8jz45g.xn--zckzah", "/")),
    ("ws://fa\u{df}.de", to("ws", "xn--fa-hia.de", "/")),
    ("ws://\u{ff41}\u{3002}b", to("ws", "a.b", "/")),
    ("ws://a<b", None),
    ("ws://a%2Fb", None),
    ("ws://xn--\u{e9}", None),
    ("ws://", None),
    ("ws:", None),
    ("ws://:80", None),
    ("ws://?a", None),
    // Path and query.
    ("ws://a?c=d", to("ws", "a", "/?c=d")),
    ("ws://a/?", to("ws", "a", "/?")),
    ("ws://a/b/../c/./d", to("ws", "a", "/c/d")),
    ("ws://a/b/%2e%2E/c", to("ws", "a", "/c")),
    ("ws://a/b%2Fc%zz", to("ws", "a", "/b%2Fc%zz")),
    ("ws://a//b", to("ws", "a", "//b")),
    ("ws://a/b c?d e", to("ws", "a", "/b%20c?d%20e")),
    ("ws://a/caf\u{e9}?na\u{ef}ve=\u{1f980}", to("ws", "a", "/caf%C3%A9?na%C3%AFve=%F0%9F%A6%80")),
    ("ws://a/\"<>`{}?\"<>'", to("ws", "a", "/%22%3C%3E%60%7B%7D?%22%3C%3E%27")),
    ("ws://a/[b]?[c]|^`{}\\", to("ws", "a", "/[b]?[c]|^`{}\\")),
    ("ws://a/\u{1}\u{7f}", to("ws", "a", "/%01%7F")),
    ("ws://a/?b=http://[::1]:2/c", to("ws", "a", "/?b=http://[::1]:2/c")),
    ("ws://a/b;c=d,e:f@g!$&'()*+-._~", to("ws", "a", "/b;c=d,e:f@g!$&'()*+-._~")),
    // URLs with a fragment, a user or a password are refused (W-50).
    ("ws://a/#", None),
    ("ws://a/#b", None),
    ("ws://u@a", None),
    ("ws://u:p@a", None),
    ("ws://:p@a", None),
    // These URLs have no user, although they have an `@`.
    ("ws://@a/", to("ws", "a", "/")),
    ("ws://:@a/", to("ws", "a", "/")),
    // These URLs are relative, and there is no base URL.
    ("", None),
    ("a", None),
    ("//a", None),
    ("/path", None),
    ("[::1]:80", None),
];

/// URLs that Chromium parses differently, because it escapes a space in a host and a bar in a path.
pub const NOT_CHROMIUMS: &[(&str, Option<Lead>)] =
    &[("ws://a b", None), ("ws://a/b|c", to("ws", "a", "/b|c"))];
