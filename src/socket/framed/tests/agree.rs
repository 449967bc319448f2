//! Compares our reader with tungstenite's on the same bytes, and lists where the two readers may
//! differ. A target in `fuzz/` runs this comparison too.

use std::task::{Context, Poll, Waker};

use arbitrary::Unstructured;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{CloseFrame, Role, WebSocketConfig},
};
use wsmux_proto::Side;

use super::{
    super::read::{Item, Reader},
    chopped::Chopped,
};

/// The largest message. The limit is small, so that random inputs exceed it.
pub(super) const LIMIT: usize = 600;

/// The items that a reader reads, and how its reading ends.
pub(super) type Understood = (Vec<Heard>, End);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Message(Bytes),
    Ping(Bytes),
    Pong(Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The byte stream ended, perhaps within a frame or a message.
    Eof,
    Close(Option<u16>, String),
    Text,
    /// The reader refused the bytes: they broke the protocol, or a message was too large.
    Refused(String),
}

pub(super) fn ours(side: Side, input: &[u8], chops: &[usize]) -> Understood {
    let mut io = Chopped::new(input, chops);
    let mut reader = Reader::new(!side, &[], LIMIT as u64);
    let mut heard = Vec::new();
    loop {
        while let Some(item) = reader.next() {
            heard.push(match item {
                Item::Message(message) => Heard::Message(message),
                Item::Ping(payload) => Heard::Ping(payload),
                Item::Pong(payload) => Heard::Pong(payload),
                Item::Close { code, reason } => return (heard, End::Close(code, reason)),
                Item::Text => return (heard, End::Text),
                Item::TooLarge => return (heard, End::Refused("too large".into())),
                Item::ProtocolError(words) => return (heard, End::Refused(words.into())),
            });
        }
        match reader.poll_fill(&mut io, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(0)) => return (heard, End::Eof),
            Poll::Ready(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn role(side: Side) -> Role {
    match side {
        Side::Client => Role::Client,
        Side::Server => Role::Server,
    }
}

pub(super) fn tungstenite(side: Side, io: Chopped) -> WebSocket<Chopped> {
    let config = WebSocketConfig::default();
    let config = config.max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    WebSocket::from_raw_socket(io, role(side), Some(config))
}

pub(super) fn theirs(side: Side, input: &[u8], chops: &[usize]) -> Understood {
    let mut socket = tungstenite(side, Chopped::new(input, chops));
    let mut heard = Vec::new();
    loop {
        heard.push(match socket.read() {
            Ok(Message::Binary(message)) => Heard::Message(message),
            Ok(Message::Ping(payload)) => Heard::Ping(payload),
            Ok(Message::Pong(payload)) => Heard::Pong(payload),
            Ok(Message::Text(_)) => return (heard, End::Text),
            Ok(Message::Close(None)) => return (heard, End::Close(None, String::new())),
            Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                return (heard, End::Close(Some(code.into()), reason.as_str().to_owned()));
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (heard, End::Eof);
            }
            Err(error @ (Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_))) => {
                return (heard, End::Refused(error.to_string()));
            }
            other => panic!("{other:?}"),
        });
    }
}

/// Whether this is the result that tungstenite returns for a Close with a code that it does not
/// accept.
fn is_bad_code(end: &End) -> bool {
    *end == End::Close(Some(1002), "Protocol violation".into())
}

/// Checks that the two readers read the same items and end in the same way. All permitted
/// differences are listed here.
pub(super) fn agree(side: Side, input: &[u8], chops: &[usize]) {
    let (ours, our_end) = ours(side, input, chops);
    let (theirs, their_end) = theirs(side, input, chops);
    let context = format!("{our_end:?} and {their_end:?}");
    match (&our_end, &their_end) {
        // Our reader does not support text, and reports a text message at the message's first
        // frame. tungstenite's reader continues, but can return only control frames until the text
        // message ends.
        (End::Text, _) => {
            assert!(theirs.starts_with(&ours), "{}", context);
            let rest = &theirs[ours.len()..];
            assert!(!rest.iter().any(|heard| matches!(heard, Heard::Message(_))), "{}", context);
            return;
        }
        // tungstenite's reader accepts lengths that are encoded in more bytes than needed (RFC 6455
        // §5.2). Our reader refuses them, and refuses a control frame with an extended length
        // without reading that length.
        (End::Refused(words), _)
            if words.starts_with("payload length") || words.ends_with("longer than 125 bytes") =>
        {
            assert!(theirs.starts_with(&ours), "{}", context);
            return;
        }
        // tungstenite's reader replaces codes that must not be sent. Our reader refuses such codes.
        (End::Refused(words), end) if words.starts_with("close code that") && is_bad_code(end) => {}
        // This code was registered after RFC 6455, and tungstenite's reader does not know it.
        (End::Close(Some(1014), _), end) if is_bad_code(end) => {}
        // Our reader refuses a frame as soon as it has the header. tungstenite's reader refuses the
        // frame only at the end of the frame.
        (End::Refused(_), End::Eof) => {
            let longer = [input, &[0; LIMIT + 14]].concat();
            let (_, end) = self::theirs(side, &longer, &[]);
            assert!(matches!(end, End::Refused(_)), "{}, and then {:?}", context, end);
        }
        (End::Refused(_), End::Refused(_)) => {}
        (ours, theirs) => assert_eq!(ours, theirs),
    }
    assert_eq!(ours, theirs, "{}", context);
}

/// Lets both readers read arbitrary bytes, split at arbitrary points, on an arbitrary side.
pub(crate) fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let side = if input.ratio(1, 2).unwrap_or(false) { Side::Client } else { Side::Server };
    let cuts = input.int_in_range(0..=5).unwrap_or(0);
    let chops: Vec<_> = (0..cuts).map(|_| input.int_in_range(1..=40).unwrap_or(1)).collect();
    agree(side, input.take_rest(), &chops);
}
