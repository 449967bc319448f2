//! Two engines for measurements, and functions that carry messages between them.

use bytes::Bytes;
use wsmux_proto::{
    Config, Connection, Dir, Incoming, MessageBuf, Outgoing, Read, Side, StreamId, Time, Wire,
};

/// The time that is passed to every call of these engines. It never advances, because their timers
/// do not matter here.
pub const NOW: Time = Time::EPOCH;

pub struct Engines {
    pub client: Connection,
    pub server: Connection,
    out: MessageBuf,
}

impl Engines {
    /// Returns a client and a server whose handshake is complete.
    pub fn new(wire: Wire, config: &Config) -> Self {
        let new = |side| Connection::new(config.clone(), side, wire, NOW);
        let mut engines =
            Self { client: new(Side::Client), server: new(Side::Server), out: MessageBuf::new() };
        engines.carry();
        assert!(engines.client.is_established() && engines.server.is_established());
        engines
    }

    /// Carries messages until neither engine has anything to send.
    pub fn carry(&mut self) {
        let Self { client, server, out } = self;
        while carry(client, server, out) | carry(server, client, out) {}
    }

    /// Opens a stream from the client to the server, so that both ends know it.
    pub fn open(&mut self) -> StreamId {
        let id = self.client.open(Dir::Bi).expect("it lives").expect("the limit permits");
        self.client.send_stream(NOW, id).announce();
        self.carry();
        assert_eq!(self.server.accept(Dir::Bi), Some(id));
        id
    }

    /// Opens a stream for one request of 64 bytes, answers the request with 64 bytes, and ends the
    /// stream.
    pub fn ask(&mut self) {
        const BYTES: [u8; 64] = [7; 64];
        let id = self.client.open(Dir::Bi).expect("it lives").expect("the limit permits");
        self.client.send_stream(NOW, id).write(&BYTES).expect("it is open");
        self.client.send_stream(NOW, id).finish().expect("it is open");
        self.carry();
        assert_eq!(self.server.accept(Dir::Bi), Some(id));
        assert_eq!(read(&mut self.server, id), BYTES.len());
        self.server.send_stream(NOW, id).write(&BYTES).expect("it is open");
        self.server.send_stream(NOW, id).finish().expect("it is open");
        self.carry();
        assert_eq!(read(&mut self.client, id), BYTES.len());
        self.carry();
    }
}

/// Carries everything that `from` has to send. Each message is copied into one block, as a socket
/// does. Returns whether anything was carried.
fn carry(from: &mut Connection, to: &mut Connection, out: &mut MessageBuf) -> bool {
    let mut carried = false;
    while let Some(transmit) = from.poll_transmit(NOW, out) {
        match transmit {
            Outgoing::Message(message) => to.handle(NOW, Incoming::Message(message.to_bytes())),
            Outgoing::Flush => {}
            other => panic!("{other:?} is not of a connection that lives"),
        }
        carried = true;
    }
    for end in [from, to] {
        while end.poll().is_some() {}
    }
    carried
}

/// Reads everything that has arrived on a stream, and returns the number of bytes.
pub fn read(connection: &mut Connection, id: StreamId) -> usize {
    let mut len = 0;
    while let Ok(Read::Data(bytes)) = connection.recv_stream(NOW, id).read(usize::MAX) {
        len += bytes.len();
    }
    len
}

/// Returns bytes that have a reference count from the start, so cloning and slicing them allocates
/// nothing.
pub fn shared(len: usize) -> Bytes {
    Bytes::from_owner(vec![7; len])
}
