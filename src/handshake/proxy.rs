//! The handshake with an HTTP proxy (RFC 9110 §9.3.6): it parses the proxy's URL and makes the
//! CONNECT request. The proxy's response is parsed in the same way as a server's.

use data_encoding::BASE64;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

use super::client::{Target, read_url};
use crate::error::BuildError;

/// An HTTP proxy, and the credentials for it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) at: Target,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(crate) fn parse(url: &str) -> Result<Self, BuildError> {
        // The error does not repeat the URL, which may contain a password.
        let invalid = |reason: &str| BuildError::InvalidProxy(reason.to_owned());
        let (url, zone) = read_url(url).map_err(|reason| invalid(&reason))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" if cfg!(feature = "tls") => true,
            "https" => return Err(invalid("https needs the feature `tls`")),
            _ => return Err(invalid("its scheme is neither http nor https")),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("a proxy has no path"));
        }
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let authorization = has_credentials.then(|| basic(&url)).transpose()?;
        let at = Target::new(&url, tls, zone).ok_or_else(|| invalid("no host"))?;
        Ok(Self { at, authorization })
    }

    /// Returns the bytes of the request for a tunnel to the target.
    pub(crate) fn request(&self, target: &Target) -> Vec<u8> {
        let (host, port) = (&target.host, target.port);
        // The port is always sent. A zone is never sent, because it means nothing on another
        // machine.
        let authority = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let mut out = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            out.extend_from_slice(b"Proxy-Authorization: ");
            out.extend_from_slice(authorization.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Returns the credentials of a URL in the form of RFC 7617.
fn basic(url: &Url) -> Result<HeaderValue, BuildError> {
    let [user, password] = [url.username(), url.password().unwrap_or_default()]
        .map(|part| percent_decode_str(part).collect::<Vec<u8>>());
    // RFC 7617 §2: the first colon ends the user's name, and control characters are not allowed.
    if user.contains(&b':') || user.iter().chain(&password).any(u8::is_ascii_control) {
        return Err(BuildError::InvalidProxy("credentials that cannot be sent".into()));
    }
    let encoded = BASE64.encode(&[&user[..], b":", &password].concat());
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| BuildError::InvalidProxy("credentials that cannot be sent".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(proxy: &str, target: &str) -> String {
        let target = Target::parse(target).unwrap();
        String::from_utf8(Proxy::parse(proxy).unwrap().request(&target)).unwrap()
    }

    #[test]
    fn a_tunnel_is_asked_for_by_host_and_port() {
        for (target, expected) in [
            ("ws://a/path", "a:80"),
            ("wss://a", "a:443"),
            ("wss://a:8443", "a:8443"),
            ("ws://1.2.3.4", "1.2.3.4:80"),
            ("wss://[::1]", "[::1]:443"),
            ("wss://[fe80::1%25eth0]:1", "[fe80::1]:1"),
        ] {
            let expected = format!("CONNECT {expected} HTTP/1.1\r\nHost: {expected}\r\n\r\n");
            assert_eq!(request("http://proxy", target), expected);
        }
    }

    /// This includes the example of RFC 7617 §2.
    #[test]
    fn credentials_are_sent_as_basic() {
        for (credentials, expected) in [
            ("Aladdin:open%20sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("user", "dXNlcjo="),
            ("u:p:q%40", "dTpwOnFA"),
            ("test:123%C2%A3", "dGVzdDoxMjPCow=="),
        ] {
            let request = request(&format!("http://{credentials}@proxy:3128/"), "ws://a");
            let expected = format!("\r\nProxy-Authorization: Basic {expected}\r\n\r\n");
            assert!(request.ends_with(&expected), "{request}");
        }
    }

    #[test]
    fn proxies_are_found_by_http_and_https() {
        let proxy = Proxy::parse("http://u:p@[::1]:3128").unwrap();
        assert_eq!((proxy.at.tls, &*proxy.at.host, proxy.at.port), (false, "::1", 3128));
        assert!(!format!("{proxy:?}").contains("dTpw"));
        assert_eq!(Proxy::parse("HTTP://proxy").unwrap().at.port, 80);
        #[cfg(feature = "tls")]
        assert!(matches!(
            Proxy::parse("https://proxy").unwrap().at,
            Target { tls: true, port: 443, .. }
        ));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for url in [
            "",
            "proxy:3128",
            "socks5://proxy",
            "ws://proxy",
            "http://",
            "http://u:secret@",
            "http://u:secret@proxy:port",
            "http://u:secret@proxy/path",
            "http://u:secret@proxy?query",
            "http://u:secret@proxy#fragment",
            "http://u%3Ax:secret@proxy",
            "http://u:secret%0D%0AX:%20y@proxy",
        ] {
            let refused = Proxy::parse(url).unwrap_err();
            assert!(matches!(refused, BuildError::InvalidProxy(_)), "{url:?}: {refused:?}");
            assert!(!format!("{refused}").contains("secret"), "{refused}");
        }
    }
}
