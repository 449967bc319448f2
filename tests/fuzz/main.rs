//! Runs the targets of `fuzz/` without a fuzzer, on the inputs that the fuzzer found interesting
//! and on random bytes.

use std::{fs, panic, path::Path};

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use wsmux::proto::Wire;
use wsmux_testing::fuzz::{codec, engine, pair};

/// Runs the same cases each time, unless the environment sets PROPTEST_RNG_SEED or PROPTEST_CASES.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 300;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5eed);
    }
    config
}

fn replay(name: &str, target: impl Fn(&[u8]) + panic::RefUnwindSafe) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} holds nothing", corpus.display());
    for input in inputs {
        let data = fs::read(&input).unwrap();
        let outcome = panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "{} fails, see above", input.display());
    }
}

#[test]
fn what_the_fuzzer_has_kept_of_each_target_passes() {
    replay("qmux", |data| codec::run(Wire::QMux, data));
    replay("jsws", |data| codec::run(Wire::JsWs, data));
    replay("engine", engine::run);
    replay("pair", pair::run);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_a_message_or_an_error(data in vec(any::<u8>(), 0..200)) {
        codec::run(Wire::QMux, &data);
        codec::run(Wire::JsWs, &data);
    }

    #[test]
    fn any_peer_and_any_application_leave_the_engine_bounded(data in vec(any::<u8>(), 0..2_000)) {
        engine::run(&data);
    }

    #[test]
    fn any_two_applications_and_any_link_keep_every_promise(data in vec(any::<u8>(), 0..2_000)) {
        pair::run(&data);
    }
}
