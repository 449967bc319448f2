//! Handles the peer's frames, and checks which frames the peer may send on which stream.

use bytes::Bytes;

use super::{
    Phase, Streams, control_queue::ControlFrame, held::Held, recv::Ended, refusals::REFUSED,
    send::ResetBy, table::Key,
};
use crate::{
    Dir, Event, StreamId, Time, TransportError, VarInt,
    budget::{MAX_REFUSALS, UselessWork},
    event::Events,
    frame::Credit,
    transport_error::violation,
};

/// Which of this end's halves of a stream a frame concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Send,
    Recv,
}

/// The state of the stream that a frame names.
enum Found {
    Stream(Key),
    /// The stream waits, because the stream limit is reached.
    Waiting,
    /// The stream has ended and was freed, or it was refused. The frame is late.
    Gone,
}

/// What a STREAM frame contains.
#[derive(Debug, Default)]
pub(crate) struct StreamData {
    pub(crate) offset: Option<u64>,
    pub(crate) data: Bytes,
    pub(crate) fin: bool,
    /// The length of the message of which `data` is a slice.
    pub(crate) message_len: usize,
}

impl Streams {
    /// Finds the stream of a frame, and opens the stream if `opens` allows it. Every frame about a
    /// single stream comes through here, so this is the only place that checks direction, initiator
    /// and limit.
    fn find(
        &mut self,
        now: Time,
        id: StreamId,
        half: Half,
        opens: bool,
        events: &mut Events,
    ) -> Result<Found, TransportError> {
        let local = id.initiator() == self.side;
        if id.dir() == Dir::Uni {
            if !self.caps.unidirectional() {
                return Err(violation::stream_state("this wire has no unidirectional streams"));
            }
            // C-6 (RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13)
            if local == (half == Half::Recv) {
                return Err(violation::stream_state(format!("{id} does not go this way")));
            }
        }
        if let Some(key) = self.table.key(id) {
            return Ok(Found::Stream(key));
        }
        // C-3
        if self.limits.was_opened(id) {
            if self.waiting.contains(id) {
                return Ok(Found::Waiting);
            }
            // C-8 (RFC 9000 §3.2, §4.5), J-11, J-32
            self.consume(now, UselessWork::Late)?;
            return Ok(Found::Gone);
        }
        if local {
            // C-7 (RFC 9000 §19.5, §19.8, §19.10), J-9
            return Err(violation::stream_state(format!("{id} was never opened")));
        }
        if !opens {
            // J-14
            return Err(violation::protocol(format!("{id} begins with the wrong message")));
        }
        // Q-36 (RFC 9000 §3.2)
        self.open_remote(now, id, events)
    }

    fn open_remote(
        &mut self,
        now: Time,
        id: StreamId,
        events: &mut Events,
    ) -> Result<Found, TransportError> {
        let (side, dir) = (id.initiator(), id.dir());
        let draining = self.phase == Phase::Draining;
        self.budgets.check(UselessWork::Cancelled, now)?;
        // Waiting streams were opened earlier, so they come first.
        self.admit(now, events)?;
        let first = self.limits.open_remote(id)?;
        let must_wait = !self.caps.stream_limits() && self.must_wait(dir);
        if must_wait && !draining && self.let_wait(id) {
            return Ok(Found::Waiting);
        }
        let lower = (first..id.index()).map(|index| StreamId::new(side, dir, index));
        if draining && self.caps.stream_limits() {
            for id in lower {
                self.insert_refused(id);
            }
            return Ok(Found::Stream(self.insert_refused(id)));
        }
        if must_wait || draining {
            for id in lower {
                self.refuse(now, id)?;
            }
            // J-31
            return self.refuse(now, id);
        }
        for id in lower {
            self.insert_remote(id);
        }
        let key = self.insert_remote(id);
        events.push(Event::Opened { dir });
        Ok(Found::Stream(key))
    }

    /// Adds a stream of the peer that the application can accept.
    pub(super) fn insert_remote(&mut self, id: StreamId) -> Key {
        // C-9
        self.unaccepted[id.dir() as usize].push_back(id);
        self.insert(id)
    }

    /// Refuses a stream that the peer has opened within the limit. Until the peer knows of the
    /// refusal, the peer may send as much on the stream as the window allows. The stream is
    /// therefore kept in the table, but nothing can be read from it or written to it.
    fn insert_refused(&mut self, id: StreamId) -> Key {
        let key = self.insert(id);
        self.stats.refused += 1;
        let stream = &mut self.table[key];
        (stream.send_released, stream.recv_released) = (true, true);
        let stops = stream.recv.as_mut().is_some_and(|recv| recv.stop(REFUSED));
        let resets = stream
            .send
            .as_mut()
            .is_some_and(|send| send.reset(REFUSED, ResetBy::Application).is_ok());
        if stops {
            self.queue_control(key, ControlFrame::Stop);
        }
        if resets {
            self.queue_control(key, ControlFrame::Reset);
        }
        key
    }

    fn refuse(&mut self, now: Time, id: StreamId) -> Result<Found, TransportError> {
        // On a wire with stream limits, the limit also bounds the number of refusals.
        if !self.caps.stream_limits() {
            // J-33
            if self.control.refusals.immediate() >= MAX_REFUSALS {
                let reason = "streams past the limit, and refusals unread";
                return Err(violation::excessive_load(reason));
            }
            self.consume(now, UselessWork::Refused)?;
        }
        self.control.refusals.refuse(id);
        self.stats.refused += 1;
        Ok(Found::Gone)
    }

    pub(super) fn consume(&mut self, now: Time, kind: UselessWork) -> Result<(), TransportError> {
        self.budgets.consume(kind, 1, now)
    }

    /// Whether a frame other than a grant can be the first frame of a stream.
    fn any_frame_opens(&self) -> bool {
        !self.caps.opens_with_grant()
    }

    pub(crate) fn on_stream_frame(
        &mut self,
        now: Time,
        id: StreamId,
        received: StreamData,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        let StreamData { offset, data, fin, message_len } = received;
        let opens = !self.limits.was_opened(id);
        let key = match self.find(now, id, Half::Recv, self.any_frame_opens(), events)? {
            Found::Stream(key) => key,
            Found::Waiting => return self.on_data_of_waiting(now, id, data.len(), fin),
            Found::Gone => return Ok(()),
        };
        let Some(recv) = self.table[key].recv.as_mut() else { return Ok(()) };
        // J-6, Q-30 (RFC 9000 §3.2)
        let news = !data.is_empty();
        let before = recv.credit.received();
        // J-22: if this end has stopped the half, the FIN is the peer's answer to the stop, and
        // gets no answer.
        let unprovoked = recv.wants_credit();
        let ended = recv.on_data(offset, data, fin, message_len)?;
        let grew = recv.credit.received() > before;
        self.auto_tune.on_received(&mut recv.credit, before, now);
        if grew || ended == Ended::Now {
            self.budgets.useful_frame();
        } else if !opens {
            let kind = if news { UselessWork::Late } else { UselessWork::Empty };
            self.budgets.consume(kind, 1, now)?;
        }
        if (news || ended == Ended::Now) && recv.take_waiting() {
            events.push(Event::Readable { id });
        }
        if ended == Ended::Now && unprovoked && self.caps.end.is_acknowledged() {
            // J-17
            self.queue_control(key, ControlFrame::FinReceived);
        }
        self.maybe_free(key);
        Ok(())
    }

    pub(crate) fn on_reset(
        &mut self,
        now: Time,
        id: StreamId,
        code: VarInt,
        final_size: Option<u64>,
        reliable_size: u64,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        let key = match self.find(now, id, Half::Recv, self.any_frame_opens(), events)? {
            Found::Stream(key) => key,
            Found::Waiting => return self.on_reset_of_waiting(now, id, code),
            Found::Gone => return Ok(()),
        };
        let Some(recv) = self.table[key].recv.as_mut() else { return Ok(()) };
        // If this end has stopped the half, the reset is the peer's answer to the stop, and gets no
        // answer.
        let unprovoked = recv.wants_credit();
        if recv.on_reset(code, final_size, reliable_size)? == Ended::Before {
            self.consume(now, UselessWork::Empty)?;
        } else {
            if recv.take_waiting() {
                events.push(Event::Readable { id });
            }
            if unprovoked && self.caps.end.is_acknowledged() {
                // J-18
                self.answer_reset(key, code);
            }
            if unprovoked {
                self.note_abandoned(key);
            }
        }
        self.maybe_free(key);
        Ok(())
    }

    pub(crate) fn on_stop_sending(
        &mut self,
        now: Time,
        id: StreamId,
        code: VarInt,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        match self.find(now, id, Half::Send, self.any_frame_opens(), events)? {
            Found::Stream(key) => self.stopped_by_peer(now, key, code, events),
            Found::Waiting => self.on_stop_of_waiting(now, id, code),
            Found::Gone => Ok(()),
        }
    }

    /// Handles the peer's report that it has received the FIN of this end's sending half. If this
    /// end has not sent a FIN, the report means that the peer has stopped reading.
    pub(crate) fn on_fin_received(
        &mut self,
        now: Time,
        id: StreamId,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        match self.find(now, id, Half::Send, false, events)? {
            // J-20
            Found::Stream(key) => self.stopped_by_peer(now, key, VarInt::default(), events),
            Found::Waiting => self.on_stop_of_waiting(now, id, VarInt::default()),
            Found::Gone => Ok(()),
        }
    }

    /// Records that the peer has reset the stream. If this end has sent nothing useful on the
    /// stream before the reset, the stream never counts as answered, whatever this end sends later.
    fn note_abandoned(&mut self, key: Key) {
        let stream = &mut self.table[key];
        stream.abandoned_by_peer |= !stream.send.as_ref().is_some_and(|send| send.was_of_use());
    }

    fn stopped_by_peer(
        &mut self,
        now: Time,
        key: Key,
        code: VarInt,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        let stream = &mut self.table[key];
        let id = stream.id;
        let Some(send) = &mut stream.send else { return Ok(()) };
        let before = send.held();
        let of_use = send.was_of_use();
        // A half that has already ended needs no reset (C-23, RFC 9000 §3.5; J-21).
        if send.reset(code, ResetBy::Peer).is_err() {
            return self.consume(now, UselessWork::Late);
        }
        if std::mem::take(&mut send.waiting_for_room) {
            events.push(Event::Writable { id });
        }
        if send.end_watch.notify() {
            events.push(Event::Ended { id });
        }
        self.send_budget.change(before, Held::default());
        stream.abandoned_by_peer |= !of_use;
        self.cancel_turn(key);
        self.unblock(now, key);
        // C-22 (RFC 9000 §3.5), J-19
        self.queue_control(key, ControlFrame::Reset);
        Ok(())
    }

    pub(crate) fn on_max_stream_data(
        &mut self,
        now: Time,
        id: StreamId,
        credit: Credit,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        let key = match self.find(now, id, Half::Send, true, events)? {
            Found::Stream(key) => key,
            Found::Waiting => return self.on_grant_to_waiting(now, id, credit),
            Found::Gone => return Ok(()),
        };
        self.consume(now, UselessWork::Grant)?;
        let Some(send) = self.table[key].send.as_mut() else { return Ok(()) };
        let before = send.held();
        if send.credit.add(credit)? {
            let after = send.held();
            self.send_budget.change(before, after);
            self.unblock(now, key);
            self.schedule(key);
            self.note_room(key, events);
        }
        Ok(())
    }

    pub(crate) fn on_stream_data_blocked(
        &mut self,
        now: Time,
        id: StreamId,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        // The report changes no stream, because grants are sent whenever they are due. But the
        // frame may open its stream. It may also be an error, because the peer may have no right to
        // use that stream. So the stream is looked up.
        match self.find(now, id, Half::Recv, true, events)? {
            Found::Stream(_) | Found::Waiting => self.consume(now, UselessWork::Blocked),
            Found::Gone => Ok(()),
        }
    }

    pub(crate) fn on_data_blocked(&mut self, now: Time) -> Result<(), TransportError> {
        self.consume(now, UselessWork::Blocked)
    }

    pub(crate) fn on_max_data(&mut self, now: Time, total: u64) -> Result<(), TransportError> {
        self.consume(now, UselessWork::Grant)?;
        if self.connection.add(Credit::Total(total))? {
            // Streams that wait for credit of the connection stay where they are in the queue, and
            // use the credit when the scheduler reaches them (C-85).
            self.stats.blocked_by_connection.stop(now);
        }
        Ok(())
    }

    /// Handles STREAMS_BLOCKED: the peer waits to open more streams than `limit` allows.
    pub(crate) fn on_streams_blocked(
        &mut self,
        now: Time,
        dir: Dir,
        limit: u64,
    ) -> Result<(), TransportError> {
        self.limits.on_blocked(dir, limit);
        self.consume(now, UselessWork::Blocked)
    }

    pub(crate) fn on_max_streams(
        &mut self,
        now: Time,
        dir: Dir,
        count: u64,
        events: &mut Events,
    ) -> Result<(), TransportError> {
        self.raise_local_limit(dir, count, events);
        self.consume(now, UselessWork::Grant)
    }
}
