//! Decoding of the frames that a connection receives most often. Encoding these frames has no
//! public entry point, so the cases with two engines measure the encoding.

use std::hint::black_box;

use bytes::Bytes;
use wsmux::{Wire, proto::VarInt};

use crate::Case;

pub(crate) const CASES: &[Case] = &[
    Case { name: "decode_qmux", rounds: 1_000, prepare: || decode(Wire::QMux, qmux()) },
    Case { name: "decode_jsws", rounds: 1_000, prepare: || decode(Wire::JsWs, jsws()) },
];

fn decode(wire: Wire, messages: Vec<Bytes>) -> Box<dyn FnMut()> {
    Box::new(move || {
        for message in &messages {
            let mut message = black_box(message.clone());
            while let Some(frame) = wire.decode(&mut message).expect("frames of this wire") {
                black_box(frame);
            }
        }
    })
}

/// One message that contains each of these frames once.
fn qmux() -> Vec<Bytes> {
    const ID: u64 = 4_000;
    const CREDIT: u64 = 1 << 24;
    let mut message = Vec::new();
    for fields in [
        &[0x04, ID, 7, 1_000][..], // RESET_STREAM
        &[0x05, ID, 7],            // STOP_SENDING
        &[0x10, CREDIT],           // MAX_DATA
        &[0x11, ID, CREDIT],       // MAX_STREAM_DATA
        &[0x12, 1_000],            // MAX_STREAMS (bidirectional)
        &[0x0e, ID, 50_000, 64],   // STREAM with an offset and a length; its data follows
    ] {
        varints(fields, &mut message);
    }
    message.extend([7; 64]);
    vec![message.into()]
}

/// One message of each of these kinds.
fn jsws() -> Vec<Bytes> {
    let bodies: [&[u8]; 5] = [
        &[&[0, 0], &[7; 64][..]].concat(), // Data
        &[0, 1, 0, 1, 0, 0],               // Ack
        &[0, 2, 0, 7],                     // Error(Read)
        &[0, 2, 1, 7],                     // Error(Write)
        &[0, 3, 0],                        // Close(Read)
    ];
    let message = |body: &&[u8]| {
        let mut message = Vec::new();
        varints(&[2_000], &mut message);
        message.extend_from_slice(body);
        message.into()
    };
    bodies.iter().map(message).collect()
}

fn varints(values: &[u64], out: &mut Vec<u8>) {
    for &value in values {
        VarInt::from_u64(value).expect("a value of 62 bits").encode(out);
    }
}
