//! The frame layer of a WebSocket: headers, masks, and copies of the payload. All frames are those
//! of a client, so they are masked.

use wsmux::Side;

use crate::{
    Case,
    frame_layer::{Decoder, Encoder},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "frame_encode_64", rounds: 1_000, prepare: || encode(64) },
    Case { name: "frame_encode_64k", rounds: 50, prepare: || encode(64 * 1024) },
    Case { name: "frame_decode_64", rounds: 1_000, prepare: || decode(64) },
    Case { name: "frame_decode_64k", rounds: 50, prepare: || decode(64 * 1024) },
];

fn encode(size: usize) -> Box<dyn FnMut()> {
    let (mut encoder, payload) = (Encoder::new(Side::Client), vec![7; size]);
    Box::new(move || encoder.write(&payload))
}

fn decode(size: usize) -> Box<dyn FnMut()> {
    let mut decoder = Decoder::new(Side::Client, size);
    Box::new(move || assert_eq!(decoder.read().len(), size))
}
