//! The near end: the client of the WebSocket.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use wsmux::{
    ConnectError, ReconnectError, ReconnectEvent, ReconnectEvents, ReconnectingClient,
    WebSocketClient, http::StatusCode,
};

use super::{Args, FORWARD, REVERSE, Target, relay};
use crate::{Failure, endpoint::explain};

/// Accepts TCP connections, and opens a stream for each connection.
pub(super) async fn listen(args: &Args, url: &str, address: SocketAddr) -> Result<(), Failure> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    let (client, events) = connect(args, url, FORWARD, 0).await?;
    println!("listening on {}", listener.local_addr()?);
    let open = move || {
        let client = client.clone();
        async move { Ok(client.connection().await?.open_bi().await?) }
    };
    tokio::select! {
        never = relay::accept(listener, args.max_streams, args.connect_timeout(), open) => match never {},
        error = watch(events) => Err(error),
    }
}

/// Connects to the target for each stream that the far end opens.
pub(super) async fn dial(args: &Args, url: &str, target: &Target) -> Result<(), Failure> {
    let (client, events) = connect(args, url, REVERSE, args.max_streams).await?;
    println!("forwarding to {target}");
    let wait = args.connect_timeout();
    let dial = async {
        while let Ok(connection) = client.connection().await {
            while let Ok(stream) = connection.accept_bi().await {
                let target = target.clone();
                tokio::spawn(async move { relay::dial(stream, &target, wait).await });
            }
        }
        // This task never ends by itself; `watch` returns when the client gives up.
        std::future::pending().await
    };
    tokio::select! {
        never = dial => never,
        error = watch(events) => Err(error),
    }
}

/// Makes a client that has connected once, and connects again after a loss.
async fn connect(
    args: &Args,
    url: &str,
    protocol: &str,
    streams: u32,
) -> Result<(ReconnectingClient, ReconnectEvents), Failure> {
    let builder = WebSocketClient::builder()
        .protocol(protocol)
        .require_protocol(true)
        .config(args.config(streams))
        .connect_timeout(args.connect_timeout());
    let client = args.token.apply(args.trust.apply(builder)?)?.build()?;
    let (client, mut events) = ReconnectingClient::builder(client, url).start();
    // If the first attempt fails, for example because of a wrong argument, the program ends at
    // once, as ssh does.
    match events.next().await {
        Some(ReconnectEvent::Failed { error, .. }) => Err(match &error {
            // A server that knows none of the protocols gives this answer.
            ConnectError::Refused { status: StatusCode::BAD_REQUEST, .. } => {
                format!("{error}: the server is no far end, or does not allow this direction")
                    .into()
            }
            _ => explain(&error).into(),
        }),
        _ => Ok((client, events)),
    }
}

/// Reports the connection's events on stderr until the client gives up. Returns why it gave up.
async fn watch(mut events: ReconnectEvents) -> Failure {
    while let Some(event) = events.next().await {
        if let ReconnectEvent::GaveUp { error } = event {
            return match &error {
                ReconnectError::Connect(error) => explain(error).into(),
                _ => error.into(),
            };
        }
        eprintln!("{event}");
    }
    ReconnectError::Stopped.into()
}
