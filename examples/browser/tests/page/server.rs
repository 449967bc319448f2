//! The page's server, which a test can end and start again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    path::Path,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

/// The rate of each stream. The rate is higher than a person could follow, because the tests wait
/// until many bytes have arrived.
const RATE: usize = 2 * 1024 * 1024;

/// A server on a thread of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    rate: usize,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_at_rate(RATE)
    }

    pub(crate) fn start_at_rate(rate: usize) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), rate)
    }

    fn listen(address: SocketAddr, rate: usize) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../js/dist");
        assert!(
            package.join("wsmux.js").exists(),
            "MISSING: the npm package, which js/pack builds"
        );
        let bytes = NonZero::new(rate).expect("a rate");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = std::net::TcpListener::bind(address).expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            wsmux_browser_page::serve(listener, &package, bytes).await.expect("a server")
        });
        Self { address, rate, runtime: Some(runtime) }
    }

    /// Ends the server and all its sockets without closing the connections.
    pub(crate) async fn lose(mut self) -> Lost {
        let runtime = self.runtime.take().expect("a server that runs");
        let stopped =
            tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(60)));
        stopped.await.expect("a runtime that stops");
        Lost { address: self.address, rate: self.rate }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A server that has ended and can be started again.
pub(crate) struct Lost {
    address: SocketAddr,
    rate: usize,
}

impl Lost {
    /// Starts another server in the place of the ended server.
    pub(crate) fn restart(self) -> Server {
        Server::listen(self.address, self.rate)
    }
}
