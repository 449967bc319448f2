//! The servers, and their connections. Both ends of each connection are in this process.

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{copy_bidirectional, duplex},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::AbortHandle,
    time::timeout,
};
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, Wire};

const HEADER: &str = "soak-number";
/// How long connections wait for a new socket.
const RESUME_TIMEOUT: Duration = Duration::from_secs(10);
/// How many milliseconds a socket lasts before it is cut.
const SOCKET_LASTS: Range<u64> = 50..500;
/// How long to wait for the server's end of a connection, whose socket may have been cut.
const SERVER_FOLLOWS: Duration = Duration::from_secs(5);

/// The tasks that wait for the server's end of a connection, by the number of the connection.
type Awaited = Mutex<HashMap<u64, oneshot::Sender<WebSocketConnection>>>;

/// A server, with or without TLS.
struct Place {
    server: Arc<WebSocketServer>,
    url: String,
}

pub struct World {
    places: [Place; 2],
    config: Config,
    kills: bool,
    awaited: Arc<Awaited>,
    next: AtomicU64,
}

/// Both ends of a connection, and a handle that cuts the network between them, if it can be cut.
pub struct Link {
    pub client: WebSocketConnection,
    pub server: WebSocketConnection,
    pub cut: Option<AbortHandle>,
}

impl World {
    /// If `kills` has a seed, the sockets are cut again and again, and the connections outlive
    /// them.
    pub async fn new(kills: Option<u64>) -> Result<Self> {
        let awaited = Arc::new(Awaited::default());
        let mut config = Config::default();
        if kills.is_some() {
            config.resume_timeout(Some(RESUME_TIMEOUT));
        }
        let mut places = [
            place(false, config.clone(), awaited.clone()).await?,
            place(true, config.clone(), awaited.clone()).await?,
        ];
        if let Some(seed) = kills {
            for place in &mut places {
                place.cut_again_and_again(seed).await?;
            }
        }
        Ok(Self { places, config, kills: kills.is_some(), awaited, next: AtomicU64::new(0) })
    }

    /// Whether sockets are cut again and again.
    pub fn kills(&self) -> bool {
        self.kills
    }

    pub fn connections(&self) -> usize {
        self.places.iter().map(|place| place.server.connections()).sum()
    }

    pub async fn connect(&self, wire: Wire, tls: bool, can_be_cut: bool) -> Result<Link> {
        loop {
            match self.try_connect(wire, tls, can_be_cut).await {
                // The socket was cut before both ends had received each other's parameters, so try
                // again.
                Err(_) if self.kills => {}
                done => return done,
            }
        }
    }

    async fn try_connect(&self, wire: Wire, tls: bool, can_be_cut: bool) -> Result<Link> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        let client = WebSocketClient::builder()
            .config(self.config.clone())
            .wire(wire)
            .header(HEADER, number.to_string())
            .danger_accept_any_certificate()
            .build()?;
        let place = &self.places[usize::from(tls)];
        let (client, cut) = if can_be_cut {
            let mut tcp = TcpStream::connect(place.server.local_addr()?).await?;
            // When connections are cut, half of them end with an RST, and the other half with a
            // FIN.
            if number.is_multiple_of(2) {
                tcp.set_zero_linger()?;
            }
            let (near, mut far) = duplex(64 * 1024);
            let relay =
                tokio::spawn(async move { copy_bidirectional(&mut far, &mut tcp).await.map(drop) });
            (client.from_io(&place.url, near).await?, Some(relay.abort_handle()))
        } else {
            (client.connect(&place.url).await?, None)
        };
        let server = match self.kills {
            true => timeout(SERVER_FOLLOWS, receiver).await?,
            false => receiver.await,
        };
        let server = server.context("the server's end")?;
        Ok(Link { client, server, cut })
    }
}

impl Place {
    /// Puts a forwarder before the server. The forwarder cuts each connection after a short time.
    async fn cut_again_and_again(&mut self, seed: u64) -> Result<()> {
        let server = self.server.local_addr()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let forwarder = listener.local_addr()?.to_string();
        self.url = self.url.replace(&server.to_string(), &forwarder);
        let mut rng = StdRng::seed_from_u64(seed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let lasts = Duration::from_millis(rng.random_range(SOCKET_LASTS));
                tokio::spawn(forward(client, server, lasts, rng.random()));
            }
        });
        Ok(())
    }
}

async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    lasts: Duration,
    resets: bool,
) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let _ = timeout(lasts, copy_bidirectional(&mut client, &mut server)).await;
    if resets {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

async fn place(tls: bool, config: Config, awaited: Arc<Awaited>) -> Result<Place> {
    let mut server = WebSocketServer::builder().wires([Wire::QMux, Wire::JsWs]).config(config);
    if tls {
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        server = server.certificate([identity.cert.der().clone()], identity.signing_key.into());
    }
    let server = Arc::new(server.bind("127.0.0.1:0").await?);
    let scheme = if tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}/", server.local_addr()?);
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let awaited = awaited.clone();
            tokio::spawn(async move {
                let connection = incoming.await.ok()?;
                let number = {
                    let request = connection.info().request()?;
                    request.headers().get(HEADER)?.to_str().ok()?.parse().ok()?
                };
                let waiting =
                    awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&number)?;
                waiting.send(connection).ok()
            });
        }
    });
    Ok(Place { server, url })
}
