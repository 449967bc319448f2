//! Sends back whatever arrives, on streams and in datagrams. The server answers a finish with a
//! finish and a reset with a reset.

use std::{error::Error, net::SocketAddr, path::PathBuf};

use clap::{Parser, ValueEnum};
use wsmux::{
    Config, ReadError, RecvStream, SendStream, VarInt, WebSocketConnection, WebSocketServer, Wire,
    WriteError,
    rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

#[derive(Debug, Parser)]
struct Args {
    /// Address and port to listen on; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Use wss instead of ws; without --cert and --key a certificate is generated at startup
    #[arg(long)]
    tls: bool,
    /// The certificate chain, PEM
    #[arg(long, requires_all = ["key", "tls"])]
    cert: Option<PathBuf>,
    /// The private key, PEM
    #[arg(long, requires_all = ["cert", "tls"])]
    key: Option<PathBuf>,
    /// Wire protocols to accept over the WebSocket
    #[arg(long, value_enum, default_value_t = WireArg::Auto)]
    wire: WireArg,
    /// Streams of each kind that a client may have open at once
    #[arg(long, default_value_t = 100)]
    max_streams: u64,
    /// Bytes that a client may send on a stream before they are read
    #[arg(long, default_value_t = 1024 * 1024)]
    window: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WireArg {
    Auto,
    Qmux,
    Jsws,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let mut config = Config::default();
    config
        .max_concurrent_bidi_streams(args.max_streams)
        .max_concurrent_uni_streams(args.max_streams)
        .stream_receive_window(args.window);
    let wires: &[Wire] = match args.wire {
        WireArg::Auto => &[Wire::QMux, Wire::JsWs],
        WireArg::Qmux => &[Wire::QMux],
        WireArg::Jsws => &[Wire::JsWs],
    };
    let mut builder = WebSocketServer::builder().config(config).wires(wires.iter().copied());
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
        builder = builder.certificate(chain, PrivateKeyDer::from_pem_file(key)?);
    } else if args.tls {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        builder = builder.certificate([certified.cert.der().clone()], certified.signing_key.into());
    }
    let server = builder.bind(args.listen).await?;
    let scheme = if args.tls { "wss" } else { "ws" };
    println!("listening on {scheme}://{}/", server.local_addr()?);

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
    let uni = async {
        while let Ok(recv) = connection.accept_uni().await {
            let connection = connection.clone();
            tokio::spawn(async move {
                // While this task waits until the client allows one more stream, the client's
                // credit bounds the data that the client can send.
                if let Ok(send) = connection.open_uni().await {
                    echo(send, recv).await;
                }
            });
        }
    };
    let bi = async {
        while let Ok(stream) = connection.accept_bi().await {
            let (send, recv) = stream.into_split();
            tokio::spawn(echo(send, recv));
        }
    };
    let datagrams = async {
        while let Ok(datagram) = connection.read_datagram().await {
            // A peer may send datagrams although it accepts none. This is not an error, and the
            // peer's streams continue.
            let _ = connection.send_datagram(datagram);
        }
    };
    tokio::join!(uni, bi, datagrams);
    eprintln!("{:?}: {}", connection.remote_address(), connection.closed().await);
}

/// Why an echo ended early, with the client's code.
enum End {
    Reset(VarInt),
    Stopped(VarInt),
    Lost,
}

/// Echoes a stream. Only one chunk is in memory at a time, however long the stream is.
async fn echo(mut send: SendStream, mut recv: RecvStream) {
    let end = loop {
        // The client may stop the stream while no data arrives.
        let stopped = send.stopped();
        let chunk = tokio::select! {
            chunk = recv.read_chunk(usize::MAX) => chunk,
            Ok(Some(code)) = stopped => break End::Stopped(code),
        };
        let written = match chunk {
            Ok(Some(chunk)) => send.write_chunk(chunk).await,
            Ok(None) => {
                let _ = send.finish();
                return;
            }
            Err(ReadError::Reset(code)) => break End::Reset(code),
            Err(_) => break End::Lost,
        };
        match written {
            Ok(()) => {}
            Err(WriteError::Stopped(code)) => break End::Stopped(code),
            Err(_) => break End::Lost,
        }
    };
    // If the client stopped the sending half, the engine has already answered with a reset of the
    // same code. The call of `stop` also asks the client to stop sending.
    let _ = match end {
        End::Reset(code) => send.reset(code),
        End::Stopped(code) => recv.stop(code),
        End::Lost => Ok(()),
    };
}
