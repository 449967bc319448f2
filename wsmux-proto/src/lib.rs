//! The engine: QUIC's streams over one WebSocket, as a state machine without a socket, a clock or a
//! task.
//!
//! The caller passes to a [`Connection`] what has arrived ([`Incoming`]) and the current [`Time`].
//! The connection returns what has to be sent ([`Outgoing`]) and [`Event`]s. The same code serves a
//! client and a server, a native process and a browser, and every [`Wire`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(unreachable_pub)]

mod budget;
mod config;
mod connection;
mod datagrams;
mod error;
mod event;
mod frame;
mod memory_bound;
mod message;
mod session;
mod socket;
mod stats;
mod stream_id;
mod stream_map;
mod streams;
mod time;
mod timers;
mod transport_error;
mod transport_parameters;
mod tree;
mod varint;
mod wire;
mod write_stall;

pub use self::{
    config::Config,
    connection::Connection,
    error::{
        ApplicationClose, ClosedStream, ConnectionClose, ConnectionError, Culprit, DriverLost,
        OpenError, ReadError, ResetAtError, SendDatagramError, SocketError, Timeout, WriteError,
    },
    event::Event,
    frame::{Close, Credit, Frame},
    memory_bound::{MemoryBound, MemoryUse},
    message::MessageBuf,
    session::{
        Link, ResumeError, ResumeRequest, Session, SessionEvent, SessionFrame, SessionId,
        SessionKeys, SessionState, SessionStats,
    },
    socket::{Incoming, Outgoing, SocketCapabilities},
    stats::{ConnectionStats, InFlight, RecvStreamStats, SendStreamStats},
    stream_id::{Dir, Side, StreamId},
    stream_map::StreamMap,
    streams::{Read, RecvStream, SendEnd, SendStream},
    time::Time,
    transport_error::{TransportError, TransportErrorCode},
    transport_parameters::TransportParameters,
    tree::Tree,
    varint::{VarInt, VarIntBoundsExceeded},
    wire::{
        Capabilities, Carrier, Grants, Messages, Opening, QMuxVersion, Selection, StreamEnd,
        StreamLimit, Wire,
    },
};
pub(crate) use wire::MIN_MAX_RECORD_SIZE;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
