//! Secrets on the routes of axum and hyper, and in a client over HTTP/2.

use axum::{Router, extract::State, response::Response, routing::any};
use tokio::net::TcpListener;
use wsmux::{
    Http2Client, WebSocketAcceptor, WebSocketServer,
    axum::WsMuxUpgrade,
    http::{self, header},
};

use super::{Hook, Identity, PATH, Said, secretive, standard};

#[derive(Clone)]
struct Route {
    acceptor: WebSocketAcceptor,
    said: Said,
}

async fn route(State(Route { acceptor, said }): State<Route>, upgrade: WsMuxUpgrade) -> Response {
    said.debug("WsMuxUpgrade", &upgrade);
    upgrade
        .on_connection(&acceptor, |connection| async move { drop(connection.closed().await) })
        .await
}

#[tokio::test]
async fn neither_does_a_route_nor_a_client_over_http2() {
    let (said, identity) = (Said::default(), Identity::new());
    let _recording = tracing::subscriber::set_default(said.clone());
    let acceptor = WebSocketServer::builder().authorizer(Hook(said.clone())).build().unwrap();
    let state = Route { acceptor: acceptor.clone(), said: said.clone() };
    let routes = Router::new().fallback(any(route)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let client = secretive(&identity).build().unwrap();
    for http2 in [false, true] {
        let over_http2 = Http2Client::with_prior_knowledge(client.clone());
        let connect = async |path: &str| {
            let url = format!("{base}{path}");
            if http2 { over_http2.connect(&url).await } else { client.connect(&url).await }
        };
        let connection = connect(PATH).await.unwrap();
        said.debug("WebSocketConnection", &connection);
        said.debug("its headers", &standard(connection.info().request().unwrap().headers()));
        said.debug("its headers", &standard(connection.info().response_headers().unwrap()));
        said.failed("ConnectError", connect("/refused?token=canary").await);
        said.debug("Http2Client", &over_http2);
    }

    let mut request = http::Request::new(());
    *request.uri_mut() = "/refused?token=canary".parse().unwrap();
    request.headers_mut().insert(header::COOKIE, "canary".parse().unwrap());
    let refused = wsmux::hyper::upgrade(&acceptor, &mut request).await.unwrap_err();
    said.error("hyper::UpgradeError", &refused);
    said.holds_no_secret(identity.key.secret_der());
}
