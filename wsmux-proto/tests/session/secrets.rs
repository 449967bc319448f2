//! The `Debug` output of a session must not contain the secret of the session.

use std::fmt::Write;

use wsmux_proto::{Config, Connection, Session, SessionKeys, Time, Wire};

use crate::{
    net::{Net, resumable, transmit},
    support::*,
};

/// A secret whose bytes are printable, so that `Debug` of bytes would show them as they are.
const SECRET: [u8; 32] = *b"the secret of this very session!";

/// Whether a text contains a part of the secret: as characters, as numbers or as hexadecimal
/// digits.
fn shows_secret(text: &str) -> bool {
    let part = &SECRET[4..12];
    let decimals: Vec<_> = part.iter().map(u8::to_string).collect();
    let mut hex = String::new();
    part.iter().for_each(|byte| write!(hex, "{byte:02x}").expect("a string takes everything"));
    let escaped: String = part.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let pretty: String = text.split_whitespace().collect();
    [part.escape_ascii().to_string().replace(' ', ""), decimals.join(","), hex, escaped]
        .iter()
        .any(|form| pretty.to_lowercase().contains(form))
}

#[test]
fn debug_shows_the_secret_neither_before_nor_after_the_handshake() {
    for form in [format!("{SECRET:?}"), format!("{SECRET:#?}"), format!("{SECRET:02x?}")] {
        let hex = form.replace(", ", "");
        assert!(shows_secret(&form) || shows_secret(&hex), "{form}");
    }
    assert!(shows_secret(&format!("{:?}", bytes::Bytes::from_static(&SECRET))));

    let keys = SessionKeys::new([1; 16], SECRET);
    let engine = Connection::new(resumable(), SERVER, Wire::QMux, Time::EPOCH);
    let mut net = Net::unconnected(&resumable(), &Config::default());
    net.server.session = Session::new(engine, Some(keys.clone()));
    let check = |net: &Net| {
        for session in [&net.client.session, &net.server.session] {
            let shown = format!("{session:?} {session:#?}");
            assert!(!shows_secret(&shown), "{shown}");
        }
    };
    assert!(!shows_secret(&format!("{keys:?}")));
    check(&net);
    net.send_one(SERVER);
    check(&net);
    net.deliver_one(CLIENT);
    check(&net);
    net.settle();
    net.assert_live();
    check(&net);
    let link = net.server.link;
    assert_eq!(transmit(&mut net.server.session, net.now, link), None);
    net.cut();
    check(&net);
}
