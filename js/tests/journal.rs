//! The events that a server has seen, for a test to query.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, mpsc, watch};

pub(crate) struct Journal {
    /// The events of streams, in the order in which they happened.
    tell: mpsc::UnboundedSender<String>,
    told: Mutex<mpsc::UnboundedReceiver<String>>,
    /// How connections have ended.
    end: mpsc::UnboundedSender<String>,
    ended: Mutex<mpsc::UnboundedReceiver<String>>,
    /// How many bytes writes have accepted.
    written: AtomicU64,
    /// Whether the command `release` has been received. Streams with the command `hold` are read
    /// only after this command.
    released: watch::Sender<bool>,
}

impl Default for Journal {
    fn default() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (end, ended) = mpsc::unbounded_channel();
        Self {
            tell,
            told: Mutex::new(told),
            end,
            ended: Mutex::new(ended),
            written: AtomicU64::default(),
            released: watch::Sender::new(false),
        }
    }
}

impl Journal {
    pub(crate) fn tell(&self, news: impl Into<String>) {
        // The send cannot fail, because the journal holds the other end.
        let _ = self.tell.send(news.into());
    }

    /// Waits for the next event.
    pub(crate) async fn told(&self) -> String {
        self.told.lock().await.recv().await.unwrap_or_default()
    }

    pub(crate) fn end(&self, news: impl Into<String>) {
        let _ = self.end.send(news.into());
    }

    pub(crate) async fn ended(&self) -> String {
        self.ended.lock().await.recv().await.unwrap_or_default()
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    pub(crate) async fn released(&self) {
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}
