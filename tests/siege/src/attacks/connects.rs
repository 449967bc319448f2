//! Attackers that never complete a connection, or keep one only for a short time.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use wsmux::Wire;

use super::{raw::Raw, told::Told};

pub const HALF_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n";
/// The header of a TLS record that declares 512 bytes. Of these bytes, only the type and the length
/// of the ClientHello follow.
pub const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];

const HALF_OPEN: usize = 500;
const VISITS: u64 = 10_000;
/// How many of the `VISITS` connections run at the same time.
const AT_ONCE: u64 = 32;
/// How long an attacker waits for the victim to answer or to end the connection. This is a little
/// longer than the victim's handshake timeout, which is 10 s by default.
const HANDSHAKE: Duration = Duration::from_secs(13);

/// Each of `HALF_OPEN` attackers sends `says` and waits for the victim's answer. Then it connects
/// again, until the time is over.
pub async fn half_open(address: SocketAddr, says: &'static [u8], until: Instant) -> Told {
    let mut waiting = JoinSet::new();
    let mut told = Told::default();
    for _ in 0..HALF_OPEN {
        waiting.spawn(wait(address, says));
    }
    while let Some(done) = waiting.join_next().await {
        told.connections += 1;
        told.messages += 1;
        told.bytes += says.len() as u64;
        told.end(done.unwrap_or_else(|error| error.to_string()));
        if Instant::now() < until {
            waiting.spawn(wait(address, says));
        }
    }
    told
}

async fn wait(address: SocketAddr, says: &[u8]) -> String {
    let job = async {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.write_all(says).await?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(HANDSHAKE, job).await {
        Ok(Ok(answer)) if answer.is_empty() => "the end of the stream".to_owned(),
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/") => {
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        }
        Ok(Ok(answer)) => format!("{} bytes", answer.len()),
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "nothing".to_owned(),
    }
}

pub async fn come_and_go(address: SocketAddr) -> Result<Told> {
    let mut visitors = JoinSet::new();
    let start = Instant::now();
    for first in 0..AT_ONCE {
        visitors.spawn(async move {
            let mut failed = Told::default();
            for nth in (first..VISITS).step_by(AT_ONCE as usize) {
                let visit = timeout_at(Instant::now() + HANDSHAKE, visit(address, nth));
                match visit.await {
                    Ok(Ok(())) => failed.end("left of its own accord"),
                    Ok(Err(error)) => failed.end(format!("refused: {error:#}")),
                    Err(_) => failed.end("nothing, for too long"),
                }
            }
            failed
        });
    }
    let mut told = Told { connections: VISITS, ..Told::default() };
    while let Some(visitor) = visitors.join_next().await {
        for (how, count) in visitor?.ends {
            *told.ends.entry(how).or_default() += count;
        }
    }
    told.end(format!("all in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(told)
}

async fn visit(address: SocketAddr, nth: u64) -> Result<()> {
    if nth.is_multiple_of(3) {
        // The client leaves in the middle of the handshake: it has sent its parameters, and has not
        // read the victim's.
        return Raw::connect(address, Wire::QMux, false, 0).await.map(drop);
    }
    let mut tcp = TcpStream::connect(address).await?;
    if nth % 3 == 1 {
        tcp.write_all(HALF_REQUEST).await?;
    }
    // Every second connection ends with an RST.
    if nth.is_multiple_of(2) {
        tcp.set_zero_linger()?;
    }
    Ok(())
}
