//! The clients. The first connects over this machine's sockets, the second over a browser's
//! WebSocket, and the third over HTTP/2. The fourth client dials again when its connection is lost.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
mod http2;
#[cfg(not(target_family = "wasm"))]
mod native;
mod opened;
mod reconnect;

use std::{net::IpAddr, time::Duration};

#[cfg(target_family = "wasm")]
pub use self::browser::{BrowserApi, WebSocketClient, WebSocketClientBuilder};
#[cfg(all(feature = "http2", not(target_family = "wasm")))]
pub use self::http2::Http2Client;
#[cfg(not(target_family = "wasm"))]
pub use self::native::{
    ConnectAttempts, SocketOptions, VerifyServer, WebSocketClient, WebSocketClientBuilder,
};
pub use self::reconnect::{
    ReconnectError, ReconnectEvent, ReconnectEvents, ReconnectingClient, ReconnectingClientBuilder,
};

/// The default connect timeout. TCP sends its first four SYN packets after 0, 1, 3 and 7 s. If an
/// address has not answered 3 s after the fourth SYN packet, it is unlikely to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether this is the name or an address of this machine. By RFC 6761 §6.3, `localhost` and all
/// names below it are names of this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for host in ["localhost", "LocalHost.", "a.localhost", "127.1.2.3", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "notlocalhost", "10.0.0.1", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert!(is_loopback("::ffff:127.0.0.1"));
    }
}
