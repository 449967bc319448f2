//! Two applications that check everything that they receive, however often their socket is lost.

use std::{collections::BTreeMap, time::Duration};

use wsmux_proto::{
    Config, Connection, Dir, Incoming, Read, ReadError, SendDatagramError, SessionState, Side,
    StreamId, Time, WriteError,
};

use crate::{
    net::{Net, resumable},
    support::*,
};

/// How a half of a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// The writer finishes the stream after this many bytes.
    Fin(usize),
    /// The writer resets the stream after this many bytes.
    Reset(usize),
    /// The reader stops the stream after this many bytes.
    Stop(usize),
    /// The stream stays open after this many bytes, to show that no credit was lost.
    Keep(usize),
}

/// One direction of one stream, as one end sees it.
#[derive(Debug)]
struct Half {
    plan: Plan,
    seed: u64,
    bytes: usize,
    has_ended: bool,
}

/// A stream that an application holds.
#[derive(Debug)]
struct Stream {
    write: Option<Half>,
    read: Option<Half>,
}

/// The application at one end.
#[derive(Debug, Default)]
struct App {
    opened: [u64; 2],
    /// How many streams the application has opened or accepted.
    taken: u64,
    held: BTreeMap<StreamId, Stream>,
    datagrams_sent: u64,
    last_datagram: Option<u64>,
}

/// When a socket is lost.
#[derive(Debug, Clone, Copy)]
pub struct Kill {
    /// The socket is lost when this many items have been delivered since the last loss.
    pub after: usize,
    /// How many of the items in flight still arrive at the server and at the client.
    pub keep: [usize; 2],
    pub loss: Loss,
}

/// How a socket is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Both ends notice the loss at once.
    Cut,
    /// The server does not notice the loss.
    HalfOpen,
    /// A proxy closes the socket.
    Closed,
    /// A proxy damages the messages that it carries.
    Damaged,
    /// The socket carries nothing any more, and the ends have to find that out.
    Silence,
}

impl Loss {
    pub const ALL: [Self; 5] =
        [Self::Cut, Self::HalfOpen, Self::Closed, Self::Damaged, Self::Silence];
}

/// Two applications, and the sessions between them.
pub struct World {
    pub net: Net,
    apps: [App; 2],
    /// How many streams each end opens of each kind.
    streams: u64,
    /// The largest number of bytes in a half of a stream.
    largest: usize,
    pub delivered: usize,
    /// The replay budget of both ends.
    budget: u64,
    /// How much time passes in each step.
    pub tick: Duration,
}

const CODE: u64 = 77;
const DATAGRAMS: u64 = 5;

/// How much an application reads or writes at once. Long streams are read and written in larger
/// pieces.
const PIECE: usize = 700;

const BUDGET: u64 = 65_536;

impl World {
    /// Creates both ends with small windows and limits.
    pub fn new(streams: u64, largest: usize, capacity: usize) -> Self {
        let mut config = resumable();
        config
            .replay_budget(BUDGET)
            .stream_receive_window(2_000)
            .window_growth_budget(0)
            .send_buffer(1_500)
            .max_message_sent(1_200)
            .max_concurrent_bidi_streams(3)
            .max_concurrent_uni_streams(2);
        Self::with(&config, streams, largest, capacity)
    }

    /// Creates both ends with windows that are larger than the replay budget.
    pub fn large(streams: u64, largest: usize, capacity: usize) -> Self {
        let mut config = resumable();
        config.replay_budget(BUDGET).window_growth_budget(0);
        Self::with(&config, streams, largest, capacity)
    }

    fn with(config: &Config, streams: u64, largest: usize, capacity: usize) -> Self {
        // With these timeouts, a session does not end even if many losses follow each other and
        // nothing arrives between them.
        let mut config = config.clone();
        config.resume_timeout(Some(secs(3_600))).write_stall_timeout(Some(secs(3_600)));
        let mut net = Net::new(&config);
        net.capacity = capacity;
        Self {
            net,
            apps: Default::default(),
            streams,
            largest,
            delivered: 0,
            budget: BUDGET,
            tick: ms(1),
        }
    }

    /// Runs both applications until they have done everything. Loses the socket at each of the
    /// `kills`, and dials again at once. Returns how many items of each side were in flight at the
    /// last of the `kills`.
    pub fn run(&mut self, kills: &[Kill]) -> [usize; 2] {
        let mut kills = kills.iter();
        let mut next = kills.next();
        let (mut since, mut in_flight) = (self.delivered, [0; 2]);
        for _ in 0..50_000 {
            if let Some(kill) = next.filter(|kill| self.delivered - since >= kill.after) {
                in_flight = [&self.net.client, &self.net.server].map(|end| end.in_flight.len());
                self.kill(kill);
                next = kills.next();
                since = self.delivered;
            }
            if self.is_done() {
                self.check_end();
                return in_flight;
            }
            self.step();
        }
        panic!("stuck: {:#?}", self.apps);
    }

    fn kill(&mut self, kill: &Kill) {
        for (to, count) in [SERVER, CLIENT].into_iter().zip(kill.keep) {
            (0..count).for_each(|_| {
                self.net.deliver_one(to);
            });
        }
        match kill.loss {
            Loss::Cut => self.net.cut(),
            Loss::HalfOpen => {
                self.net.cut_client();
                self.net.fresh = None;
            }
            Loss::Closed => self.fail_both(|| Incoming::Close {
                code: Some(1012),
                reason: "service restart".into(),
            }),
            Loss::Damaged => self.fail_both(|| Incoming::ProtocolError("a reserved bit".into())),
            Loss::Silence => self.fall_silent(),
        }
        self.net.now += ms(10);
        self.net.dial();
    }

    /// Ends the sockets of both ends: each end receives `incoming` from its socket.
    fn fail_both(&mut self, incoming: impl Fn() -> Incoming) {
        let net = &mut self.net;
        for end in [&mut net.client, &mut net.server] {
            end.in_flight.clear();
        }
        net.client.session.handle(net.now, net.client.link, incoming());
        // If there is a fresh socket, the server still waits for a request on it, so the server's
        // session does not receive `incoming`.
        if net.fresh.take().is_none() {
            net.server.session.handle(net.now, net.server.link, incoming());
        }
    }

    /// Loses all that is sent until the client has given up its socket.
    fn fall_silent(&mut self) {
        let net = &mut self.net;
        for _ in 0..100 {
            net.fresh = None;
            for end in [&mut net.client, &mut net.server] {
                end.in_flight.clear();
            }
            if net.client.session.state() == SessionState::Suspended {
                return;
            }
            let due = net.client.session.poll_timeout().expect("a timer");
            net.now = net.now.max(due);
            net.fire();
            while net.send_one(CLIENT) | net.send_one(SERVER) {
                net.client.in_flight.clear();
                net.server.in_flight.clear();
            }
        }
        panic!("silence is not noticed");
    }

    /// Lets both applications act twice, and delivers one item in each direction. So several items
    /// are in flight.
    fn step(&mut self) {
        self.net.now += self.tick;
        self.net.fire();
        for side in [CLIENT, SERVER, CLIENT, SERVER] {
            self.act(side);
            self.net.send_one(side);
        }
        for to in [SERVER, CLIENT] {
            self.delivered += usize::from(self.net.deliver_one(to));
        }
        for end in [&self.net.client, &self.net.server] {
            // A message of the largest size may exceed the budget.
            let held = end.session.session_stats().replay_held;
            assert!(held < self.budget + 65_536 + 64, "{held}");
            let reason = end.session.engine().close_reason();
            assert!(reason.is_none(), "{reason:?}");
        }
    }

    fn act(&mut self, side: Side) {
        let (now, app) = (self.net.now, &mut self.apps[side as usize]);
        let conn = self.net.end(side).session.engine_mut();
        for dir in [Dir::Bi, Dir::Uni] {
            if app.opened[dir as usize] < self.streams
                && let Some(id) = conn.open(dir).expect("the connection lives")
            {
                app.opened[dir as usize] += 1;
                app.take(id, side, self.largest);
            }
            while let Some(id) = conn.accept(dir) {
                app.take(id, side, self.largest);
            }
        }
        app.datagrams(conn);
        app.held.retain(|&id, stream| {
            if let Some(half) = &mut stream.write {
                half.write(conn, now, id, self.largest);
            }
            if let Some(half) = &mut stream.read {
                half.read(conn, now, id);
            }
            let is_over = |half: &Option<Half>| half.as_ref().is_none_or(|half| half.has_ended);
            let is_over = is_over(&stream.write) && is_over(&stream.read);
            if is_over {
                conn.send_stream(now, id).release();
                conn.recv_stream(now, id).release();
            }
            !is_over
        });
    }

    fn is_done(&self) -> bool {
        self.apps.iter().all(|app| {
            app.taken == 4 * self.streams
                && app.held.values().all(|stream| {
                    [&stream.write, &stream.read].into_iter().flatten().all(Half::is_kept)
                })
        })
    }

    /// Checks that no stream is left, and that both ends agree about the credit of the stream that
    /// stays open.
    fn check_end(&mut self) {
        self.net.pass(secs(3));
        self.net.assert_live();
        let (now, total) = (self.net.now, 2 * self.streams);
        let lasting = bidi(CLIENT, 0);
        for side in [CLIENT, SERVER] {
            let conn = self.net.end(side).session.engine_mut();
            let stats = conn.stats(now);
            assert_eq!(stats.live_streams, 1, "{side:?} {:?}", self.apps);
            assert_eq!((stats.streams_opened, stats.streams_accepted), (total, total));
            let credit = conn.send_stream(now, lasting).stats().unwrap().credit;
            let other = self.net.end(!side).session.engine_mut();
            let granted = other.recv_stream(now, lasting).stats().unwrap().credit;
            assert_eq!(credit, granted, "{side:?} to {:?}", !side);
            // Only pings and their answers may be unacknowledged now.
            let held = self.net.end(side).session.session_stats().replay_held;
            assert!(held < 1_000, "{held} bytes are not acknowledged");
        }
    }
}

impl App {
    fn take(&mut self, id: StreamId, side: Side, largest: usize) {
        let half = |writer| {
            let is_there = id.dir() == Dir::Bi || id.initiator() == writer;
            is_there.then(|| Half::new(id, writer, largest))
        };
        self.taken += 1;
        self.held.insert(id, Stream { write: half(side), read: half(!side) });
    }

    /// Sends some datagrams, and checks the datagrams that arrive. They may be lost, but none may
    /// come twice.
    fn datagrams(&mut self, conn: &mut Connection) {
        if self.datagrams_sent < DATAGRAMS {
            match conn.send_datagram(self.datagrams_sent.to_be_bytes().to_vec().into()) {
                Ok(()) | Err(SendDatagramError::UnsupportedByPeer) => self.datagrams_sent += 1,
                Err(error) => panic!("{error}"),
            }
        }
        while let Some(datagram) = conn.read_datagram() {
            let number = u64::from_be_bytes(datagram[..].try_into().expect("8 bytes"));
            assert!(self.last_datagram < Some(number), "datagram {number} after {self:?}");
            self.last_datagram = Some(number);
        }
    }
}

impl Half {
    fn new(id: StreamId, writer: Side, largest: usize) -> Self {
        let seed = id.into_inner() * 2 + writer as u64;
        let random = pattern(seed + 1_000, 0, 3);
        let len = usize::from(random[0]) * largest / 256;
        let plan = match random[2] % 6 {
            _ if id == bidi(CLIENT, 0) => Plan::Keep(2 * largest),
            0 => Plan::Reset(len),
            1 => Plan::Stop(len),
            2 => Plan::Fin(0),
            _ => Plan::Fin(len),
        };
        Self { plan, seed, bytes: 0, has_ended: false }
    }

    /// Whether this is a stream that stays open and whose bytes have all arrived.
    fn is_kept(&self) -> bool {
        matches!(self.plan, Plan::Keep(len) if self.bytes == len)
    }

    fn write(&mut self, conn: &mut Connection, now: Time, id: StreamId, largest: usize) {
        if self.has_ended {
            return;
        }
        let (Plan::Fin(len) | Plan::Reset(len) | Plan::Keep(len)) = self.plan else {
            // The writer does not know that the reader will stop the stream.
            return self.write_up_to(conn, now, id, largest);
        };
        self.write_up_to(conn, now, id, len);
    }

    fn write_up_to(&mut self, conn: &mut Connection, now: Time, id: StreamId, len: usize) {
        let mut send = conn.send_stream(now, id);
        let data = pattern(
            self.seed,
            self.bytes as u64,
            (len - self.bytes).min(PIECE.max(self.bytes / 2)),
        );
        match send.write(&data) {
            Ok(written) => self.bytes += written,
            Err(WriteError::Stopped(code)) => {
                assert_eq!((code.into_inner(), true), (CODE, matches!(self.plan, Plan::Stop(_))));
                self.has_ended = true;
                return;
            }
            Err(error) => panic!("{id:?}: {error}"),
        }
        if self.bytes < len {
            return;
        }
        match self.plan {
            Plan::Keep(_) => return,
            Plan::Reset(_) => send.reset(code(CODE)).expect("the stream is open"),
            Plan::Fin(_) | Plan::Stop(_) => send.finish().expect("the stream is open"),
        }
        self.has_ended = true;
    }

    fn read(&mut self, conn: &mut Connection, now: Time, id: StreamId) {
        if self.has_ended {
            return;
        }
        let mut recv = conn.recv_stream(now, id);
        match recv.read(PIECE.max(self.bytes / 2)) {
            Ok(Read::Data(bytes)) => {
                let expected = pattern(self.seed, self.bytes as u64, bytes.len());
                assert_eq!(bytes, expected, "{id:?} from {}", self.bytes);
                self.bytes += bytes.len();
            }
            Ok(Read::Blocked) => {}
            Ok(Read::Finished) => {
                match self.plan {
                    Plan::Fin(len) => assert_eq!(self.bytes, len, "{id:?}"),
                    plan => assert!(matches!(plan, Plan::Stop(_)), "{id:?}: {plan:?}"),
                }
                self.has_ended = true;
            }
            Err(ReadError::Reset(code)) => {
                assert_eq!(code.into_inner(), CODE);
                assert!(matches!(self.plan, Plan::Reset(len) if self.bytes <= len), "{id:?}");
                self.has_ended = true;
            }
            Err(error) => panic!("{id:?}: {error}"),
        }
        if let Plan::Stop(len) = self.plan
            && !self.has_ended
            && self.bytes >= len
        {
            recv.stop(code(CODE)).expect("the stream is open");
            self.has_ended = true;
        }
        // The end of a half is reported only once.
        if self.has_ended {
            let again = conn.recv_stream(now, id).read(1);
            assert!(matches!(again, Err(ReadError::ClosedStream)), "{id:?}: {again:?}");
        }
    }
}
