//! The HTTP server of the tests. It serves the page's files, and the commands that start a server
//! and its network.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::post};
use tokio::{net::TcpListener, sync::Mutex};
use tower_http::services::ServeDir;

use crate::{
    journal::Journal,
    peer::{Kind, Peer},
    relay::Relay,
};

/// The server and the network of one test.
struct Stage {
    relay: Relay,
    peer: Peer,
}

type Shared = Arc<Mutex<Option<Stage>>>;

pub(crate) struct Site {
    address: SocketAddr,
    stage: Shared,
}

impl Site {
    pub(crate) async fn start(dist: &Path) -> anyhow::Result<Self> {
        let stage = Shared::default();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let router = Router::new()
            .route("/network/cut", post(cut))
            .route("/network/lose", post(lose))
            .route("/network/stand", post(stand))
            .route("/network/run", post(run))
            .route("/ended", post(ended))
            .nest_service("/dist", ServeDir::new(dist))
            .nest_service("/page", ServeDir::new(page))
            .with_state(stage.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, stage })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/page/index.html", self.address)
    }

    /// Ends the connections of the current test.
    pub(crate) async fn lose_connections(&self) {
        relay(self.stage.clone(), Relay::lose).await;
    }

    /// Replaces the server and the network of the previous test. Returns the URL of the new
    /// WebSocket.
    pub(crate) async fn set_up(&self, kind: Kind) -> anyhow::Result<String> {
        let peer = Peer::start(kind).await?;
        let relay = Relay::start(peer.address()).await.context("a relay")?;
        let url = format!("ws://{}/", relay.address());
        *self.stage.lock().await = Some(Stage { relay, peer });
        Ok(url)
    }
}

async fn relay(stage: Shared, act: impl FnOnce(&Relay)) -> StatusCode {
    match &*stage.lock().await {
        Some(stage) => act(&stage.relay),
        None => return StatusCode::NOT_FOUND,
    }
    StatusCode::NO_CONTENT
}

async fn cut(State(stage): State<Shared>) -> StatusCode {
    relay(stage, Relay::cut).await
}

async fn lose(State(stage): State<Shared>) -> StatusCode {
    relay(stage, Relay::lose).await
}

async fn stand(State(stage): State<Shared>) -> StatusCode {
    relay(stage, Relay::stand).await
}

async fn run(State(stage): State<Shared>) -> StatusCode {
    relay(stage, Relay::run).await
}

/// Returns how the next connection ended at the server.
async fn ended(State(stage): State<Shared>) -> Result<String, StatusCode> {
    let journal: Option<Arc<Journal>> =
        stage.lock().await.as_ref().map(|stage| stage.peer.journal());
    Ok(journal.ok_or(StatusCode::NOT_FOUND)?.ended().await)
}
