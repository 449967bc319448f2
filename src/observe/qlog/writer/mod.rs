//! The thread that writes the logs of one configuration.

use std::{
    convert::Infallible,
    io::{self, Write},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::runtime::sleep;

/// The destination of a log.
pub(super) type Writer = Box<dyn Write + Send>;

/// When this many bytes of all logs together wait for the thread, events are left out. Each
/// connection may still add one chunk, and the end of its log.
const MAX_WAITING: usize = 64 * 1024 * 1024;

/// The cost of a chunk besides its bytes: its slot in the channel, and the allocator's overhead for
/// two blocks.
const OVERHEAD: usize = 4 * size_of::<Vec<u8>>();

/// How long a runtime waits for a writer that makes no progress. Even a busy disk writes a chunk in
/// less than this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that writes the logs of one configuration, in the order in which their chunks
/// arrived. The thread does not belong to the runtime. Otherwise a writer that hangs would take a
/// thread of the runtime away from other tasks. The writing thread starts with the first log, and
/// ends once the configuration and its logs are gone and every chunk is written.
#[derive(Default)]
pub(super) struct WriterThread {
    /// The thread ends when all senders have been dropped, so it has none itself.
    jobs: Mutex<Option<Sender<Job>>>,
    backlog: Arc<Backlog>,
}

impl WriterThread {
    /// Fails if so many bytes wait that no further log may be started. Without this check, logs of
    /// ended connections could pile up without bound.
    pub(super) fn check_room(&self) -> io::Result<()> {
        match self.backlog.is_full() {
            true => Err(io::Error::other("too many bytes wait for the writers of other logs")),
            false => Ok(()),
        }
    }

    /// Makes the queue of a new log. Fails if the thread that writes the logs has to be started but
    /// the system cannot start another thread.
    pub(super) fn queue(&self, writer: Writer) -> io::Result<Queue> {
        let log = WriterState {
            writer: Mutex::new(Some(writer)),
            failed: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            backlog: self.backlog.clone(),
        };
        Ok(Queue { log: Arc::new(log), jobs: self.jobs()? })
    }

    fn jobs(&self) -> io::Result<Sender<Job>> {
        let mut running = lock(&self.jobs);
        if let Some(jobs) = &*running {
            return Ok(jobs.clone());
        }
        let (sender, jobs) = mpsc::channel();
        let backlog = self.backlog.clone();
        // The name is short because Linux shows at most 15 characters of it.
        thread::Builder::new().name("wsmux-qlog".into()).spawn(move || write(jobs, &backlog))?;
        Ok(running.insert(sender).clone())
    }
}

fn write(jobs: Receiver<Job>, backlog: &Backlog) {
    for job in jobs {
        job.run();
        backlog.progressed();
    }
}

/// Carries the chunks of one log to the thread. It never waits.
pub(super) struct Queue {
    log: Arc<WriterState>,
    jobs: Sender<Job>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Queue {
    /// Whether the writer has failed. If so, chunks are discarded.
    pub(super) fn has_failed(&self) -> bool {
        self.log.failed.load(Ordering::Relaxed)
    }

    /// Allocated bytes of this log that wait or are being written.
    pub(super) fn bytes(&self) -> usize {
        self.log.bytes.load(Ordering::Relaxed)
    }

    /// Whether the bytes that wait to be written, in all logs of the configuration together, have
    /// reached their limit.
    pub(super) fn is_backlog_full(&self) -> bool {
        self.log.backlog.is_full()
    }

    pub(super) fn push(&self, chunk: Vec<u8>) {
        if !self.has_failed() {
            self.send(Work::Write(Chunk::new(chunk, self.log.clone())));
        }
    }

    /// Ends the log: the writer is flushed and dropped.
    pub(super) fn end(&self) -> Written {
        let (ended, written) = oneshot::channel();
        self.send(Work::End(ended));
        Written { written, backlog: self.log.backlog.clone(), given_up: false }
    }

    fn send(&self, work: Work) {
        if self.jobs.send(Job { log: self.log.clone(), work }).is_err() {
            self.log.fail(&io::Error::other("the writer thread has ended"));
        }
    }
}

/// The part of a log that the thread and a connection share.
struct WriterState {
    /// Only the thread uses the writer. It is `None` while the thread is writing, once the writer
    /// has failed, and after the end of the log.
    writer: Mutex<Option<Writer>>,
    failed: AtomicBool,
    bytes: AtomicUsize,
    backlog: Arc<Backlog>,
}

impl WriterState {
    fn fail(&self, error: &io::Error) {
        self.failed.store(true, Ordering::Relaxed);
        crate::observe::trace::qlog_failed(error);
    }
}

struct Job {
    log: Arc<WriterState>,
    work: Work,
}

enum Work {
    Write(Chunk),
    /// The sender is dropped when the whole log is written, or the writer has failed.
    End(#[expect(dead_code, reason = "to be dropped")] oneshot::Sender<Infallible>),
}

impl Job {
    fn run(self) {
        let Some(mut writer) = lock(&self.log.writer).take() else { return };
        // A panic of the writer counts as a failure, so that the other logs continue.
        let run = catch_unwind(AssertUnwindSafe(|| match &self.work {
            Work::Write(chunk) => writer.write_all(&chunk.bytes).map(|()| Some(writer)),
            Work::End(_) => writer.flush().map(|()| drop(writer)).map(|()| None),
        }));
        match run.unwrap_or_else(|_| Err(io::Error::other("the writer panicked"))) {
            Ok(writer) => *lock(&self.log.writer) = writer,
            Err(error) => self.log.fail(&error),
        }
    }
}

/// Records whose bytes count as waiting until this is dropped.
struct Chunk {
    bytes: Vec<u8>,
    cost: usize,
    log: Arc<WriterState>,
}

impl Chunk {
    fn new(mut bytes: Vec<u8>, log: Arc<WriterState>) -> Self {
        bytes.shrink_to_fit();
        let cost = bytes.capacity() + OVERHEAD;
        log.bytes.fetch_add(cost, Ordering::Relaxed);
        log.backlog.bytes.fetch_add(cost, Ordering::Relaxed);
        Self { bytes, cost, log }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        drop(mem::take(&mut self.bytes));
        self.log.bytes.fetch_sub(self.cost, Ordering::Relaxed);
        self.log.backlog.bytes.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

/// The chunks that wait for one thread.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

#[derive(Default)]
struct Progress {
    jobs_done: u64,
    /// Whether a waiter has given up since the last job was completed.
    is_stuck: bool,
}

impl Backlog {
    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= MAX_WAITING
    }

    fn progressed(&self) {
        let mut progress = lock(&self.progress);
        progress.jobs_done = progress.jobs_done.wrapping_add(1);
        progress.is_stuck = false;
        drop(progress);
        self.progressed.notify_all();
    }

    /// Blocks until `is_done` returns true, or until the thread makes no progress.
    fn wait_until(&self, mut is_done: impl FnMut() -> bool) {
        let mut progress = lock(&self.progress);
        while !is_done() && !progress.is_stuck {
            let before = progress.jobs_done;
            let waited = self.progressed.wait_timeout_while(progress, PATIENCE, |progress| {
                progress.jobs_done == before && !progress.is_stuck
            });
            let timed_out;
            (progress, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            progress.is_stuck |= timed_out.timed_out();
        }
    }

    fn jobs_done(&self) -> u64 {
        lock(&self.progress).jobs_done
    }

    /// Whether the thread hangs. It hangs if it has completed no job for `PATIENCE`. At the time
    /// `asked`, it had completed `before` jobs.
    fn is_stuck(&self, before: u64, asked: Instant) -> bool {
        let mut progress = lock(&self.progress);
        // The caller slept for `PATIENCE` on the runtime's clock, which a test may advance without
        // waiting. So this checks that `PATIENCE` has also passed on the system's clock.
        let in_vain = progress.jobs_done == before && asked.elapsed() >= PATIENCE;
        progress.is_stuck |= in_vain;
        progress.is_stuck
    }
}

/// A task uses this value to wait until a log is written. If the runtime shuts down earlier, it
/// drops the task, and the drop blocks until the log is written. So a log is complete once its
/// runtime is gone, unless its writer hangs.
pub(super) struct Written {
    written: oneshot::Receiver<Infallible>,
    backlog: Arc<Backlog>,
    given_up: bool,
}

impl Written {
    /// Waits until the log is written or the writer hangs. If this also waited for a writer that
    /// hangs, code that waits for all tasks of a runtime would wait for ever.
    pub(super) async fn wait(mut self) {
        while !self.given_up {
            let (before, asked) = (self.backlog.jobs_done(), Instant::now());
            tokio::select! {
                // No value is ever sent on this channel. The receiver completes when the sender is
                // dropped.
                _ = &mut self.written => return,
                () = sleep(PATIENCE) => self.given_up = self.backlog.is_stuck(before, asked),
            }
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.given_up {
            let written = &mut self.written;
            self.backlog.wait_until(|| written.try_recv() == Err(TryRecvError::Closed));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
