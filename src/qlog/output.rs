//! The way from a connection's task to a writer that may be slow.

use std::{
    collections::VecDeque,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::runtime::Handle;

/// Where a log goes.
pub(super) type Writer = Box<dyn Write + Send>;

/// Bytes that wait for a writer, at most: what a busy connection writes in some hundred milliseconds.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Hands chunks to a writer on the runtime's threads for blocking work, in order, one at a time. Never waits;
/// at most [`MAX_WAITING`] bytes and one chunk wait.
#[derive(Debug)]
pub(super) struct Output {
    runtime: Handle,
    queue: Arc<Queue>,
}

struct Queue {
    state: Mutex<State>,
    /// The writer has failed: whoever would write can save the work.
    failed: AtomicBool,
}

struct State {
    /// `None` while a [`Drain`] has it, once it has failed, and after the end.
    writer: Option<Writer>,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Nothing follows.
    ended: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Output {
    pub(super) fn new(writer: Writer, runtime: Handle) -> Self {
        let state =
            State { writer: Some(writer), waiting: VecDeque::new(), bytes: 0, ended: false };
        let queue = Queue { state: Mutex::new(state), failed: AtomicBool::new(false) };
        Self { runtime, queue: Arc::new(queue) }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.queue.failed.load(Ordering::Relaxed)
    }

    /// Whether so much waits that no more should come.
    pub(super) fn is_full(&self) -> bool {
        self.queue.lock().bytes >= MAX_WAITING
    }

    pub(super) fn push(&self, chunk: Vec<u8>) {
        let mut state = self.queue.lock();
        state.bytes += chunk.len();
        state.waiting.push_back(chunk);
        self.drain(state);
    }

    /// Nothing follows: the writer is flushed, and dropped.
    pub(super) fn end(&self) {
        let mut state = self.queue.lock();
        state.ended = true;
        self.drain(state);
    }

    /// Sees to it that what waits is written.
    fn drain(&self, mut state: MutexGuard<'_, State>) {
        let Some(writer) = state.writer.take() else { return };
        drop(state);
        let drain = Drain { queue: self.queue.clone(), writer: Some(writer) };
        self.runtime.spawn_blocking(move || drop(drain));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all that waits when it is dropped: on a thread for blocking work, or where a runtime that has ended
/// drops what it will not run. So a log is whole once its runtime is gone.
struct Drain {
    queue: Arc<Queue>,
    writer: Option<Writer>,
}

impl Drain {
    fn run(&mut self) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        loop {
            let mut state = self.queue.lock();
            let Some(chunk) = state.waiting.pop_front() else {
                if !state.ended {
                    state.writer = Some(writer);
                    return Ok(());
                }
                drop(state);
                return writer.flush();
            };
            state.bytes -= chunk.len();
            drop(state);
            writer.write_all(&chunk)?;
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // A writer that panics has failed: what waits for it would wait for ever.
        let run = catch_unwind(AssertUnwindSafe(|| self.run()));
        let run = run.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        if let Err(error) = run {
            self.queue.failed.store(true, Ordering::Relaxed);
            let mut state = self.queue.lock();
            state.waiting.clear();
            state.bytes = 0;
            drop(state);
            crate::trace::qlog_failed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits for a permit before each write, and tells what it wrote.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let permit = self.0.recv().map_err(|_| io::Error::other("no more"));
            permit.and_then(|()| {
                self.1.send(bytes.to_vec()).map_err(io::Error::other).map(|()| bytes.len())
            })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn a_slow_writer_holds_up_nobody_and_its_queue_is_bounded() {
        let runtime = runtime();
        let ((permit, permits), (written, seen)) = (mpsc::channel(), mpsc::channel());
        let output = Output::new(Box::new(Slow(permits, written)), runtime.handle().clone());
        let mut chunks = 0;
        while !output.is_full() {
            output.push(vec![0; 64 * 1024]);
            chunks += 1;
        }
        // One chunk may be with the writer.
        assert!((MAX_WAITING / (64 * 1024)..).contains(&chunks));
        output.end();
        (0..chunks).for_each(|_| permit.send(()).unwrap());
        assert_eq!(seen.iter().count(), chunks, "and the writer is dropped");
    }

    #[test]
    fn an_error_ends_the_log_and_drops_the_writer() {
        let runtime = runtime();
        let ((permit, permits), (written, seen)) = (mpsc::channel(), mpsc::channel());
        let output = Output::new(Box::new(Slow(permits, written)), runtime.handle().clone());
        drop(permit);
        output.push(vec![1]);
        assert!(seen.recv().is_err());
        drop(runtime);
        assert!(output.has_failed());
        output.push(vec![2]);
        output.end();
    }

    /// A writer with a bug.
    struct Panics;

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("a bug of the writer");
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_panics_ends_the_log_and_keeps_nothing() {
        let runtime = runtime();
        let output = Output::new(Box::new(Panics), runtime.handle().clone());
        output.push(vec![1]);
        output.push(vec![2]);
        drop(runtime);
        assert!(output.has_failed());
        assert_eq!(output.queue.lock().bytes, 0);
        output.end();
    }

    #[test]
    fn what_comes_after_the_runtime_has_ended_is_written() {
        let runtime = runtime();
        let ((permit, permits), (written, seen)) = (mpsc::channel(), mpsc::channel());
        let output = Output::new(Box::new(Slow(permits, written)), runtime.handle().clone());
        drop(runtime);
        permit.send(()).unwrap();
        output.push(vec![1]);
        output.end();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [[1]]);
    }
}
