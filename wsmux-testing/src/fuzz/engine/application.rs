//! The application, which calls any methods of the engine in any order.

use wsmux_proto::{Dir, DriverLost, StreamId};

use super::{Case, SIZES, WINDOWS, varint};
use crate::{engine::ms, fuzz::input::Input};

impl Case {
    pub(super) fn accept(&mut self) {
        for dir in [Dir::Bi, Dir::Uni] {
            while let Some(id) = self.heap.of(|| self.conn.accept(dir)) {
                assert_eq!((id.initiator(), id.dir()), (!self.side, dir));
                self.held.push(id);
            }
        }
    }

    pub(super) fn open(&mut self, dir: Dir) {
        if let Some(id) = self.heap.of(|| self.conn.open(dir).ok().flatten()) {
            assert_eq!((id.initiator(), id.dir()), (self.side, dir));
            self.held.push(id);
            self.opened += 1;
        }
    }

    pub(super) fn connection_call(&mut self, input: &mut Input<'_>) {
        let (what, dir) = (input.below(40), input.pick(&[Dir::Bi, Dir::Uni]));
        let (number, window, len) = (input.between(0, 8), input.pick(&WINDOWS), input.below(3_000));
        let (conn, now) = (&mut self.conn, self.now);
        match what {
            10..15 => self.largest_limit = self.largest_limit.max(number),
            15..20 => {
                self.largest_window = self.largest_window.max(window);
                self.largest_initial_window = self.largest_initial_window.max(window);
            }
            30..34 => return self.pieces(input),
            34..37 => return self.written(input),
            _ => {}
        }
        self.heap.of(|| match what {
            0..5 => drop(conn.send_datagram(vec![1; len].into())),
            5..10 => drop(conn.read_datagram()),
            10..15 => conn.set_max_concurrent(dir, number),
            15..20 => conn.set_stream_receive_window(window),
            20..25 => {
                conn.report_streams_blocked(dir);
            }
            25 => conn.close(now, varint(number), "enough".into()),
            26 => conn.drain(now, Some(now + ms(number))),
            27 => conn.drain(now, None),
            28 => conn.abandon(now, DriverLost::Dropped),
            29 => conn.set_drain_with_peer(number > 4),
            _ => {}
        });
    }

    pub(super) fn stream_call(&mut self, id: StreamId, input: &mut Input<'_>) {
        let (what, len) = (input.below(44), input.below(3_000));
        let code = varint(input.between(0, 10));
        let (conn, now) = (&mut self.conn, self.now);
        let chunk = (12..16).contains(&what);
        self.largest_chunk = self.largest_chunk.max(if chunk { len as u64 } else { 0 });
        self.heap.of(|| match what {
            0..4 => drop(conn.send_stream(now, id).write(&vec![5; len])),
            12..14 => drop(conn.send_stream(now, id).write_chunk(&mut vec![5; len].into())),
            // The documentation forbids adding a chunk when there is no room.
            14..16 if conn.send_stream(now, id).poll_room().is_ok_and(|room| room > 0) => {
                let _ = conn.send_stream(now, id).append_chunk(vec![5; len].into());
            }
            4..12 => drop(conn.recv_stream(now, id).read(1 + len)),
            16..20 => {
                let mut out = Vec::with_capacity(len);
                let _ = conn.recv_stream(now, id).read_into(&mut out);
            }
            20..23 => drop(conn.send_stream(now, id).finish()),
            23 => drop(conn.send_stream(now, id).reset(code)),
            24 => drop(conn.send_stream(now, id).reset_at(code, len as u64)),
            25 | 26 => drop(conn.recv_stream(now, id).stop(code)),
            27 => drop(conn.recv_stream(now, id).poll_reset()),
            28 => conn.send_stream(now, id).announce(),
            29 => drop(conn.send_stream(now, id).set_priority(len as i32 % 3)),
            30 => {
                conn.send_stream(now, id).poll_end();
            }
            31 => drop((conn.send_stream(now, id).stats(), conn.recv_stream(now, id).stats())),
            32 | 33 => conn.send_stream(now, id).release(),
            34 | 35 => conn.recv_stream(now, id).release(),
            _ => {}
        });
        match what {
            30 => self.watched.push(id),
            36..38 => self.release(id),
            38.. => self.connection_call(input),
            _ => {}
        }
    }

    pub(super) fn release(&mut self, id: StreamId) {
        self.held.retain(|held| *held != id);
        let (conn, now) = (&mut self.conn, self.now);
        self.heap.of(|| {
            conn.send_stream(now, id).release();
            conn.recv_stream(now, id).release();
        });
    }

    /// Writes pieces to one stream. The pieces have two alternating sizes. For each size, the input
    /// chooses one of the two methods that write.
    pub(super) fn written(&mut self, input: &mut Input<'_>) {
        let Some(&id) = self.held.first() else { return };
        let sizes = [input.pick(&SIZES), input.pick(&SIZES)];
        let (rounds, chunks) = (input.below(80), input.below(4));
        for round in 0..rounds {
            let len = sizes[round % 2];
            let chunk = chunks & (1 << (round % 2)) != 0;
            if chunk {
                self.largest_chunk = self.largest_chunk.max(len as u64);
            }
            let mut send = self.conn.send_stream(self.now, id);
            self.heap.of(|| match chunk {
                true => drop(send.write_chunk(&mut vec![7; len].into())),
                false => drop(send.write(&vec![7; len])),
            });
            self.check();
        }
    }
}
