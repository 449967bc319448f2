//! Uses streams through tokio's `AsyncRead` and `AsyncWrite`.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use wsmux::{
    Config, ReadError, ReadExactError, ReadToEndError, VarInt, WebSocketConnection,
    WebSocketStream, WriteError,
};

use super::{
    bytes::expected,
    hand::Hand,
    pair::{WIRES, memory, quiet},
};

/// Opens a stream, and returns both ends of it.
async fn stream(
    (client, server): &(WebSocketConnection, WebSocketConnection),
) -> (WebSocketStream, WebSocketStream) {
    let mut stream = client.open_bi().await.unwrap();
    stream.send().announce();
    (stream, server.accept_bi().await.unwrap())
}

fn long(seed: usize) -> Vec<u8> {
    (0..40).flat_map(|part| expected(seed, part * 100_000, 100_000)).collect()
}

#[tokio::test(start_paused = true)]
async fn copy_carries_everything_and_the_end() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, mut right) = stream(&pair).await;
        let data = long(1);
        let (copied, got) = tokio::join!(
            async {
                let copied = copy(&mut &data[..], &mut left).await.unwrap();
                left.shutdown().await.unwrap();
                copied
            },
            async {
                let mut got = Vec::new();
                copy(&mut right, &mut got).await.unwrap();
                got
            },
        );
        assert_eq!(copied as usize, data.len());
        assert!(got == data, "{wire:?}");
        // Further reads also return the end.
        assert_eq!(right.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(right.recv().read_chunk(10).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn copy_bidirectional_joins_two_connections() {
    for wire in WIRES {
        let (near, far) =
            (memory(wire, &Config::default()).await, memory(wire, &Config::default()).await);
        let ((mut asker, mut near_end), (mut far_end, mut answerer)) =
            (stream(&near).await, stream(&far).await);
        let (question, answer) = (long(1), long(2));
        let relay =
            tokio::spawn(
                async move { copy_bidirectional(&mut near_end, &mut far_end).await.unwrap() },
            );
        let (got_answer, got_question) = tokio::join!(
            async {
                let (send, recv) = asker.split();
                let mut got = Vec::new();
                let write = async {
                    send.write_all(&question).await.unwrap();
                    send.shutdown().await.unwrap();
                };
                tokio::join!(write, AsyncReadExt::read_to_end(recv, &mut got)).1.unwrap();
                got
            },
            async {
                // The answer begins only after the end of the question. So the relay must pass on
                // that end while the other direction stays open.
                let mut got = Vec::new();
                AsyncReadExt::read_to_end(&mut answerer, &mut got).await.unwrap();
                AsyncWriteExt::write_all(&mut answerer, &answer).await.unwrap();
                answerer.shutdown().await.unwrap();
                got
            },
        );
        assert!(got_question == question && got_answer == answer, "{wire:?}");
        assert_eq!(relay.await.unwrap(), (question.len() as u64, answer.len() as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_once_and_does_no_harm_twice() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, mut right) = stream(&pair).await;
        AsyncWriteExt::write_all(&mut left, b"all").await.unwrap();
        left.flush().await.unwrap();
        left.shutdown().await.unwrap();
        left.shutdown().await.unwrap();
        let error = AsyncWriteExt::write(&mut left, b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(matches!(left.send().finish(), Err(WriteError::ClosedStream)));
        let mut got = String::new();
        right.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "all");
        quiet().await;
        left.shutdown().await.unwrap();
        assert_eq!(left.send().stopped().await.unwrap(), None);
        // The other direction still works.
        AsyncWriteExt::write_all(&mut right, b"back").await.unwrap();
        let mut back = [0; 4];
        AsyncReadExt::read_exact(&mut left, &mut back).await.unwrap();
        assert_eq!(&back, b"back");
    }
}

#[tokio::test(start_paused = true)]
async fn both_halves_work_at_once_borrowed_or_owned_in_two_tasks() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, right) = stream(&pair).await;
        let (mut send, mut recv) = right.into_split();
        let (to_left, to_right) = (long(3), long(4));
        let writer = tokio::spawn({
            let data = to_left.clone();
            async move {
                send.write_all(&data).await.unwrap();
                send.finish().unwrap();
            }
        });
        let reader = tokio::spawn(async move { recv.read_to_end(usize::MAX).await.unwrap() });
        let (send, recv) = left.split();
        let (_, got) = tokio::join!(
            async {
                send.write_all(&to_right).await.unwrap();
                send.finish().unwrap();
            },
            recv.read_to_end(to_left.len()),
        );
        assert!(got.unwrap() == to_left, "{wire:?}");
        assert!(reader.await.unwrap() == to_right, "{wire:?}");
        writer.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn read_exact_fills_or_says_how_much_there_was() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, mut right) = stream(&pair).await;
        for part in [&b"ab"[..], b"cdef", b"ghi"] {
            left.send().write_all(part).await.unwrap();
            quiet().await;
        }
        left.send().finish().unwrap();
        let mut buf = [0; 5];
        right.recv().read_exact(&mut []).await.unwrap();
        right.recv().read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"abcde");
        let early = right.recv().read_exact(&mut buf).await;
        assert!(matches!(early, Err(ReadExactError::FinishedEarly(4))), "{wire:?}: {early:?}");
        assert_eq!(&buf[..4], b"fghi");
        let again = right.recv().read_exact(&mut buf).await;
        assert!(matches!(again, Err(ReadExactError::FinishedEarly(0))), "{wire:?}: {again:?}");
        let error = AsyncReadExt::read_exact(&mut right, &mut buf).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[tokio::test(start_paused = true)]
async fn read_to_end_takes_its_limit_and_not_a_byte_more() {
    for wire in WIRES {
        for (len, limit, fits) in
            [(0, 0, true), (1, 0, false), (100_000, 100_000, true), (100_000, 99_999, false)]
        {
            let pair = memory(wire, &Config::default()).await;
            let (mut left, mut right) = stream(&pair).await;
            left.send().write_all(&vec![1; len]).await.unwrap();
            left.send().finish().unwrap();
            let read = right.recv().read_to_end(limit).await;
            match fits {
                true => assert_eq!(read.unwrap().len(), len, "{wire:?}"),
                false => assert!(matches!(read, Err(ReadToEndError::TooLong)), "{wire:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_have_the_kinds_that_io_knows() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, mut right) = stream(&pair).await;
        left.send().reset(VarInt::from_u32(3)).unwrap();
        right.recv().received_reset().await.unwrap();
        let error = right.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{wire:?}");
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ReadError>());
        assert!(matches!(cause, Some(ReadError::Reset(code)) if *code == VarInt::from_u32(3)));
        left.recv().stop(VarInt::from_u32(4)).unwrap();
        let error = left.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{wire:?}");
        assert_eq!(right.send().stopped().await.unwrap(), Some(VarInt::from_u32(4)));
        let error = right.write_u8(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{wire:?}");
        right.shutdown().await.expect("it does no harm");

        let (mut left, mut right) = stream(&pair).await;
        pair.0.close(VarInt::from_u32(1), b"");
        pair.1.closed().await;
        assert_eq!(right.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(right.write_u8(1).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(left.read_u8().await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(left.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[tokio::test(start_paused = true)]
async fn empty_reads_and_writes_wait_for_nothing_and_end_nothing() {
    for wire in WIRES {
        let pair = memory(wire, &Config::default()).await;
        let (mut left, mut right) = stream(&pair).await;
        assert_eq!(Hand::new(right.recv().read(&mut [])).ready().unwrap(), Some(0));
        assert_eq!(Hand::new(right.recv().read_chunk(0)).ready().unwrap().unwrap(), "");
        assert_eq!(Hand::new(left.send().write(b"")).ready().unwrap(), 0);
        Hand::new(left.send().write_chunk("".into())).ready().unwrap();
        quiet().await;
        left.send().write_all(b"x").await.unwrap();
        left.send().finish().unwrap();
        assert!(matches!(left.send().write(b"").await, Err(WriteError::ClosedStream)));
        assert_eq!(right.recv().read_to_end(1).await.unwrap(), b"x", "{wire:?}");
    }
}
