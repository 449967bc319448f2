//! Flow control: how much may be sent on a stream (RFC 9000 §4), and how windows grow on a long
//! path.
//!
//! - `credit`: the credit that each end gives to the other
//! - `auto_tune`: receive windows that grow to fit the path

mod auto_tune;
mod credit;

pub(super) use self::{
    auto_tune::AutoTune,
    credit::{RecvCredit, SendCredit},
};
