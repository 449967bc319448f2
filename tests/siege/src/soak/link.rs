//! The servers, and connections of which both ends are in this process.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::{
    io::{copy_bidirectional, duplex},
    net::TcpStream,
    sync::oneshot,
    task::AbortHandle,
};
use wsmux::{Config, WebSocketClient, WebSocketConnection, WebSocketServer, Wire};

const HEADER: &str = "soak-number";

/// The tasks that wait for the server's end of a connection, by the number of the connection.
type Awaited = Mutex<HashMap<u64, oneshot::Sender<WebSocketConnection>>>;

/// A server, with or without TLS.
struct Place {
    server: Arc<WebSocketServer>,
    url: String,
}

pub struct World {
    places: [Place; 2],
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
    pub async fn new() -> Result<Self> {
        let awaited = Arc::new(Awaited::default());
        let [plain, tls] =
            [place(false, awaited.clone()).await?, place(true, awaited.clone()).await?];
        Ok(Self { places: [plain, tls], awaited, next: AtomicU64::new(0) })
    }

    pub fn connections(&self) -> usize {
        self.places.iter().map(|place| place.server.connections()).sum()
    }

    pub async fn connect(&self, wire: Wire, tls: bool, can_be_cut: bool) -> Result<Link> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        let client = WebSocketClient::builder()
            .config(Config::default())
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
        let server = receiver.await.context("the server's end")?;
        Ok(Link { client, server, cut })
    }
}

async fn place(tls: bool, awaited: Arc<Awaited>) -> Result<Place> {
    let mut server = WebSocketServer::builder().wires([Wire::QMux, Wire::JsWs]);
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
