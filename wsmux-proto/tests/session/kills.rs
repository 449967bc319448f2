//! The socket is lost at any message, in either direction, and during any step of a resumption.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};
use wsmux_proto::SessionState;

use crate::{
    apps::{Kill, Loss, World},
    support::ms,
};

/// How many messages a socket holds in each direction. So a loss destroys at most this many
/// messages in each direction.
const CAPACITY: usize = 3;

fn small() -> World {
    World::new(7, 2_500, CAPACITY)
}

/// Returns how many items are delivered if no socket is lost.
fn deliveries() -> usize {
    let mut world = small();
    world.run(&[]);
    world.delivered
}

/// Each message after the sender's transport parameters MUST be counted when it is handed to
/// the WebSocket, even if it is empty. Two kinds of messages are not counted: a message that
/// consists of SESSION_ACK alone, and a message that is sent once the connection has ended. The
/// receiver counts a message when it processes it.
/// After the answer, each end MUST first send again, in order, exactly the counted messages
/// that the other end has not received, and then continue. An end delivers no message twice.
#[test]
fn no_byte_is_lost_or_repeated_wherever_the_socket_is_lost() {
    let total = deliveries();
    assert!(total > 50, "{total} deliveries");
    for after in 0..total {
        let mut most = [CAPACITY; 2];
        let (mut to_server, mut to_client) = (0, 0);
        // All numbers of items that still arrive, in both directions.
        while to_server <= most[0] {
            let kill = Kill { after, keep: [to_server, to_client], loss: Loss::Cut };
            most = small().run(&[kill]);
            to_client += 1;
            if to_client > most[1] {
                (to_server, to_client) = (to_server + 1, 0);
            }
        }
        for keep in [[0, 0], [most[0], 0], [0, most[1]], most] {
            for loss in &Loss::ALL[1..] {
                small().run(&[Kill { after, keep, loss: *loss }]);
            }
        }
    }
}

/// The newer WebSocket MUST win: an accepted request ends the use of the older WebSocket,
/// even if the older WebSocket still works. Nothing that arrives from the older WebSocket later has
/// an effect.
#[test]
fn a_resumption_that_is_interrupted_at_any_step_is_done_again() {
    let total = deliveries();
    for after in (0..total).step_by(12) {
        for keep in [[0, 0], [CAPACITY, CAPACITY]] {
            // The server's parameters, the request, the answer, and what is sent again.
            for during in 0..8 {
                for loss in [Loss::Cut, Loss::ALL[1 + (after + during) % 4]] {
                    let first = Kill { after, keep, loss: Loss::Cut };
                    let second = Kill { after: during, keep: [0, 0], loss };
                    let third = Kill { after: during / 2, keep: [0, 1], loss };
                    small().run(&[first, second]);
                    small().run(&[first, second, third]);
                }
            }
        }
    }
}

#[test]
fn a_connection_survives_the_loss_of_hundreds_of_sockets() {
    let kill = Kill { after: 6, keep: [1, 0], loss: Loss::Cut };
    let mut world = World::new(30, 9_000, CAPACITY);
    world.run(&[kill; 300]);
    let stats = world.net.client.session.session_stats();
    assert!(stats.resumptions > 20, "{stats:?}");
    assert_eq!(world.net.server.session.state(), SessionState::Live);
}

/// Runs the same cases each time, unless the environment sets PROPTEST_RNG_SEED or PROPTEST_CASES.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 100;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5e55);
    }
    config
}

fn kill() -> impl Strategy<Value = Kill> {
    (0usize..60, 0usize..8, 0usize..8, select(&Loss::ALL[..])).prop_map(
        |(after, to_server, to_client, loss)| Kill { after, keep: [to_server, to_client], loss },
    )
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_losses_at_any_time_leave_every_stream_intact(
        streams in 1u64..8,
        largest in 1usize..8_000,
        capacity in 1usize..20,
        tick in prop_oneof![Just(1u64), 50u64..500],
        kills in vec(kill(), 0..20),
    ) {
        let mut world = World::new(streams, largest, capacity);
        world.tick = ms(tick);
        world.run(&kills);
    }

    #[test]
    fn any_losses_with_full_budgets_leave_every_stream_intact(
        largest in 100_000usize..400_000,
        capacity in 1usize..20,
        tick in prop_oneof![Just(1u64), 50u64..500],
        kills in vec(kill(), 0..20),
    ) {
        let mut world = World::large(2, largest, capacity);
        world.tick = ms(tick);
        world.run(&kills);
    }
}
