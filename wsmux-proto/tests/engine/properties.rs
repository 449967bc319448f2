//! Property tests of two engines. Two applications call the engines in any order, over a pipe of
//! any capacity. The tests check what must hold after each step and what must have happened at the
//! end.

use crate::support::{
    world::{Ending, Op, World},
    *,
};
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use wsmux_proto::{Dir, Wire};

/// Runs the same cases each time, unless the environment sets PROPTEST_RNG_SEED or PROPTEST_CASES.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 200;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5eed);
    }
    config
}

fn op() -> impl Strategy<Value = Op> {
    let side = || prop_oneof![Just(CLIENT), Just(SERVER)];
    let nth = || 0usize..8;
    prop_oneof![
        3 => (side(), prop_oneof![3 => Just(Dir::Bi), 1 => Just(Dir::Uni)])
            .prop_map(|(side, dir)| Op::Open(side, dir)),
        4 => side().prop_map(Op::Accept),
        6 => (side(), nth(), 0usize..3_000).prop_map(|(s, n, len)| Op::Write(s, n, len)),
        3 => (side(), nth(), 0usize..20_000).prop_map(|(s, n, len)| Op::WriteChunk(s, n, len)),
        8 => (side(), nth(), 1usize..5_000).prop_map(|(s, n, max)| Op::Read(s, n, max)),
        2 => (side(), nth()).prop_map(|(s, n)| Op::Finish(s, n)),
        1 => (side(), nth()).prop_map(|(s, n)| Op::Reset(s, n)),
        1 => (side(), nth()).prop_map(|(s, n)| Op::Stop(s, n)),
        1 => (side(), nth(), -2..3).prop_map(|(s, n, to)| Op::Priority(s, n, to)),
        1 => (side(), nth()).prop_map(|(s, n)| Op::DropSender(s, n)),
        1 => (side(), nth()).prop_map(|(s, n)| Op::DropReceiver(s, n)),
        1 => (side(), nth()).prop_map(|(s, n)| Op::Announce(s, n)),
        1 => (side(), 0usize..2_000).prop_map(|(s, len)| Op::Datagram(s, len)),
        1 => (side(), proptest::option::of(1usize..5_000)).prop_map(|(s, width)| Op::Pipe(s, width)),
        1 => (side(), nth(), 0u64..5_000).prop_map(|(s, n, at)| Op::ResetAt(s, n, at)),
        1 => (side(), 100u64..50_000).prop_map(|(s, window)| Op::Window(s, window)),
        1 => (side(), 0u64..6).prop_map(|(s, count)| Op::Limit(s, count)),
        1 => (0u64..300).prop_map(Op::Pass),
        8 => (1usize..6).prop_map(Op::Steps),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    let side = || prop_oneof![Just(CLIENT), Just(SERVER)];
    prop_oneof![
        5 => Just(Ending::WindUp),
        1 => Just(Ending::Cut),
        1 => side().prop_map(Ending::Close),
        1 => side().prop_map(Ending::Drain),
    ]
}

proptest! {
    #![proptest_config(cases())]

    /// [C-13] Bytes that have arrived MUST be readable in order, until they are read, discarded by
    /// a reset, or discarded by our own stop.
    /// [C-24] The final size of a reset MUST be the number of bytes handed to the transport, not
    /// the number that the application wrote.
    /// [C-26] We MUST NOT send more stream bytes than the peer has granted to the stream, not even
    /// for a moment.
    /// [C-53] The memory that is allocated for a connection MUST NOT exceed the formula of §10 at
    /// any time.
    /// [C-54] When all streams have ended and been read, every table and queue MUST be empty again.
    /// [C-57] The windows of a connection together MUST NOT grow by more than the connection's
    /// growth budget. The window of one stream MUST NOT grow by more than half of the budget that
    /// the growth of the other windows leaves. Every stream keeps the window that it began with.
    /// When this end no longer has to store arriving data of a stream, the growth of the stream's
    /// window returns to the budget, except for the part that unread data occupies.
    /// [J-28] The sum of the credit we have granted on a stream and the bytes not yet read MUST NOT
    /// exceed the stream's window.
    /// A STREAM frame we send MUST carry the offset of its first byte. The frames of one
    /// stream are sent in order, without gap or overlap.
    #[test]
    fn every_byte_arrives_in_order_or_both_ends_know_and_no_stream_is_left(
        js_ws in any::<bool>(),
        window in prop_oneof![1u64..10, 100u64..5_000, Just(65_536)],
        max_window in prop_oneof![1u64..20, 100u64..50_000],
        budget in prop_oneof![Just(0u64), 1u64..100, 1_000u64..100_000],
        send_buffer in prop_oneof![1usize..10, 100usize..10_000],
        // The latency is at least 1 ms. If no time passed, a window of one byte would need more
        // grants at once than the budget allows.
        latency in 1u64..100,
        ops in vec(op(), 1..150),
        ending in ending(),
    ) {
        let wire = if js_ws { Wire::JsWs } else { Wire::QMux };
        let mut world = World::new(wire, (window, max_window, budget), send_buffer, latency);
        for op in &ops {
            world.apply(op);
        }
        world.end(ending);
    }
}
