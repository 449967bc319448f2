//! A client that calls without pause, and reconnects when it has to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    task::JoinSet,
    time::sleep,
};
use wsmux::{
    ConnectError, ConnectionError, OpenError, ReadError, ReadToEndError, WebSocketClient,
    WebSocketConnection, WriteError,
};

use super::super::{interop::within, proxy::Proxy};
use super::server::{ANSWER, Call, Ledger};

/// How many tasks call at the same time. Each task has one call in progress at a time.
const CALLERS: usize = 8;
/// How many slow calls are also in progress when a server shuts down.
const SLOW_CALLS: usize = 4;

/// The pause after a failed attempt to connect. One server is always up, but the proxy may not know
/// yet which server that is.
const BACKOFF: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Answered,
    Failed(Failure),
}

#[derive(Debug, Clone)]
#[allow(dead_code, reason = "for the message of a test that fails")]
pub(super) enum Failure {
    NotConnected(ConnectError),
    NotOpened(OpenError),
    /// The server did not accept the stream. No application resets or stops a stream in these
    /// tests, so each reset or stop means that the server has refused the stream.
    Refused,
    Lost(ConnectionError),
}

impl Failure {
    pub(super) fn says_that_nothing_was_done(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::Refused,
            WriteError::ConnectionLost(error) => Self::Lost(error),
            other => panic!("{other}"),
        }
    }
}

impl From<ReadToEndError> for Failure {
    fn from(error: ReadToEndError) -> Self {
        match error {
            ReadToEndError::Read(ReadError::Reset(_)) => Self::Refused,
            ReadToEndError::Read(ReadError::ConnectionLost(error)) => Self::Lost(error),
            other => panic!("{other}"),
        }
    }
}

pub(super) struct Caller {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

struct Shared {
    client: WebSocketClient,
    url: String,
    /// The connection for new calls, with its number.
    current: AsyncMutex<(u64, Option<WebSocketConnection>)>,
    next_question: AtomicU64,
    answered: watch::Sender<u64>,
    attempts: Mutex<Vec<(Call, Outcome)>>,
    stop: AtomicBool,
}

impl Caller {
    pub(super) fn start(proxy: &Proxy) -> Self {
        let shared = Arc::new(Shared {
            client: WebSocketClient::builder().build().expect("a client"),
            url: proxy.url(),
            current: AsyncMutex::default(),
            next_question: AtomicU64::new(0),
            answered: watch::Sender::new(0),
            attempts: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let shared = shared.clone();
            callers.spawn(async move {
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.ask().await;
                }
            });
        }
        Self { shared, callers }
    }

    /// Waits for `count` further answers.
    pub(super) async fn answered(&self, count: u64) {
        let mut answered = self.shared.answered.subscribe();
        let goal = *answered.borrow() + count;
        let waiting = answered.wait_for(|&answered| answered >= goal);
        within("answers", waiting).await.expect("a client that lives");
    }

    /// Makes calls that are not answered before their server drains, and waits until the server has
    /// begun all of them.
    pub(super) async fn call_slowly(&self, ledger: &Ledger) -> SlowCalls {
        let connection =
            within("connecting", self.shared.connection()).await.expect("a connection").1;
        let mut calls = JoinSet::new();
        let mut server = None;
        for _ in 0..SLOW_CALLS {
            let call = self.shared.question(true);
            let (shared, connection) = (self.shared.clone(), connection.clone());
            calls.spawn(async move { shared.attempt(Ok(connection), call).await });
            server = Some(within("a call's begin", ledger.begun(call)).await);
        }
        SlowCalls { server: server.expect("a call"), calls }
    }

    /// Makes no new calls, waits until the calls in progress have ended, and returns all calls.
    pub(super) async fn stop(self) -> Vec<(Call, Outcome)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        // This drops the last connection, so the servers of the pool have nothing left to wait for.
        *self.shared.current.lock().await = (0, None);
        std::mem::take(&mut *self.shared.attempts.lock().unwrap())
    }
}

/// Calls that a server has begun to execute, and that the server answers only when it drains.
pub(super) struct SlowCalls {
    pub(super) server: usize,
    calls: JoinSet<Outcome>,
}

impl SlowCalls {
    pub(super) async fn expect_answers(self) {
        for outcome in within("slow answers", self.calls.join_all()).await {
            assert!(matches!(outcome, Outcome::Answered), "a call under way: {outcome:?}");
        }
    }

    pub(super) async fn expect_losses(self) {
        for outcome in within("slow losses", self.calls.join_all()).await {
            let lost =
                matches!(outcome, Outcome::Failed(Failure::Lost(ConnectionError::SocketLost(_))));
            assert!(lost, "a call whose server was killed: {outcome:?}");
        }
    }
}

impl Shared {
    fn question(&self, slow: bool) -> Call {
        let question = self.next_question.fetch_add(1, Ordering::Relaxed);
        Call { question, attempt: 0, slow }
    }

    /// Asks one question. Makes as many calls as are needed until one of them is answered.
    async fn ask(&self) {
        let mut call = self.question(false);
        loop {
            let (number, connection) = match self.connection().await {
                Ok((number, connection)) => (number, Ok(connection)),
                Err(error) => (0, Err(error)),
            };
            let connected = connection.is_ok();
            if let Outcome::Answered = self.attempt(connection, call).await {
                return;
            }
            match connected {
                true => self.leave(number).await,
                false => sleep(BACKOFF).await,
            }
            call.attempt += 1;
        }
    }

    async fn attempt(
        &self,
        connection: Result<WebSocketConnection, ConnectError>,
        call: Call,
    ) -> Outcome {
        let result = match connection {
            Ok(connection) => call_on(&connection, call).await,
            Err(error) => Err(Failure::NotConnected(error)),
        };
        let outcome = match result {
            Ok(()) => Outcome::Answered,
            Err(failure) => Outcome::Failed(failure),
        };
        self.attempts.lock().unwrap().push((call, outcome.clone()));
        if let Outcome::Answered = outcome {
            self.answered.send_modify(|answered| *answered += 1);
        }
        outcome
    }

    /// Returns the connection for new calls and its number. Connects if there is none.
    async fn connection(&self) -> Result<(u64, WebSocketConnection), ConnectError> {
        let mut current = self.current.lock().await;
        if let (number, Some(connection)) = &*current {
            return Ok((*number, connection.clone()));
        }
        let connection = self.client.connect(&self.url).await?;
        *current = (current.0 + 1, Some(connection.clone()));
        Ok((current.0, connection))
    }

    /// Makes no new calls on this connection. The connection lives as long as the calls that are in
    /// progress on it.
    async fn leave(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.0 == number {
            current.1 = None;
        }
    }
}

async fn call_on(connection: &WebSocketConnection, call: Call) -> Result<(), Failure> {
    let stream = connection.open_bi().await.map_err(Failure::NotOpened)?;
    let (mut send, mut recv) = stream.into_split();
    send.write_all(&call.to_bytes()).await?;
    send.finish()?;
    let answer = within("an answer or an error", recv.read_to_end(ANSWER)).await?;
    assert_eq!(answer.len(), ANSWER, "an end that looks complete is complete");
    assert_eq!(Call::from_bytes(&answer), call, "each answer is to its question");
    Ok(())
}
