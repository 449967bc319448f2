//! Measures two connections with their drivers, locks and wakers, in memory and with the frame
//! layer over a pipe.

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use tokio::runtime::{Builder, Runtime};
use wsmux::{
    Config, ConnectionInfo, Side, WebSocketClient, WebSocketConnection, WebSocketServer,
    WebSocketStream, Wire, socket::memory_pair,
};

use crate::engines::shared;

const MIB: usize = 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// How many bytes the pipe between the two ends holds, like the buffers of a socket.
const CAPACITY: usize = 256 * 1024;

/// The two ends of a stream, of which one sends requests and the other answers.
struct Ends {
    client: WebSocketStream,
    server: WebSocketStream,
}

impl Ends {
    async fn new(client: &WebSocketConnection, server: &WebSocketConnection) -> Self {
        let mut client = client.open_bi().await.expect("it lives");
        client.send().announce();
        let server = server.accept_bi().await.expect("it lives");
        Self { client, server }
    }

    async fn in_memory() -> Self {
        let connection = |socket, side| {
            let (config, info) = (Config::default(), ConnectionInfo::default());
            WebSocketConnection::from_socket(socket, side, Wire::QMux, config, info)
        };
        let (left, right) = memory_pair(CAPACITY);
        let (client, server) = (connection(left, Side::Client), connection(right, Side::Server));
        client.established().await.expect("it lives");
        Self::new(&client, &server).await
    }

    async fn framed() -> Self {
        let (left, right) = tokio::io::duplex(CAPACITY);
        let client = WebSocketClient::builder().build().expect("nothing is set");
        let acceptor = WebSocketServer::builder().build().expect("nothing is set");
        let (client, server) =
            tokio::join!(client.from_io("ws://here/", left), acceptor.from_io(right));
        Self::new(&client.expect("it connects"), &server.expect("it accepts")).await
    }

    async fn ping_pong(&mut self) {
        const BYTES: [u8; 64] = [7; 64];
        let mut buf = [0; 64];
        self.client.send().write_all(&BYTES).await.expect("it is open");
        self.server.recv().read_exact(&mut buf).await.expect("it is open");
        self.server.send().write_all(&buf).await.expect("it is open");
        self.client.recv().read_exact(&mut buf).await.expect("it is open");
    }

    async fn transfer(&mut self, chunk: &Bytes) {
        let Self { client, server } = self;
        let write = async {
            for _ in 0..MIB / CHUNK {
                client.send().write_chunk(chunk.clone()).await.expect("it is open");
            }
        };
        let read = async {
            let mut left = MIB;
            while left > 0 {
                let read = server.recv().read_chunk(usize::MAX).await.expect("it is open");
                left -= read.expect("more").len();
            }
        };
        tokio::join!(write, read);
    }
}

pub(crate) fn benches(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    bench(c, &runtime, "in memory", runtime.block_on(Ends::in_memory()));
    bench(c, &runtime, "framed, over a pipe", runtime.block_on(Ends::framed()));
}

fn bench(c: &mut Criterion, runtime: &Runtime, name: &str, mut ends: Ends) {
    let mut group = c.benchmark_group("driver");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("ping-pong of 64 bytes, {name}"), |b| {
        b.iter(|| runtime.block_on(ends.ping_pong()));
    });
    group.throughput(Throughput::Bytes(MIB as u64));
    let chunk = shared(CHUNK);
    group.bench_function(format!("1 MiB, {name}"), |b| {
        b.iter(|| runtime.block_on(ends.transfer(&chunk)));
    });
    group.finish();
}
