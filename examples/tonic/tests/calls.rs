//! Each kind of call that gRPC has, through generated code, over streams of one connection.

use std::{error::Error, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, transport::Server};
use wsmux::{Config, SendStream, WebSocketClient, WebSocketConnection, WebSocketServer};
use wsmux_tonic::{
    tally::{Adder, Number, Pair, TallyClient, TallyServer},
    transport::{channel, incoming},
};

type Client = TallyClient<tonic::transport::Channel>;

/// Waits for a future. The test fails after a time that is ample for success.
async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// A client's connection, and the server that it is connected to.
struct Ends {
    connection: WebSocketConnection,
    server_end: WebSocketConnection,
    adder: Adder,
    draining: oneshot::Sender<()>,
}

impl Ends {
    async fn new(config: Config) -> Self {
        let server = WebSocketServer::builder().protocol("grpc").config(config.clone());
        let server = server.bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/", server.local_addr().expect("an address"));
        let client =
            WebSocketClient::builder().protocol("grpc").config(config).build().expect("a client");
        let accept = async { server.accept().await.expect("a client").await };
        let (connection, server_end) = tokio::join!(client.connect(&url), accept);
        let (connection, server_end) =
            (connection.expect("a connection"), server_end.expect("a connection"));
        let adder = Adder::default();
        let service = TallyServer::new(adder.clone());
        let streams = incoming(server_end.clone());
        let (draining, told) = oneshot::channel();
        let told = async { told.await.unwrap_or(()) };
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming_shutdown(streams, told));
        Self { connection, server_end, adder, draining }
    }

    fn client(&self) -> Client {
        TallyClient::new(channel(self.connection.clone()))
    }

    async fn calls_under_way(&self, count: usize) {
        let mut calls = self.adder.under_way();
        within("so many calls", calls.wait_for(|&calls| calls == count)).await.expect("a server");
    }
}

#[tokio::test]
async fn a_unary_call_is_answered() {
    let ends = Ends::new(Config::default()).await;
    let sum = within("a sum", ends.client().add(Pair { left: 40, right: 2 })).await.expect("a sum");
    assert_eq!(sum.into_inner().value, 42);
    let error = ends.client().add(Pair { left: u64::MAX, right: 1 }).await.expect_err("too much");
    assert_eq!(error.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_server_streams_its_answer() {
    let ends = Ends::new(Config::default()).await;
    let numbers = ends.client().count(Number { value: 100_000 }).await.expect("numbers");
    let mut numbers = numbers.into_inner();
    for expected in 0..100_000 {
        let number = within("a number", numbers.message()).await.expect("a clean stream");
        assert_eq!(number.expect("a number").value, expected);
    }
    assert_eq!(numbers.message().await.expect("a clean end"), None);
}

#[tokio::test]
async fn a_client_streams_its_question() {
    let ends = Ends::new(Config::default()).await;
    let numbers = tokio_stream::iter(0..100_000).map(|value| Number { value });
    let sum = within("a sum", ends.client().sum(numbers)).await.expect("a sum");
    assert_eq!(sum.into_inner().value, 4_999_950_000);
}

#[tokio::test]
async fn both_stream_and_each_waits_for_the_other() {
    let ends = Ends::new(Config::default()).await;
    let (numbers, receiver) = mpsc::channel(1);
    let sums = ends.client().running_sum(ReceiverStream::new(receiver)).await.expect("sums");
    let mut sums = sums.into_inner();
    for (value, expected) in [(1, 1), (2, 3), (3, 6), (4, 10)] {
        numbers.send(Number { value }).await.expect("a call under way");
        let sum = within("a sum", sums.message()).await.expect("a clean stream");
        assert_eq!(sum.expect("a sum").value, expected);
    }
    drop(numbers);
    assert_eq!(within("the end", sums.message()).await.expect("a clean end"), None);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_dropped_at_the_server() {
    let ends = Ends::new(Config::default()).await;
    let mut client = ends.client();
    let mut waiting = client.clone();
    let call = tokio::spawn(async move { waiting.wait(Number { value: u64::MAX >> 20 }).await });
    ends.calls_under_way(1).await;
    let mut numbers = client.count(Number { value: 0 }).await.expect("numbers").into_inner();
    numbers.message().await.expect("a clean stream").expect("a number");
    ends.calls_under_way(2).await;

    call.abort();
    ends.calls_under_way(1).await;
    drop(numbers);
    ends.calls_under_way(0).await;
    // The channel's stream is unaffected.
    client.add(Pair::default()).await.expect("a sum");
}

#[tokio::test]
async fn a_deadline_ends_a_call_at_both_ends() {
    let ends = Ends::new(Config::default()).await;
    let mut request = Request::new(Number { value: u64::MAX >> 20 });
    request.set_timeout(Duration::from_millis(200));
    let error = within("the deadline", ends.client().wait(request)).await.expect_err("too late");
    // If a deadline ends a call, tonic's client reports this status, and the error's source is the
    // cause.
    assert_eq!(error.code(), Code::Cancelled);
    let mut source = error.source();
    while let Some(error) = source.filter(|error| !error.is::<tonic::TimeoutExpired>()) {
        source = error.source();
    }
    assert!(source.is_some(), "not a deadline, but {error:?}");
    ends.calls_under_way(0).await;
}

#[tokio::test]
async fn a_server_calls_its_client_over_a_stream_of_its_own() {
    let ends = Ends::new(Config::default()).await;
    let service = TallyServer::new(Adder::default());
    let streams = incoming(ends.connection.clone());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(streams));
    let mut client = TallyClient::new(channel(ends.server_end.clone()));
    let sum = within("an answer", client.add(Pair { left: 1, right: 2 })).await.expect("a sum");
    assert_eq!(sum.into_inner().value, 3);
}

#[tokio::test]
async fn a_call_whose_connection_ends_fails_and_its_channel_with_it() {
    let ends = Ends::new(Config::default()).await;
    let mut client = ends.client();
    let mut waiting = client.clone();
    let call = tokio::spawn(async move { waiting.wait(Number { value: u64::MAX >> 20 }).await });
    ends.calls_under_way(1).await;
    ends.server_end.close(7u32.into(), b"enough");
    let error = within("the end", call).await.expect("a task").expect_err("no answer");
    assert_eq!(error.code(), Code::Unknown);
    assert!(says(&error, "enough"), "{error:?}");
    let error = within("an error", client.add(Pair::default())).await.expect_err("no stream");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(says(&error, "enough"), "{error:?}");
}

fn says(error: &dyn Error, word: &str) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.to_string().contains(word) {
            return true;
        }
        next = error.source();
    }
    false
}

#[tokio::test]
async fn a_server_that_drains_answers_the_calls_under_way() {
    let ends = Ends::new(Config::default()).await;
    let mut client = ends.client();
    let call = tokio::spawn(async move {
        let answer = client.wait(Number { value: 1_000 }).await;
        (answer, client)
    });
    ends.calls_under_way(1).await;
    ends.draining.send(()).expect("a server");
    ends.server_end.drain();
    let (answer, _client) = within("an answer", call).await.expect("a task");
    assert_eq!(answer.expect("an answer").into_inner().value, 1_000);
    // The connection ends although the client keeps its channel.
    within("the connection's end", ends.server_end.closed()).await;
}

#[tokio::test]
async fn a_hundred_calls_at_once_pass_a_stalled_stream() {
    const WINDOW: usize = 64 * 1024;
    let mut config = Config::default();
    config.window_growth_budget(0).stream_receive_window(WINDOW as u64).send_buffer(WINDOW);
    let ends = Ends::new(config).await;

    // The answer on one channel is not read, and one plain stream of the connection is full.
    let mut stalled = ends.client();
    let mut numbers = stalled.count(Number { value: 0 }).await.expect("numbers").into_inner();
    numbers.message().await.expect("a clean stream").expect("a number");
    let mut full = ends.server_end.open_uni().await.expect("a stream");
    // At most `WINDOW` bytes can leave the send buffer, which holds another `WINDOW` bytes. So once
    // `2 * WINDOW` bytes are accepted, the credit is used up.
    within("filling", full.write_all(&vec![7; 2 * WINDOW])).await.expect("a stream");
    assert_is_full(&full, WINDOW);

    let mut calls = JoinSet::new();
    let client = ends.client();
    for left in 0..100 {
        let mut client = client.clone();
        calls.spawn(async move {
            let sum = client.add(Pair { left, right: 1 }).await.expect("a sum");
            assert_eq!(sum.into_inner().value, left + 1);
        });
    }
    within("a hundred answers", calls.join_all()).await;
    // The stalled call and the full stream have not moved.
    ends.calls_under_way(1).await;
    assert_is_full(&full, WINDOW);
}

fn assert_is_full(send: &SendStream, buffer: usize) {
    let stats = send.stats().expect("an open stream");
    assert_eq!((stats.credit, stats.buffered), (0, buffer as u64));
}
