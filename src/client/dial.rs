//! From a name to a TCP connection.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::ConnectError;

/// A TCP connection to the first of the host's addresses that answers.
pub(super) async fn dial(
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, ConnectError> {
    let start = Instant::now();
    let addresses = timeout(limit, lookup_host((host, port)))
        .await
        .map_err(|_| ConnectError::ConnectTimeout)?
        .map_err(|error| ConnectError::Resolve(error.into()))?;
    let addresses: Vec<_> = addresses.collect();
    try_all(&addresses, limit.saturating_sub(start.elapsed())).await
}

/// Tries the addresses in their order. Each gets an equal share of the time that is left: one that swallows
/// everything must not take the time of those behind it.
async fn try_all(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let start = Instant::now();
    let mut failure = ConnectError::Resolve(Arc::new(io::Error::other("name has no address")));
    for (i, address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(start.elapsed());
        let shares = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
        failure = match timeout(left / shares, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectError::Connect(error.into()),
            Err(_) => ConnectError::ConnectTimeout,
        };
    }
    Err(failure)
}

/// Linux drops what a full queue has no place for, as a dead host would.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_take_the_time_of_the_next() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let swallows = full.local_addr().unwrap();
        let limit = Duration::from_millis(200);
        let mut queue = Vec::new();
        while let Ok(queued) = timeout(limit, TcpStream::connect(swallows)).await {
            queue.push(queued.unwrap());
        }
        let failed = try_all(&[swallows], limit).await;
        assert!(matches!(failed, Err(ConnectError::ConnectTimeout)), "{failed:?}");

        // A port that was free a moment ago.
        let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let failed = try_all(&[swallows, refused], limit).await;
        assert!(matches!(failed, Err(ConnectError::Connect(_))), "{failed:?}");

        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = good.local_addr().unwrap();
        let start = Instant::now();
        let stream = try_all(&[swallows, refused, address], 3 * limit).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert!(start.elapsed() < 2 * limit, "{:?}", start.elapsed());
    }
}
