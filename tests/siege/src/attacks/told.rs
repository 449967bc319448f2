//! What an attacker did, and how its connections ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Told {
    pub connections: u64,
    pub messages: u64,
    pub bytes: u64,
    /// How the connections ended, and how often in each way. Each key contains the victim's reason,
    /// so there are only a few keys.
    pub ends: BTreeMap<String, u64>,
}

impl Told {
    pub fn end(&mut self, how: impl Into<String>) {
        *self.ends.entry(how.into()).or_default() += 1;
    }
}
