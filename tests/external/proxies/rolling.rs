//! A rolling restart of two servers behind a proxy. Each server is drained and started again, one
//! after the other. Meanwhile a client makes calls without a pause. A call is one attempt to get
//! one question answered, on a stream of its own. Client and servers count every call.
//!
//! The client in this file keeps a plain connection, so it learns of a drain when a call is
//! refused. In [`reconnecting`] the servers tell the clients of the drain, and no call fails.

mod caller;
mod reconnecting;
mod server;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use caller::{Caller, Outcome};
use server::{Ledger, Server};

use super::{interop::within, proxy::*};

/// How many calls must be answered before and after each step, so that each step happens under
/// load.
const CALLS_BETWEEN: u64 = 100;

/// How many restarts a test makes. Each step restarts the server to which the client is connected,
/// and the client then moves to the other server. So each server is restarted at least twice.
const STEPS: usize = 4;

/// How the proxy learns that a server shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// A command tells the proxy before the drain begins.
    Command,
    /// The proxy sees that the server's port no longer accepts connections.
    Port,
}

/// Two servers, the proxy in front of them, and the client.
struct Pool {
    proxy: Proxy,
    ports: [Port; 2],
    servers: [Option<Server>; 2],
    ledger: Arc<Ledger>,
    caller: Caller,
}

impl Pool {
    async fn start(kind: Kind, checks: bool) -> Self {
        let ledger = Arc::new(Ledger::default());
        let ports = [Port::reserve(), Port::reserve()];
        let addresses = ports.each_ref().map(Port::address);
        let servers = [0, 1].map(|name| Server::start(name, addresses[name], &ledger));
        let settings = Settings { checks, ..Settings::default() };
        let proxy = Proxy::start(kind, &settings, &addresses).await;
        let caller = Caller::start(&proxy);
        Self { proxy, ports, servers: servers.map(Some), ledger, caller }
    }

    /// Drains the server to which the client is connected, and starts it again. Returns which
    /// server that was.
    async fn restart_one(&mut self, notice: Notice) -> usize {
        self.caller.answered(CALLS_BETWEEN).await;
        let slow = self.caller.call_slowly(&self.ledger).await;
        let old = slow.server;
        let name = ["a", "b"][old];
        if notice == Notice::Command {
            self.proxy.tell(&format!("set server wsmux/{name} state drain")).await;
        }
        let server = self.servers[old].take().expect("a server");
        within("the drain", server.drain()).await;
        slow.expect_answers().await;

        self.caller.answered(CALLS_BETWEEN).await;
        self.start_again(old);
        if notice == Notice::Command {
            self.proxy.tell(&format!("set server wsmux/{name} state ready")).await;
        }
        old
    }

    fn start_again(&mut self, name: usize) {
        let address = self.ports[name].address();
        self.servers[name] = Some(Server::start(name, address, &self.ledger));
    }

    /// Stops the calls, and compares the client's record with the servers' record.
    async fn settle(self) -> Account {
        let Self { caller, ledger, servers, proxy, .. } = self;
        let attempts = within("the last answers", caller.stop()).await;
        for server in servers.into_iter().flatten() {
            within("the drain", server.drain()).await;
        }
        drop(proxy);
        let mut account = Account { calls: attempts.len() as u64, ..Account::default() };
        for (call, outcome) in attempts {
            let executed = ledger.executions(call);
            assert!(executed <= 1, "{call:?} was executed {executed} times");
            match outcome {
                Outcome::Answered => {
                    assert_eq!(executed, 1, "{call:?} was answered");
                    account.answered += 1;
                }
                Outcome::Failed(failure) => {
                    let refused = failure.says_that_nothing_was_done();
                    assert!(!refused || executed == 0, "{call:?} was done, but: {failure:?}");
                    account.failed += 1;
                    account.done_but_failed += u64::from(executed);
                }
            }
        }
        assert_eq!(account.calls, account.answered + account.failed);
        account
    }
}

#[derive(Debug, Default)]
struct Account {
    calls: u64,
    answered: u64,
    failed: u64,
    /// How many calls failed although they were executed, because their answers were lost.
    done_but_failed: u64,
}

async fn a_rolling_restart(kind: Kind, checks: bool, notice: Notice) {
    let mut pool = Pool::start(kind, checks).await;
    for _ in 0..STEPS {
        pool.restart_one(notice).await;
        if checks {
            // Like an operator, the test waits until the restarted server is back before it
            // restarts the other server.
            let up = async {
                while pool.proxy.tell("show stat").await.matches(",UP,").count() < 3 {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            within("both servers' return", up).await;
        }
    }
    let account = pool.settle().await;
    // The assertions in `settle` allow for lost answers. A drain does better: the server answers
    // every call that it has accepted.
    assert_eq!(account.done_but_failed, 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_call_when_haproxy_is_told_of_it() {
    a_rolling_restart(Kind::HaProxy, false, Notice::Command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_call_when_haproxy_checks_the_servers() {
    a_rolling_restart(Kind::HaProxy, true, Notice::Port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_call_when_nginx_finds_the_port_closed() {
    a_rolling_restart(Kind::Nginx, false, Notice::Port).await;
}

/// When a server is killed, the client cannot know whether the calls in progress were executed, but
/// it knows which calls were in progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_that_is_lost_with_a_killed_server_says_so() {
    let mut pool = Pool::start(Kind::HaProxy, true).await;
    for _ in 0..2 {
        pool.caller.answered(CALLS_BETWEEN).await;
        let slow = pool.caller.call_slowly(&pool.ledger).await;
        let old = slow.server;
        let server = pool.servers[old].take().expect("a server");
        within("the server's end", server.kill()).await;
        slow.expect_losses().await;
        pool.caller.answered(CALLS_BETWEEN).await;
        pool.start_again(old);
    }
    let account = pool.settle().await;
    assert!(account.done_but_failed > 0, "the slow calls had begun: {account:?}");
}
