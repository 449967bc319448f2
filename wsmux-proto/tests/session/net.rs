//! Two sessions, and the sockets between them, in virtual time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use wsmux_proto::{
    Config, Connection, Incoming, Link, MessageBuf, Outgoing, ResumeRequest, Session, SessionKeys,
    SessionState, Side, SocketCapabilities, SocketError, Time, Wire,
};

use crate::support::*;

/// What a socket carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Message(Bytes),
    Close(u16),
}

/// One session, and its socket.
pub struct End {
    pub session: Session,
    pub link: Link,
    /// The items that the session has sent and the other end has not received.
    pub in_flight: VecDeque<Item>,
    /// All messages that the session has sent, in order.
    pub log: Vec<Bytes>,
}

/// Two sessions.
pub struct Net {
    pub client: End,
    pub server: End,
    pub now: Time,
    /// The session that the server has created for a new socket. `None` once the request on this
    /// socket has been accepted.
    pub fresh: Option<Session>,
    /// How many messages a socket holds in each direction.
    pub capacity: usize,
    /// The capabilities of the next sockets.
    pub caps: SocketCapabilities,
    config: Config,
    /// How many sockets there have been.
    sockets: u8,
}

pub fn keys(number: u8) -> SessionKeys {
    SessionKeys::new([number; 16], [number ^ 0xff; 32])
}

pub fn resumable() -> Config {
    let mut config = Config::default();
    config.resume_timeout(Some(secs(60)));
    config
}

pub fn session(config: &Config, side: Side, number: u8) -> Session {
    let engine = Connection::new(config.clone(), side, Wire::QMux, Time::EPOCH);
    Session::new(engine, (side == SERVER).then(|| keys(number)))
}

/// Returns the next item that the session sends.
pub fn transmit(session: &mut Session, now: Time, link: Link) -> Option<Item> {
    let mut out = MessageBuf::new();
    let wanted = session.wants_transmit();
    let item = match session.poll_transmit(now, link, &mut out) {
        None => None,
        Some(Outgoing::Message(message)) => Some(Item::Message(message.to_bytes())),
        Some(Outgoing::Close { code, .. }) => Some(Item::Close(code)),
        // A flush has an effect only on a real socket.
        Some(Outgoing::Flush) => return transmit(session, now, link),
        Some(other) => panic!("{other:?}"),
    };
    assert!(wanted || item.is_none(), "wants_transmit hid {item:?}");
    item
}

/// Hands an item to a session.
pub fn hand_over(session: &mut Session, now: Time, link: Link, item: Item) {
    let incoming = match item {
        Item::Message(message) => Incoming::Message(message),
        Item::Close(code) => Incoming::Close { code: Some(code), reason: String::new() },
    };
    session.handle(now, link, incoming);
}

impl End {
    fn new(config: &Config, side: Side) -> Self {
        let session = session(config, side, 0);
        Self { session, link: Link::default(), in_flight: VecDeque::new(), log: Vec::new() }
    }
}

impl Net {
    /// Creates two sessions with the same settings, and completes the handshake.
    pub fn new(config: &Config) -> Self {
        let mut net = Self::unconnected(config, config);
        net.settle();
        assert_eq!(net.client.session.state(), SessionState::Live);
        assert_eq!(net.server.session.state(), SessionState::Live);
        net
    }

    pub fn unconnected(client: &Config, server: &Config) -> Self {
        Self {
            client: End::new(client, CLIENT),
            server: End::new(server, SERVER),
            now: Time::EPOCH,
            fresh: None,
            capacity: usize::MAX,
            caps: SocketCapabilities::new(),
            config: server.clone(),
            sockets: 0,
        }
    }

    pub fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Lets an end send one item, if its socket has room. Returns whether an item was sent.
    pub fn send_one(&mut self, side: Side) -> bool {
        let (now, capacity) = (self.now, self.capacity);
        let fresh = self.fresh.as_mut().filter(|_| side == SERVER);
        let end = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        if end.in_flight.len() >= capacity {
            end.session.handle_socket_full(now, end.link);
            return false;
        }
        let item = match fresh {
            Some(fresh) => transmit(fresh, now, Link::default()),
            None => transmit(&mut end.session, now, end.link),
        };
        let Some(item) = item else { return false };
        if let Item::Message(message) = &item {
            end.log.push(message.clone());
        }
        end.in_flight.push_back(item);
        true
    }

    /// Delivers one item to an end. Returns `false` if no item was in flight.
    pub fn deliver_one(&mut self, to: Side) -> bool {
        let now = self.now;
        let Some(item) = self.end(!to).in_flight.pop_front() else { return false };
        if let (Side::Server, Some(fresh)) = (to, &mut self.fresh) {
            let request = match &item {
                Item::Message(message) => ResumeRequest::from_first_message(message),
                Item::Close(_) => None,
            };
            let server = &mut self.server;
            let accepted =
                request.map(|request| server.session.accept_resume(now, self.caps, &request));
            if let Some(Ok(link)) = accepted {
                server.link = link;
                self.fresh = None;
            } else {
                hand_over(fresh, now, Link::default(), item);
            }
        } else {
            let end = self.end(to);
            hand_over(&mut end.session, now, end.link, item);
        }
        true
    }

    /// Sends and delivers until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let sent = self.send_one(CLIENT) | self.send_one(SERVER);
            if !(self.deliver_one(SERVER) | self.deliver_one(CLIENT) | sent) {
                return;
            }
        }
        panic!("the two never come to rest");
    }

    /// Handles the timers that are due at either end.
    pub fn fire(&mut self) {
        for session in [&mut self.client.session, &mut self.server.session] {
            if session.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                session.handle_timeout(self.now);
            }
        }
    }

    /// Lets `time` pass. Both ends handle each timer when it is due.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            self.settle();
            let timeouts = [self.client.session.poll_timeout(), self.server.session.poll_timeout()];
            match timeouts.into_iter().flatten().min() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.fire();
        }
        panic!("a timer that is due again as soon as it was handled");
    }

    /// Cuts the socket. All items in flight are lost.
    pub fn cut(&mut self) {
        self.cut_client();
        self.cut_server();
    }

    /// Cuts the socket, and only the client notices.
    pub fn cut_client(&mut self) {
        self.client.in_flight.clear();
        self.server.in_flight.clear();
        self.client.session.handle_socket_end(self.now, self.client.link, SocketError::Eof);
    }

    /// The server notices that its socket was cut. If the server created a session for that socket,
    /// the session ends.
    pub fn cut_server(&mut self) {
        if self.fresh.take().is_none() {
            self.server.session.handle_socket_end(self.now, self.server.link, SocketError::Eof);
        }
    }

    /// The client dials again. The client's request and the server's parameters have not been sent
    /// yet.
    pub fn dial(&mut self) {
        let link = self.client.session.resume(self.now, self.caps, Duration::from_secs(10));
        self.client.link = link.expect("the session can be resumed");
        self.client.in_flight.clear();
        self.server.in_flight.clear();
        self.sockets += 1;
        self.fresh = Some(session(&self.config, SERVER, self.sockets));
    }

    pub fn assert_live(&self) {
        assert_eq!(self.client.session.state(), SessionState::Live);
        assert_eq!(self.server.session.state(), SessionState::Live);
    }
}
