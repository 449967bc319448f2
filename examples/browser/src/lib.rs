//! A server for a page, its scripts, and the WebSocket whose streams the page shows, all on one
//! port.

mod streams;

use std::{num::NonZero, path::Path};

use axum::{Router, extract::State, response::Response, routing::any};
use tower_http::services::ServeDir;
use wsmux::{
    BuildError, Config, WebSocketAcceptor, WebSocketServer, Wire,
    authorize::{Accept, Refuse, UpgradeRequest},
    axum::WsMuxUpgrade,
    http::{StatusCode, header},
};

#[derive(Clone)]
struct App {
    acceptor: WebSocketAcceptor,
    rate: NonZero<usize>,
}

/// Returns the routes: the page at `/`, the npm package from the directory `package` at `/wsmux/`,
/// and the WebSocket at `/streams`. Each stream to the page sends `rate` bytes a second.
///
/// # Errors
/// [`BuildError`], as for any server's settings.
pub fn routes(package: &Path, rate: NonZero<usize>) -> Result<Router, BuildError> {
    // Windows do not grow, so that the page's cards can be compared.
    let mut config = Config::default();
    config.window_growth_budget(0);
    let wires = [Wire::QMux, Wire::JsWs];
    let server = WebSocketServer::builder().wires(wires).config(config);
    let acceptor = server.authorizer(of_this_page).build()?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    Ok(Router::new()
        .route("/streams", any(streams))
        .nest_service("/wsmux", ServeDir::new(package))
        .fallback_service(ServeDir::new(page))
        .with_state(App { acceptor, rate }))
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
