//! WebSocket frames written by hand, with a connection for each stream. This backend measures what
//! the wire itself costs. It copies and masks in one pass, sends many frames in one write, and
//! unmasks received bytes in place.
//!
//! The code is not a library, because it supports only binary frames and ends a direction with an
//! empty frame.

use std::ops::Range;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{accept_async, client_async};
use tokio_util::either::Either;

use super::{
    Connection, Rival, Stream,
    net::{self, Dialer},
};
use crate::peer::{self, CHUNK};

/// The first byte of each frame: the FIN bit and the opcode of binary messages.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// The size of the longest header: that of a client, with a length of 64 bits.
const MAX_HEADER: usize = 14;
/// The size of a write: at most two chunks with their headers, which is about 128 KiB.
const WRITE: usize = 2 * (CHUNK.len() + MAX_HEADER);
const READ: usize = 256 * 1024;
/// The initial size of buffers. Buffers start small, so that idle streams do not hold memory that
/// only bulk data needs.
const SMALL: usize = 512;

pub struct Floor(Dialer);

#[derive(Clone)]
pub struct Address(Dialer);

impl Floor {
    pub async fn start() -> Result<Self> {
        let (listener, dialer) = net::listen(false, true).await?;
        tokio::spawn(async move {
            while let Ok(tcp) = listener.accept().await {
                tokio::spawn(async move {
                    // `into_inner` discards the read buffer. The buffer is empty, because the
                    // client sends nothing before it has received the response to its upgrade
                    // request.
                    let tcp = accept_async(tcp).await?.into_inner();
                    peer::serve(FrameStream::new(tcp, false)).await;
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self(dialer))
    }
}

impl Rival for Floor {
    const MUX: bool = false;
    type Connection = Address;

    async fn connect(&self) -> Result<Address> {
        Ok(Address(self.0.clone()))
    }
}

impl Connection for Address {
    type Stream = FrameStream;

    async fn open(&self) -> Result<FrameStream> {
        let Either::Left(tcp) = self.0.dial().await? else { bail!("TLS") };
        // `into_inner` discards the client's read buffer too. This buffer is empty, because the
        // server sends nothing before a request.
        let (websocket, _) = client_async(self.0.url(), tcp).await?;
        Ok(FrameStream::new(websocket.into_inner(), true))
    }
}

pub struct FrameStream {
    tcp: TcpStream,
    client: bool,
    out: Vec<u8>,
    out_len: usize,
    /// The last frame's mask. The mask of the next frame is derived from it.
    key: u32,
    input: Vec<u8>,
    unread: Range<usize>,
    /// How many bytes of the payload of the current frame have not been read.
    payload_left: u64,
    /// The mask of the current frame. It is rotated, so that its first byte masks the next byte.
    mask: [u8; 4],
    ended: bool,
}

impl FrameStream {
    fn new(tcp: TcpStream, client: bool) -> Self {
        Self {
            tcp,
            client,
            out: vec![0; SMALL],
            out_len: 0,
            key: 0x9e37_79b9,
            input: vec![0; SMALL],
            unread: 0..0,
            payload_left: 0,
            mask: [0; 4],
            ended: false,
        }
    }

    async fn send_out(&mut self) -> Result<()> {
        self.tcp.write_all(&self.out[..self.out_len]).await?;
        self.out_len = 0;
        Ok(())
    }

    async fn frame(&mut self, data: &[u8]) -> Result<()> {
        ensure!(MAX_HEADER + data.len() <= WRITE, "larger than a chunk");
        if self.out.len() - self.out_len < MAX_HEADER + data.len() {
            if self.out.len() < WRITE {
                self.out.resize(WRITE, 0);
            }
            if WRITE - self.out_len < MAX_HEADER + data.len() {
                self.send_out().await?;
            }
        }
        let out = &mut self.out[self.out_len..];
        let masked = if self.client { MASKED } else { 0 };
        out[0] = BINARY;
        let mut at = match data.len() {
            len @ 0..126 => {
                out[1] = masked | len as u8;
                2
            }
            len @ 126..0x1_0000 => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
                10
            }
        };
        if self.client {
            // xorshift makes another key for each frame, without the cost of a random number
            // generator.
            self.key ^= self.key << 13;
            self.key ^= self.key >> 17;
            self.key ^= self.key << 5;
            let key = self.key.to_ne_bytes();
            out[at..at + 4].copy_from_slice(&key);
            at += 4;
            copy_masked(&mut out[at..at + data.len()], data, key);
        } else {
            out[at..at + data.len()].copy_from_slice(data);
        }
        self.out_len += at + data.len();
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.input.len() {
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let room = &mut self.input[self.unread.end..];
        match AsyncReadExt::read(&mut self.tcp, room).await? {
            0 => bail!("the connection ended before the stream"),
            len => self.unread.end += len,
        }
        Ok(())
    }

    /// Unmasks the next bytes and returns their range in `input`, or `None` at the end.
    async fn piece(&mut self, max: usize) -> Result<Option<Range<usize>>> {
        while !self.ended {
            if self.payload_left == 0 {
                if !self.header()? {
                    self.fill().await?;
                }
                continue;
            }
            if self.unread.is_empty() {
                self.fill().await?;
            }
            let len = (self.unread.len() as u64).min(self.payload_left).min(max as u64) as usize;
            let piece = self.unread.start..self.unread.start + len;
            if !self.client {
                unmask(&mut self.input[piece.clone()], self.mask);
                self.mask.rotate_left(len % 4);
            }
            self.unread.start = piece.end;
            self.payload_left -= len as u64;
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Parses a frame's header at the front of the bytes that were read. Returns whether the header
    /// was complete.
    fn header(&mut self) -> Result<bool> {
        let unread = &self.input[self.unread.clone()];
        let [first, second, rest @ ..] = unread else { return Ok(false) };
        ensure!(*first == BINARY, "a frame that nobody sends: {first:#x}");
        ensure!((second & MASKED != 0) != self.client, "masked on the wrong way");
        let (len, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u16::from_be_bytes(*len).into(), rest),
                None => return Ok(false),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(false),
            },
            len => (len.into(), rest),
        };
        let rest = if self.client {
            rest
        } else {
            let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(false) };
            self.mask = *mask;
            rest
        };
        self.unread.start = self.unread.end - rest.len();
        self.payload_left = len;
        self.ended = len == 0;
        Ok(true)
    }
}

/// Copies and masks eight bytes at a time. The compiler vectorises this loop.
fn copy_masked(out: &mut [u8], data: &[u8], key: [u8; 4]) {
    let wide = wide(key);
    let (out, out_tail) = out.as_chunks_mut();
    let (data, data_tail) = data.as_chunks();
    for (out, data) in out.iter_mut().zip(data) {
        *out = (u64::from_ne_bytes(*data) ^ wide).to_ne_bytes();
    }
    for ((out, data), key) in out_tail.iter_mut().zip(data_tail).zip(key.into_iter().cycle()) {
        *out = data ^ key;
    }
}

fn unmask(data: &mut [u8], key: [u8; 4]) {
    let wide = wide(key);
    let (chunks, tail) = data.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

fn wide([a, b, c, d]: [u8; 4]) -> u64 {
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}

impl Stream for FrameStream {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.frame(data).await
    }

    async fn write_chunk(&mut self, chunk: Bytes) -> Result<()> {
        self.frame(&chunk).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.send_out().await
    }

    async fn finish(&mut self) -> Result<()> {
        self.frame(&[]).await?;
        self.send_out().await
    }

    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let Some(piece) = self.piece(buf.len()).await? else { return Ok(0) };
        buf[..piece.len()].copy_from_slice(&self.input[piece.clone()]);
        Ok(piece.len())
    }

    async fn discard(&mut self) -> Result<u64> {
        self.input.resize(READ, 0);
        let mut count = 0;
        while let Some(piece) = self.piece(usize::MAX).await? {
            count += piece.len() as u64;
        }
        Ok(count)
    }
}
