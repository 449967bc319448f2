//! The echo server. To learn the API, read `examples/echo_server.rs` in the repository.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::Semaphore;
use wsmux::{
    Config, ReadError, RecvStream, SendStream, VarInt, WebSocketConnection, WebSocketServer,
    WriteError,
};

use crate::{
    Failure,
    endpoint::{ServerTls, peer},
    wire::WiresArg,
};

/// The size of the largest unidirectional stream that is echoed, in bytes. The server reads such a
/// stream to its end before it sends the echo.
const MAX_UNI: usize = 64 * 1024 * 1024;

/// How many unidirectional streams of a connection may be in memory at once.
const MAX_HELD: usize = 4;

/// Echoes everything: streams with their end or reset, and datagrams
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(flatten)]
    tls: ServerTls,
    /// Wire protocols to accept over the WebSocket
    #[arg(long, value_enum, default_value_t = WiresArg::Auto)]
    wire: WiresArg,
    /// Streams of each kind that a client may have open at once
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    max_streams: u64,
    /// Bytes that a client may send on a stream before they are read
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    window: u64,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut config = Config::default();
    config
        .max_concurrent_bidi_streams(args.max_streams)
        .max_concurrent_uni_streams(args.max_streams)
        .stream_receive_window(args.window);
    let builder =
        WebSocketServer::builder().config(config).wires(args.wire.wires().iter().copied());
    let (server, url) = args.tls.bind(builder, args.listen).await?;
    println!("listening on {url}");
    while let Some(incoming) = server.accept().await {
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve(connection).await,
                Err(error) => eprintln!("handshake: {error}"),
            }
        });
    }
    Ok(())
}

async fn serve(connection: WebSocketConnection) {
    let bi = async {
        while let Ok(stream) = connection.accept_bi().await {
            let (send, recv) = stream.into_split();
            tokio::spawn(echo(send, recv));
        }
    };
    let uni = async {
        // Each task holds the bytes of a whole stream until the client permits a stream for the
        // echo.
        let places = Arc::new(Semaphore::new(MAX_HELD));
        loop {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            let Ok(mut recv) = connection.accept_uni().await else { break };
            let connection = connection.clone();
            tokio::spawn(async move {
                let _place = place;
                // Only a complete stream is echoed.
                let Ok(bytes) = recv.read_to_end(MAX_UNI).await else { return };
                let Ok(mut send) = connection.open_uni().await else { return };
                if send.write_chunk(bytes.into()).await.is_ok() {
                    let _ = send.finish();
                }
            });
        }
    };
    let datagrams = async {
        while let Ok(datagram) = connection.read_datagram().await {
            // A client may send datagrams and accept none. Then the echo of the datagram is
            // dropped, and the streams continue.
            let _ = connection.send_datagram(datagram);
        }
    };
    tokio::join!(bi, uni, datagrams);
    eprintln!("{}: {}", peer(&connection), connection.closed().await);
}

/// How the client ended a stream.
enum End {
    Finished,
    Reset(VarInt),
    Stopped(VarInt),
    Lost,
}

/// Echoes a stream. An end is answered with an end, a reset with a reset, and a stop with a stop.
async fn echo(mut send: SendStream, mut recv: RecvStream) {
    // Because of `stopped`, a stop is noticed even while no data arrives.
    let stopped = send.stopped();
    let end = tokio::select! {
        end = copy(&mut recv, &mut send) => end,
        Ok(Some(code)) = stopped => End::Stopped(code),
    };
    // These calls fail if the stream has ended in the meantime. If the client stopped the sending
    // half, the engine has already reset that half, so only the receiving half is stopped here.
    let _ = match end {
        End::Finished => send.finish().is_ok(),
        End::Reset(code) => send.reset(code).is_ok(),
        End::Stopped(code) => recv.stop(code).is_ok(),
        End::Lost => false,
    };
}

async fn copy(recv: &mut RecvStream, send: &mut SendStream) -> End {
    loop {
        let chunk = match recv.read_chunk(usize::MAX).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return End::Finished,
            Err(ReadError::Reset(code)) => return End::Reset(code),
            Err(_) => return End::Lost,
        };
        match send.write_chunk(chunk).await {
            Ok(()) => {}
            Err(WriteError::Stopped(code)) => return End::Stopped(code),
            Err(_) => return End::Lost,
        }
    }
}
