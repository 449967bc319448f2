//! Tests of the thread that writes, with writers that hang, fail or panic.

use std::cell::RefCell;

use super::*;

/// A writer that waits for a permit before each write, and then sends the written bytes to the
/// test.
struct Slow(Receiver<()>, Sender<Vec<u8>>);

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

/// Makes a slow writer. Returns the writer, the sender that permits it to write, and the receiver
/// of what it writes.
fn slow() -> (Writer, Sender<()>, Receiver<Vec<u8>>) {
    let ((permit, permits), (written, seen)) = (mpsc::channel(), mpsc::channel());
    (Box::new(Slow(permits, written)), permit, seen)
}

#[test]
fn all_that_was_pushed_is_written_in_order_and_the_writer_dropped() {
    let (writer, permit, seen) = slow();
    let queue = WriterThread::default().queue(writer).unwrap();
    (0..100).for_each(|i| queue.push(vec![i]));
    let written = queue.end();
    (0..100).for_each(|_| permit.send(()).unwrap());
    drop(written);
    assert!(seen.iter().flatten().eq(0..100));
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn an_error_ends_the_log_and_drops_the_writer() {
    let (writer, permit, seen) = slow();
    let queue = WriterThread::default().queue(writer).unwrap();
    drop(permit);
    queue.push(vec![1]);
    queue.push(vec![2]);
    assert!(seen.recv().is_err());
    drop(queue.end());
    assert!(queue.has_failed());
    queue.push(vec![3]);
    assert_eq!(queue.bytes(), 0, "nothing is kept for it");
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
fn a_writer_that_panics_ends_its_log_and_no_other() {
    let thread = WriterThread::default();
    let (writer, permit, seen) = slow();
    let (bug, other) = (thread.queue(Box::new(Panics)).unwrap(), thread.queue(writer).unwrap());
    bug.push(vec![1]);
    bug.push(vec![2]);
    other.push(vec![3]);
    permit.send(()).unwrap();
    drop([bug.end(), other.end()]);
    assert!(bug.has_failed() && !other.has_failed());
    assert_eq!((bug.bytes(), other.bytes()), (0, 0));
    drop(permit);
    assert!(seen.iter().eq([[3]]));
}

#[test]
fn logs_whose_writers_hang_are_bounded_together_and_no_new_one_begins() {
    let thread = WriterThread::default();
    let mut permits = Vec::new();
    let mut logs = Vec::new();
    let mut bytes = 0;
    while thread.check_room().is_ok() {
        let (writer, permit, _) = slow();
        let queue = thread.queue(writer).unwrap();
        queue.push(vec![0; 1024 * 1024]);
        bytes += queue.bytes();
        permits.push(permit);
        logs.push(queue);
    }
    assert!((MAX_WAITING..MAX_WAITING + 2 * 1024 * 1024).contains(&bytes), "{bytes}");
    assert!(logs.iter().all(Queue::is_backlog_full));
    drop(permits);
    let ends: Vec<_> = logs.iter().map(Queue::end).collect();
    drop(ends);
    assert!(thread.check_room().is_ok());
}

/// Sends a message when the thread that it was made on ends.
struct Ended(Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

thread_local!(static ENDED: RefCell<Option<Ended>> = const { RefCell::new(None) });

/// A writer that reports on which thread it writes, and when that thread ends.
struct Traced(Sender<()>, Sender<thread::ThreadId>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ENDED.with_borrow_mut(|ended| *ended = Some(Ended(self.0.clone())));
        self.1.send(thread::current().id()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn one_thread_writes_all_logs_and_ends_with_the_last_of_them() {
    let ((end, ended), (wrote, threads)) = (mpsc::channel(), mpsc::channel());
    let thread = WriterThread::default();
    let queue = || thread.queue(Box::new(Traced(end.clone(), wrote.clone()))).unwrap();
    let [first, second] = [queue(), queue()];
    first.push(vec![1]);
    drop(first.end());
    drop(first);
    drop(thread);
    assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty), "the second log goes on");
    second.push(vec![2]);
    drop(second.end());
    drop(second);
    ended.recv().unwrap();
    assert_eq!(threads.recv().unwrap(), threads.recv().unwrap());
}

#[test]
fn neither_a_task_nor_the_end_of_a_runtime_waits_for_a_writer_that_hangs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (writer, permit, seen) = slow();
    let queue = WriterThread::default().queue(writer).unwrap();
    queue.push(vec![1]);
    runtime.block_on(queue.end().wait());
    runtime.spawn(queue.end().wait());
    drop(runtime);
    permit.send(()).unwrap();
    assert!(seen.iter().eq([[1]]), "nothing is lost of it all the same");
}
