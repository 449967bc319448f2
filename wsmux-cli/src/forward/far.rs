//! The far end: the server of the WebSocket.

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, sync::watch};
use wsmux::{Config, WebSocketConnection, WebSocketServer, authorize::Bearer};

use super::{Args, FORWARD, REVERSE, Target, relay};
use crate::{Failure, endpoint::peer};

/// The connections to near ends that connect streams to a target of their own (`--reverse`). The
/// newest connection is the last element.
///
/// The newest connection gets all new TCP connections. A near end that has lost its connection may
/// reconnect before this end learns of the loss. Then this end has two connections to that near
/// end, and only the newer connection works.
type Dialers = watch::Sender<Vec<WebSocketConnection>>;

pub(super) async fn serve(
    args: &Args,
    address: SocketAddr,
    target: Option<&Target>,
    listen: Option<SocketAddr>,
) -> Result<(), Failure> {
    let mut builder = WebSocketServer::builder()
        .require_protocol(true)
        .config(config(args, target))
        .max_connections(Some(args.max_connections as usize));
    if target.is_some() {
        builder = builder.protocol(FORWARD);
    }
    let listener = match listen {
        Some(address) => {
            builder = builder.protocol(REVERSE);
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|error| format!("{address}: {error}"))?)
        }
        None => None,
    };
    if let Some(token) = &args.token.token {
        let bearer = Bearer::new("wsmux forward").token(token.secret()?, "forward");
        builder = builder.authorizer(bearer);
    }
    let (server, url) = args.tls.bind(builder, address).await?;
    println!("listening on {url}");

    let dialers = Arc::new(Dialers::default());
    if let Some(listener) = listener {
        println!("reverse: listening on {}", listener.local_addr()?);
        let (dialers, max, wait) = (dialers.clone(), args.max_streams, args.connect_timeout());
        let open = move || {
            let mut dialers = dialers.subscribe();
            async move {
                let newest = dialers.wait_for(|dialers| !dialers.is_empty()).await?.last().cloned();
                Ok(newest.ok_or("no near end")?.open_bi().await?)
            }
        };
        tokio::spawn(async move { relay::accept(listener, max, wait, open).await });
    }

    while let Some(incoming) = server.accept().await {
        let (dialers, target, wait) = (dialers.clone(), target.cloned(), args.connect_timeout());
        tokio::spawn(async move {
            let connection = match incoming.await {
                Ok(connection) => connection,
                Err(error) => return eprintln!("handshake: {error}"),
            };
            match target {
                Some(target) if connection.protocol() == Some(FORWARD) => {
                    while let Ok(stream) = connection.accept_bi().await {
                        let target = target.clone();
                        tokio::spawn(async move { relay::dial(stream, &target, wait).await });
                    }
                }
                _ => lend(&connection, &dialers).await,
            }
            eprintln!("{}: {}", peer(&connection), connection.closed().await);
        });
    }
    Ok(())
}

/// Returns the settings for all connections. The settings are needed before it is known which
/// protocol a connection uses. So they are the same for near ends that connect to a target and for
/// near ends that listen.
fn config(args: &Args, target: Option<&Target>) -> Config {
    args.config(if target.is_some() { args.max_streams } else { 0 })
}

/// Makes the connection to a near end available to new TCP connections, until the connection to the
/// near end has ended.
async fn lend(connection: &WebSocketConnection, dialers: &Dialers) {
    dialers.send_modify(|dialers| dialers.push(connection.clone()));
    // A near end that connects to a target should open no streams. Any streams that it opens are
    // dropped here, which refuses them. The loop ends with the connection.
    while connection.accept_bi().await.is_ok() {}
    dialers.send_modify(|dialers| dialers.retain(|other| other.close_reason().is_none()));
}
