//! An axum server with a page and a WebSocket on one port, over HTTP/1.1 and HTTP/2, under TLS.
//!
//! Run `cargo run --features axum --example axum_server`, and then
//! `curl --insecure https://127.0.0.1:4433/`, or
//! `cargo run --example echo_client -- wss://127.0.0.1:4433/mux --insecure`.

use std::{error::Error, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{any, get},
};
use clap::Parser;
use tokio::net::TcpListener;
use wsmux::{
    WebSocketAcceptor, WebSocketConnection, WebSocketServer,
    axum::WsMuxUpgrade,
    hyper::HttpServer,
    rustls::{ServerConfig, crypto::aws_lc_rs},
};

#[derive(Debug, Parser)]
struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    // `HttpServer` copes with silent clients, incomplete requests and a lack of file descriptors;
    // `axum::serve` does not.
    let server = HttpServer::new().tls_config(Arc::new(tls_config()?));
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on https://{0}/ and wss://{0}/mux", listener.local_addr()?);
    server.serve_routes(listener, routes()?).await;
    Ok(())
}

pub fn routes() -> Result<Router, Box<dyn Error>> {
    let acceptor = WebSocketServer::builder().build()?;
    Ok(Router::new()
        .route("/", get(|| async { "a page\n" }))
        .route("/mux", any(mux))
        .with_state(acceptor))
}

async fn mux(State(acceptor): State<WebSocketAcceptor>, upgrade: WsMuxUpgrade) -> Response {
    upgrade
        .on_failed(|error| eprintln!("no connection: {error}"))
        .on_connection(&acceptor, echo)
        .await
}

/// Sends back whatever arrives.
async fn echo(connection: WebSocketConnection) {
    while let Ok(stream) = connection.accept_bi().await {
        tokio::spawn(async move {
            let (mut send, mut recv) = stream.into_split();
            tokio::io::copy(&mut recv, &mut send).await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(send.finish()?)
        });
    }
    eprintln!("{:?}: {}", connection.remote_address(), connection.closed().await);
}

/// Makes a TLS configuration with a newly generated certificate.
pub fn tls_config() -> Result<ServerConfig, Box<dyn Error>> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], certified.signing_key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
