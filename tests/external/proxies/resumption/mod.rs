//! Connections that outlive their sockets, with nginx or HAProxy in front of three servers. The
//! proxies have the configurations of the manual's chapter on resumption, which send a client back
//! to its server. A forwarder between the client and the proxy stands for the network.

mod node;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, task::JoinSet};
use wsmux::{
    Config, ConnectionEvent, ConnectionEvents, ReadError, WebSocketClient, WebSocketConnection,
};
use wsmux_testing::cutter::{Cut, Cutter};

use super::{
    interop::{KIB, MIB, get_echo, within},
    proxy::{Choice, Kind, Port, Proxy, Settings},
};
use node::Node;

/// No test takes this long, so an error within a test does not come from this timeout.
const NEVER: Duration = Duration::from_secs(3600);

/// Three servers, the proxy in front of them, the network, and a client with one connection.
struct Farm {
    client: WebSocketConnection,
    nodes: Vec<Node>,
    ports: Vec<Port>,
    config: Config,
    network: Cutter,
    proxy: Proxy,
}

impl Farm {
    async fn start(kind: Kind, settings: Settings, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.resume_timeout(Some(NEVER)).max_idle_timeout(Some(NEVER));
        change(&mut config);
        let ports: Vec<_> = (0..3).map(|_| Port::reserve()).collect();
        let addresses: Vec<_> = ports.iter().map(Port::address).collect();
        let nodes = addresses.iter().map(|address| Node::start(*address, &config)).collect();
        let proxy = Proxy::start(kind, &settings, &addresses).await;
        let network = Cutter::start(proxy.address()).await;
        let client = connect(&network, &config).await;
        get_echo(&client, 0, KIB).await;
        Self { client, nodes, ports, config, network, proxy }
    }

    /// Returns the number of the server that has the client's connection.
    fn home(&self) -> usize {
        self.nodes.iter().position(|node| node.connected() == 1).expect("a connection")
    }

    /// Fails if any server except the client's has received a request, or if the client's server
    /// has refused one.
    fn assert_only_home_was_asked(&self) {
        for (nth, node) in self.nodes.iter().enumerate() {
            if nth != self.home() {
                assert_eq!([node.connected(), node.resumed(), node.refused()], [0; 3], "{nth}");
            }
        }
        assert_eq!(self.nodes[self.home()].refused(), 0);
    }

    /// Waits until the connection has ended, and checks that it ended with the error that suspended
    /// it.
    async fn refused(&self) {
        let mut events = self.client.events();
        let end = within("the end", self.client.closed()).await;
        assert!(matches!(end, wsmux::ConnectionError::SocketLost(_)), "{end:?}");
        while let Some(event) = events.next().await {
            assert!(!matches!(event, ConnectionEvent::Resumed { .. }), "{event:?}");
        }
        assert_eq!(self.nodes.iter().map(Node::refused).sum::<u64>(), 1);
    }
}

async fn connect(network: &Cutter, config: &Config) -> WebSocketConnection {
    let client = WebSocketClient::builder().config(config.clone()).build().expect("a client");
    let url = format!("ws://{}/", network.address());
    within("connecting", client.connect(&url)).await.expect("a connection")
}

async fn resumed(events: &mut ConnectionEvents) {
    loop {
        match within("a resumption", events.next()).await {
            Some(ConnectionEvent::Resumed { .. }) => return,
            Some(_) => {}
            None => panic!("the connection has ended"),
        }
    }
}

/// Settings with which a client gets back to its server.
fn sticky() -> Settings {
    Settings { choice: Choice::Cookie, ..Settings::default() }
}

/// Makes calls without pause, some short and some long, until `until` is complete. Every byte of
/// each call is checked, and no call may fail.
async fn calls(client: &WebSocketConnection, until: impl Future<Output = ()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for seed in 0..8 {
        let (client, stop) = (client.clone(), stop.clone());
        callers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                get_echo(&client, seed, if seed < 2 { 4 * MIB } else { 30 * KIB }).await;
            }
        });
    }
    until.await;
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = within("the last calls", callers.join_next()).await {
        done.expect("a call that is answered");
    }
}

async fn no_call_fails_when_the_network_cuts_under_load(kind: Kind) {
    const CUTS: u64 = 20;
    let farm = Farm::start(kind, sticky(), |_| {}).await;
    calls(&farm.client, async {
        for nth in 0..CUTS {
            let mut events = farm.client.events();
            farm.network.forwarded(500 * KIB + nth * 17_117).await;
            farm.network.cut(if nth % 2 == 0 { Cut::Reset } else { Cut::End });
            resumed(&mut events).await;
        }
    })
    .await;
    assert!(farm.client.session_stats().resumptions >= CUTS);
    assert!(farm.nodes[farm.home()].resumed() >= CUTS);
    farm.assert_only_home_was_asked();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_the_network_cuts_before_haproxy() {
    no_call_fails_when_the_network_cuts_under_load(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_the_network_cuts_before_nginx() {
    no_call_fails_when_the_network_cuts_under_load(Kind::Nginx).await;
}

/// A reload ends the old worker, and with it the client's tunnel.
async fn no_call_fails_when_the_proxy_is_reloaded(kind: Kind) {
    let farm = Farm::start(kind, sticky(), |_| {}).await;
    calls(&farm.client, async {
        for _ in 0..3 {
            let mut events = farm.client.events();
            farm.proxy.reload().await;
            resumed(&mut events).await;
        }
    })
    .await;
    farm.assert_only_home_was_asked();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_haproxy_is_reloaded() {
    no_call_fails_when_the_proxy_is_reloaded(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_nginx_is_reloaded() {
    no_call_fails_when_the_proxy_is_reloaded(Kind::Nginx).await;
}

/// All processes of the proxy are killed, and a supervisor starts it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_haproxy_is_killed_and_started_again() {
    let mut farm = Farm::start(Kind::HaProxy, sticky(), |_| {}).await;
    let client = farm.client.clone();
    calls(&client, async {
        let mut events = farm.client.events();
        farm.proxy.kill().await;
        farm.proxy.start_again().await;
        resumed(&mut events).await;
    })
    .await;
    farm.assert_only_home_was_asked();
}

/// Without pings the tunnel is silent, so the proxy closes it again and again.
async fn the_proxys_timeout_is_survived(kind: Kind) {
    let settings = Settings { idle: Duration::from_secs(1), ..sticky() };
    let quiet = |c: &mut Config| _ = c.keep_alive_interval(None).max_idle_timeout(None);
    let farm = Farm::start(kind, settings, quiet).await;
    let mut events = farm.client.events();
    for seed in 0..3 {
        resumed(&mut events).await;
        get_echo(&farm.client, seed, 10 * KIB).await;
    }
    farm.assert_only_home_was_asked();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_haproxy_for_silent_tunnels_is_survived() {
    the_proxys_timeout_is_survived(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_nginx_for_silent_tunnels_is_survived() {
    the_proxys_timeout_is_survived(Kind::Nginx).await;
}

async fn a_restarted_node_ends_the_sessions_that_it_had(kind: Kind) {
    let mut farm = Farm::start(kind, sticky(), |_| {}).await;
    let home = farm.home();
    let mut stream = farm.client.open_bi().await.expect("a stream");
    farm.network.set_down(true);
    drop(farm.nodes.remove(home));
    let address = farm.ports[home].address();
    // The killed server's port is free once its runtime has dropped the listener.
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the server's end", gone).await;
    farm.nodes.insert(home, Node::start(address, &farm.config));
    farm.network.set_down(false);
    farm.refused().await;
    assert_eq!(farm.nodes[home].refused(), 1, "the same node was asked");
    let read = stream.split().1.read(&mut [0]).await;
    assert!(matches!(read, Err(ReadError::ConnectionLost(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_behind_haproxy_ends_its_sessions_at_once() {
    a_restarted_node_ends_the_sessions_that_it_had(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_behind_nginx_ends_its_sessions_at_once() {
    a_restarted_node_ends_the_sessions_that_it_had(Kind::Nginx).await;
}

/// The failure for which the cookie is needed: the balancer gives the new socket to another server.
async fn a_client_without_a_cookie_is_refused_by_another_node(kind: Kind) {
    let farm = Farm::start(kind, Settings::default(), |_| {}).await;
    let home = farm.home();
    farm.network.cut(Cut::Reset);
    farm.refused().await;
    assert_eq!(farm.nodes[home].refused(), 0, "another node was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_cookie_is_refused_by_another_node_of_haproxy() {
    a_client_without_a_cookie_is_refused_by_another_node(Kind::HaProxy).await;
}

/// `balance source` sends a client to the same server while the client's address stays the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_by_address_lasts_until_the_address_changes() {
    let settings = Settings { choice: Choice::Source, ..Settings::default() };
    let farm = Farm::start(Kind::HaProxy, settings, |_| {}).await;
    let home = farm.home();
    let mut events = farm.client.events();
    farm.network.cut(Cut::Reset);
    resumed(&mut events).await;
    get_echo(&farm.client, 1, MIB).await;

    // Tries addresses for the client until the balancer sends its new connections to another
    // server.
    for last in 2.. {
        farm.network.come_from(Ipv4Addr::new(127, 0, 0, last));
        let before = farm.nodes[home].connected();
        let other = connect(&farm.network, &Config::default()).await;
        get_echo(&other, 1, KIB).await;
        if farm.nodes[home].connected() == before {
            break;
        }
    }
    farm.network.cut(Cut::Reset);
    farm.refused().await;
    assert_eq!(farm.nodes[home].refused(), 0, "another node was asked");
}
