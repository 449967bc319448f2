//! Decodes any bytes as a message. The result is an error, or frames that the tests' own encoder
//! encodes again to an equivalent message.

use bytes::Bytes;
use wsmux_proto::{Frame, Wire};

use crate::engine::encode;

/// Checks C-33, Q-5, Q-11 and J-4.
pub fn run(wire: Wire, data: &[u8]) {
    let mut message = Bytes::copy_from_slice(data);
    loop {
        let before = message.len();
        match wire.decode(&mut message) {
            Ok(Some(frame)) => {
                assert!(message.len() < before, "{frame:?} out of nothing");
                again(wire, &frame, before - message.len());
            }
            Ok(None) => return assert!(message.is_empty(), "the end before the end"),
            Err(_) => return,
        }
    }
}

/// Encodes a frame that was decoded from `len` bytes, and decodes it again. Asserts that the result
/// is the same frame.
fn again(wire: Wire, frame: &Frame, len: usize) {
    for last in [false, true] {
        let shortest = encode(wire, frame, last);
        assert!(!last || shortest.len() <= len, "{frame:?} out of {len} bytes");
        let mut message = Bytes::from(shortest);
        let decoded = wire.decode(&mut message);
        assert_eq!(decoded.as_ref().ok().and_then(Option::as_ref), Some(frame));
        assert!(message.is_empty(), "{frame:?} and then {message:?}");
    }
    // If a frame contains its length, or if its fields determine its length, then the frame is not
    // valid without its last byte.
    let open = matches!(frame, Frame::Padding(_))
        || (wire == Wire::JsWs && matches!(frame, Frame::Stream { fin: false, .. }));
    let mut cut = Bytes::from(encode(wire, frame, false));
    cut.truncate(cut.len() - 1);
    let decoded = wire.decode(&mut cut);
    assert!(open || decoded.is_err(), "{frame:?} cut short is {decoded:?}");
}
