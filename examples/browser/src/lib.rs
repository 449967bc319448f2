//! A server that serves three things on one port: a page, the page's scripts, and the WebSocket
//! whose streams the page shows.

mod network;
mod streams;

use std::{error::Error, net::Ipv4Addr, num::NonZero, path::Path, time::Duration};

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{any, post},
};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;
use wsmux::{
    BuildError, Config, WebSocketAcceptor, WebSocketServer, Wire,
    authorize::{Accept, Refuse, UpgradeRequest},
    axum::WsMuxUpgrade,
    http::{StatusCode, header},
    hyper::HttpServer,
};

use network::Cutter;

/// A page's connection ends if it has no socket for this long.
const RESUME_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct App {
    acceptor: WebSocketAcceptor,
    rate: NonZero<usize>,
    cutter: Cutter,
}

/// Serves the page at `/`, the npm package from the directory `package` at `/wsmux/`, and the
/// WebSocket at `/streams`. Each stream to the page sends `rate` bytes a second. `POST /cut` cuts
/// all TCP connections.
///
/// # Errors
/// The server's settings are invalid, or it cannot listen.
pub async fn serve(
    listener: TcpListener,
    package: &Path,
    rate: NonZero<usize>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let cutter = Cutter::default();
    let routes = routes(package, rate, cutter.clone())?;
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = server.local_addr()?;
    tokio::select! {
        error = network::forward(listener, address, cutter) => Err(error.into()),
        never = HttpServer::new().serve_routes(server, routes) => match never {},
    }
}

fn routes(package: &Path, rate: NonZero<usize>, cutter: Cutter) -> Result<Router, BuildError> {
    // Windows do not grow, so that the page's cards can be compared.
    let mut config = Config::default();
    config.window_growth_budget(0).resume_timeout(Some(RESUME_TIMEOUT));
    let wires = [Wire::QMux, Wire::JsWs];
    let server = WebSocketServer::builder().wires(wires).config(config);
    let acceptor = server.authorizer(of_this_page).build()?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    Ok(Router::new()
        .route("/streams", any(streams))
        .route("/cut", post(cut))
        .nest_service("/wsmux", ServeDir::new(package))
        .fallback_service(ServeDir::new(page))
        .with_state(App { acceptor, rate, cutter }))
}

/// Accepts only this server's page, because any page in the browser can request the WebSocket.
async fn of_this_page(request: UpgradeRequest) -> Result<Accept, Refuse> {
    let [origin, host] =
        [header::ORIGIN, header::HOST].map(|name| request.headers().get(name)?.to_str().ok());
    let from = origin.and_then(|origin| origin.strip_prefix("http://"));
    match from.is_some() && from == host {
        true => Ok(Accept::new()),
        false => Err(Refuse::new(StatusCode::FORBIDDEN)),
    }
}

async fn streams(State(app): State<App>, upgrade: WsMuxUpgrade) -> Response {
    upgrade
        .on_failed(|error| eprintln!("no connection: {error}"))
        .on_connection(&app.acceptor, move |connection| streams::serve(connection, app.rate))
        .await
}

/// Cuts all connections, including that of this request, so the page may receive no answer.
async fn cut(State(app): State<App>) -> StatusCode {
    app.cutter.cut();
    StatusCode::NO_CONTENT
}
