//! Two engines that are connected directly, without a socket, a task or a lock.

use wsmux::{
    Config, Dir, Wire,
    proto::{Read, StreamId},
};
use wsmux_testing::engines::{Engines, NOW, read, shared};

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    Case { name: "rpc_qmux", rounds: 200, prepare: || rpc(Wire::QMux) },
    Case { name: "rpc_jsws", rounds: 200, prepare: || rpc(Wire::JsWs) },
    Case { name: "bulk_64k_qmux", rounds: 200, prepare: || bulk(Wire::QMux) },
    Case { name: "bulk_64k_jsws", rounds: 200, prepare: || bulk(Wire::JsWs) },
    Case { name: "writes_of_32_bytes", rounds: 50, prepare: small_writes },
    Case { name: "1000_streams_with_data", rounds: 5, prepare: many_with_data },
    Case { name: "1000_streams_opened_and_freed", rounds: 5, prepare: many_opened },
];

const STREAMS: usize = 1_000;

fn rpc(wire: Wire) -> Box<dyn FnMut()> {
    let mut engines = Engines::new(wire, &Config::default());
    Box::new(move || engines.ask())
}

fn bulk(wire: Wire) -> Box<dyn FnMut()> {
    let mut engines = Engines::new(wire, &Config::default());
    let (id, chunk) = (engines.open(), shared(64 * 1024));
    Box::new(move || {
        engines.client.send_stream(NOW, id).append_chunk(chunk.clone()).expect("it is open");
        engines.carry();
        assert_eq!(read(&mut engines.server, id), chunk.len());
        // The second call carries the renewed credit back.
        engines.carry();
    })
}

/// A hundred writes that are sent together.
fn small_writes() -> Box<dyn FnMut()> {
    const WRITES: usize = 100;
    let mut engines = Engines::new(Wire::QMux, &Config::default());
    let id = engines.open();
    Box::new(move || {
        for _ in 0..WRITES {
            write(&mut engines, id, &[7; 32]);
        }
        engines.carry();
        assert_eq!(read(&mut engines.server, id), WRITES * 32);
        engines.carry();
    })
}

/// All streams have data at once, in eight priorities.
fn many_with_data() -> Box<dyn FnMut()> {
    let mut engines = with_room();
    let ids: Vec<_> = (0..STREAMS).map(|_| engines.open()).collect();
    for (id, priority) in ids.iter().zip((0..8).cycle()) {
        engines.client.send_stream(NOW, *id).set_priority(priority).expect("it is open");
    }
    Box::new(move || {
        for &id in &ids {
            write(&mut engines, id, &[7; 64]);
        }
        engines.carry();
        for &id in &ids {
            assert_eq!(read(&mut engines.server, id), 64);
        }
        engines.carry();
    })
}

/// All streams are open at once, and end without data.
fn many_opened() -> Box<dyn FnMut()> {
    let mut engines = with_room();
    Box::new(move || {
        for _ in 0..STREAMS {
            let id = engines.client.open(Dir::Bi).expect("it lives").expect("the limit permits");
            engines.client.send_stream(NOW, id).finish().expect("it is open");
        }
        engines.carry();
        let mut ids = Vec::with_capacity(STREAMS);
        while let Some(id) = engines.server.accept(Dir::Bi) {
            assert!(matches!(
                engines.server.recv_stream(NOW, id).read(usize::MAX),
                Ok(Read::Finished)
            ));
            engines.server.send_stream(NOW, id).finish().expect("it is open");
            ids.push(id);
        }
        assert_eq!(ids.len(), STREAMS);
        engines.carry();
        for id in ids {
            assert_eq!(read(&mut engines.client, id), 0);
        }
        engines.carry();
        assert_eq!(engines.client.stats(NOW).live_streams, 0);
        assert_eq!(engines.server.stats(NOW).live_streams, 0);
    })
}

/// Returns engines whose limits permit more than [`STREAMS`] streams.
fn with_room() -> Engines {
    let mut config = Config::default();
    config.max_concurrent_bidi_streams(2 * STREAMS as u64);
    Engines::new(Wire::QMux, &config)
}

fn write(engines: &mut Engines, id: StreamId, bytes: &[u8]) {
    let written = engines.client.send_stream(NOW, id).write(bytes).expect("it is open");
    assert_eq!(written, bytes.len());
}
