//! Name resolution by the system's resolver. The resolver blocks, so it runs in a thread of its
//! own.
//!
//! tokio's pool for blocking calls is not suitable, because a runtime that is dropped waits for its
//! pool. If the name servers do not answer, the resolver takes ten seconds or more, even if its
//! caller has given up.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    thread,
};

use tokio::sync::{Semaphore, oneshot};

/// How many threads of this process may resolve names at once. A busy program dials about this many
/// names at once. If the name servers do not answer, a thread outlasts its caller, and this number
/// bounds such threads. Further lookups wait for a thread to end, within their timeouts.
const MAX_THREADS: usize = 128;

static THREADS: Semaphore = Semaphore::const_new(MAX_THREADS);

/// Looks up the addresses of a host.
///
/// This is cancel safe: the thread of an abandoned lookup ends when the system's resolver returns,
/// and nothing waits for it.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    let lookup = move || Ok((&*host, port).to_socket_addrs()?.collect());
    in_a_thread(&THREADS, lookup).await
}

/// Runs `lookup` in a thread of its own, once `threads` has a permit for the thread.
async fn in_a_thread(
    threads: &'static Semaphore,
    lookup: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let permit = threads.acquire().await.map_err(io::Error::other)?;
    let (tell, found) = oneshot::channel();
    // Linux shows at most 15 characters of a thread's name.
    thread::Builder::new().name("wsmux-resolve".into()).spawn(move || {
        let addresses = lookup();
        // The permit is released before the caller continues, because the caller may need a permit
        // again at once.
        drop(permit);
        // Sending fails if the caller has given up.
        let _ = tell.send(addresses);
    })?;
    // If there is no result, the thread has panicked.
    found.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    /// Every step here ends within this time, even on a slow machine.
    const WATCHDOG: Duration = Duration::from_secs(30);

    fn some() -> Vec<SocketAddr> {
        vec!["192.0.2.1:1".parse().unwrap()]
    }

    fn threads(count: usize) -> &'static Semaphore {
        Box::leak(Box::new(Semaphore::new(count)))
    }

    /// Returns a sender and a resolver. The resolver answers when the sender is used or dropped.
    fn stuck() -> (mpsc::Sender<()>, impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send) {
        let (answer, wait) = mpsc::channel::<()>();
        let lookup = move || {
            let _ = wait.recv();
            Ok(some())
        };
        (answer, lookup)
    }

    #[test]
    fn a_dead_resolver_does_not_hold_up_the_end_of_the_runtime() {
        let (dropped, resolver_gone) = mpsc::channel();
        let (answer, lookup) = stuck();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let limit = Duration::from_millis(1);
            let outcome =
                runtime.block_on(async { timeout(limit, in_a_thread(&THREADS, lookup)).await });
            outcome.expect_err("nobody has answered");
            drop(runtime);
            dropped.send(()).unwrap();
        });
        resolver_gone.recv_timeout(WATCHDOG).expect("the runtime waits for the resolver");
        // Up to this line, the resolver has not answered.
        drop(answer);
    }

    #[tokio::test]
    async fn a_dead_resolver_holds_its_place_and_no_more_threads_come() {
        let threads = threads(2);
        let ((first, one), (_second, two)) = (stuck(), stuck());
        let limit = Duration::from_millis(1);
        for lookup in [Box::new(one) as Box<dyn FnOnce() -> _ + Send>, Box::new(two)] {
            timeout(limit, in_a_thread(threads, lookup)).await.expect_err("it is stuck");
        }
        let never = || panic!("there is no place");
        timeout(limit, in_a_thread(threads, never)).await.expect_err("it waits");
        drop(first);
        let found = timeout(WATCHDOG, in_a_thread(threads, || Ok(some()))).await;
        assert_eq!(found.unwrap().unwrap(), some());
    }

    #[tokio::test]
    async fn a_place_comes_back_however_the_resolver_ends() {
        let threads = threads(1);
        let refused = || Err(io::ErrorKind::NotFound.into());
        let error = in_a_thread(threads, refused).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        in_a_thread(threads, || panic!("a bug of the resolver")).await.unwrap_err();
        assert_eq!(in_a_thread(threads, || Ok(some())).await.unwrap(), some());
    }

    #[tokio::test]
    async fn an_address_is_nothing_to_resolve() {
        for (host, expected) in [("192.0.2.1", "192.0.2.1:80"), ("::1", "[::1]:80")] {
            assert_eq!(resolve(host, 80).await.unwrap(), [expected.parse().unwrap()]);
        }
        // An address with a zone goes to the system's resolver, which converts the zone to a
        // number.
        let zoned = resolve("fe80::1%1", 80).await.unwrap();
        assert!(matches!(zoned[..], [SocketAddr::V6(address)] if address.scope_id() == 1));
    }
}
