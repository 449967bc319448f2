//! Attackers that ask the victim to resume connections (SPEC.md §12). The attackers encode their
//! requests without wsmux.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sha2::Sha256;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::Message;
use wsmux::{VarInt, Wire};

use super::{
    Attack,
    raw::{self, QX_PARAMETERS, Socket, UNLIMITED, WINDOW, varints},
    told::Told,
};

const SESSION: u64 = 0x29ac_e57f_4e2d_b89d;
const RESUME: u64 = 0x19b7_d1ae_caaa_fe0c;
const SESSION_RESUMED: u64 = 0x2bcb_da4e_a5da_429d;

/// How many attackers there are at the same time.
const AT_ONCE: u64 = 32;
/// How many sessions are left without a socket. They fill the victim's registry, whose limit is
/// 10,000.
const SESSIONS: u64 = 12_000;

/// The name of the answer to a request that the victim accepts.
pub const ACCEPTED: &str = "resumed";

/// A session's id and secret.
#[derive(Debug, Clone, Copy)]
struct Keys {
    id: [u8; 16],
    secret: [u8; 32],
}

impl Keys {
    fn random() -> Self {
        let mut rng = rand::rng();
        Self { id: rng.random(), secret: rng.random() }
    }

    /// Returns the first message of a client that resumes the session.
    fn request(&self, attempt: u64, count: u64) -> Result<Bytes> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).context("a key")?;
        mac.update(b"wsmux resume request");
        mac.update(&self.id);
        mac.update(&attempt.to_be_bytes());
        mac.update(&count.to_be_bytes());
        let mut value = self.id.to_vec();
        varints(&mut value, &[attempt, count]);
        value.extend_from_slice(&mac.finalize().into_bytes());
        let mut body = Vec::new();
        varints(&mut body, &[RESUME, value.len() as u64]);
        body.extend(value);
        let mut frame = Vec::new();
        varints(&mut frame, &[QX_PARAMETERS, body.len() as u64]);
        frame.extend(body);
        Ok(frame.into())
    }

    /// Reads the keys from the parameters of a server.
    fn of_parameters(mut message: Bytes) -> Option<Self> {
        let number = |message: &mut Bytes| VarInt::decode(message).map(VarInt::into_inner);
        let (_frame, _len) = (number(&mut message)?, number(&mut message)?);
        while message.has_remaining() {
            let (id, len) = (number(&mut message)?, number(&mut message)?);
            let mut value = message.split_to(usize::try_from(len).ok()?);
            if id == SESSION {
                let (_timeout, _budget) = (number(&mut value)?, number(&mut value)?);
                let id = value.get(..16)?.try_into().ok()?;
                return Some(Self { id, secret: value.get(16..48)?.try_into().ok()? });
            }
        }
        None
    }
}

/// The counts that all attackers share.
#[derive(Default)]
struct Sent {
    connections: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

pub async fn run(attack: Attack, address: SocketAddr, until: Instant) -> Result<Told> {
    let sent = Arc::new(Sent::default());
    let mut attackers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let sent = sent.clone();
        attackers.spawn(async move {
            let mut told = Told::default();
            let attack = at_full_speed(attack, address, &sent, &mut told);
            if let Ok(Err(error)) = timeout_at(until, attack).await {
                told.end(format!("refused: {error:#}"));
            }
            told
        });
    }
    let mut all = Told::default();
    while let Some(told) = attackers.join_next().await {
        for (how, count) in told?.ends {
            *all.ends.entry(how).or_default() += count;
        }
    }
    all.connections = sent.connections.load(Ordering::Relaxed);
    all.messages = sent.messages.load(Ordering::Relaxed);
    all.bytes = sent.bytes.load(Ordering::Relaxed);
    Ok(all)
}

async fn at_full_speed(
    attack: Attack,
    address: SocketAddr,
    sent: &Sent,
    told: &mut Told,
) -> Result<Infallible> {
    if attack == Attack::SuspendedCrowd {
        return crowd(address, sent).await;
    }
    // `own` is the session's socket, which stays open all the time. So only an attack could end the
    // session.
    let (mut own, keys) = begin(address, sent).await?;
    let mut attempt = 0;
    if attack == Attack::ResumeReplay {
        attempt = 1;
        let (socket, answer) = ask(address, sent, keys.request(attempt, 0)?).await?;
        if answer != ACCEPTED {
            bail!("the first request: {answer}");
        }
        drop(std::mem::replace(&mut own, socket));
    }
    loop {
        let request = match attack {
            Attack::ResumeFlood => Keys::random().request(1, 0),
            Attack::ResumeStolen => Keys { secret: Keys::random().secret, ..keys }.request(1, 0),
            Attack::ResumeReplay => keys.request(attempt, 0),
            Attack::ResumeForged => {
                attempt += 1;
                keys.request(attempt, UNLIMITED)
            }
            Attack::ResumeAgain => {
                attempt += 1;
                keys.request(attempt, 0)
            }
            _ => unreachable!("it resumes nothing"),
        };
        let (socket, answer) = ask(address, sent, request?).await?;
        if answer == ACCEPTED {
            drop(std::mem::replace(&mut own, socket));
        }
        told.end(answer);
    }
}

/// Begins sessions, and leaves each without a socket.
async fn crowd(address: SocketAddr, sent: &Sent) -> Result<Infallible> {
    for _ in 0..SESSIONS / AT_ONCE {
        let (socket, _) = begin(address, sent).await?;
        socket.get_ref().set_zero_linger()?;
    }
    std::future::pending().await
}

async fn send(socket: &mut Socket, sent: &Sent, message: Bytes) -> Result<()> {
    sent.messages.fetch_add(1, Ordering::Relaxed);
    sent.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
    Ok(socket.send(Message::Binary(message)).await?)
}

/// Begins a connection that can be resumed.
async fn begin(address: SocketAddr, sent: &Sent) -> Result<(Socket, Keys)> {
    sent.connections.fetch_add(1, Ordering::Relaxed);
    let mut socket = raw::open(address, Wire::QMux).await?;
    let mut offer = Vec::new();
    varints(&mut offer, &[30_000, WINDOW]);
    send(&mut socket, sent, raw::parameters(WINDOW, Some((SESSION, offer))).into()).await?;
    let mut keys = None;
    // Waits for the victim's parameters, and then until the victim has processed the offer.
    loop {
        match socket.next().await.context("the victim's parameters")?? {
            Message::Binary(message) if keys.is_none() => {
                keys = Some(Keys::of_parameters(message).context("no session is offered")?);
                // The answer to this ping shows that the offer has been processed.
                let mut ping = Vec::new();
                varints(&mut ping, &[raw::QX_PING, 1]);
                send(&mut socket, sent, ping.into()).await?;
            }
            Message::Binary(_) => break,
            _ => {}
        }
    }
    Ok((socket, keys.context("no parameters")?))
}

/// Sends a request on a new WebSocket, and returns the answer.
async fn ask(address: SocketAddr, sent: &Sent, request: Bytes) -> Result<(Socket, String)> {
    sent.connections.fetch_add(1, Ordering::Relaxed);
    let mut socket = raw::open(address, Wire::QMux).await?;
    send(&mut socket, sent, request).await?;
    loop {
        let answer = match socket.next().await {
            Some(Ok(Message::Binary(mut message))) => {
                match VarInt::decode(&mut message).map(VarInt::into_inner) {
                    Some(SESSION_RESUMED) => ACCEPTED.to_owned(),
                    _ => continue,
                }
            }
            Some(Ok(Message::Close(Some(close)))) => {
                format!("{} {}", close.code, close.reason).trim().to_owned()
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => error.to_string(),
            None => "the end of the stream".to_owned(),
        };
        return Ok((socket, answer));
    }
}
