//! The identity of a session, and the proofs that a new socket belongs to it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The length of a session's secret in bytes.
pub(super) const SECRET_LEN: usize = 32;

/// The length of a session's id in bytes.
pub(super) const ID_LEN: usize = 16;

/// The length of a proof in bytes.
pub(super) const PROOF_LEN: usize = 32;

/// A proof that its sender knows the secret of a session.
pub(super) type Proof = [u8; PROOF_LEN];

/// The name of a session. The server chooses this name, and finds the session by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; ID_LEN]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The id and the secret of a session. The server chooses both for each connection, from the
/// system's random source, and sends them to the client once. `Debug` does not show the secret, and
/// keys cannot be compared, because a comparison would not take a constant time.
#[derive(Clone)]
pub struct SessionKeys {
    pub(super) id: SessionId,
    pub(super) secret: [u8; SECRET_LEN],
}

impl SessionKeys {
    /// Creates keys from random bytes. Nobody must be able to guess these bytes, and no two
    /// connections of a server may have the same id.
    pub fn new(id: [u8; ID_LEN], secret: [u8; SECRET_LEN]) -> Self {
        Self { id: SessionId(id), secret }
    }

    /// Returns the name of the session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the proof of one side for one attempt to resume. `received` is how many messages
    /// that side has received.
    pub(super) fn proof(&self, by: Prover, attempt: u64, received: u64) -> Proof {
        self.mac(by, attempt, received).finalize().into_bytes().into()
    }

    /// Whether a proof equals the proof that [`proof`](Self::proof) returns. The time that the
    /// comparison takes does not depend on the proof.
    pub(super) fn verify(&self, by: Prover, attempt: u64, received: u64, proof: &Proof) -> bool {
        //
        self.mac(by, attempt, received).verify(&(*proof).into()).is_ok()
    }

    fn mac(&self, by: Prover, attempt: u64, received: u64) -> Hmac<Sha256> {
        let mut block = [0; 64];
        block[..SECRET_LEN].copy_from_slice(&self.secret);
        // A key that is shorter than a block is filled up with zeros (RFC 2104).
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(by.label());
        mac.update(&self.id.0);
        mac.update(&attempt.to_be_bytes());
        mac.update(&received.to_be_bytes());
        mac
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The side that proves that it knows the secret. Each side has its own label, so the proof of one
/// side is not valid as a proof of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prover {
    Client,
    Server,
}

impl Prover {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Client => b"wsmux resume request",
            Self::Server => b"wsmux resume answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: SessionKeys = SessionKeys { id: SessionId([1; ID_LEN]), secret: [2; SECRET_LEN] };

    /// The proof MUST be HMAC-SHA256 under the session's secret. Its input MUST be a label,
    /// the session id, the attempt and the count. The label is the 20 ASCII bytes `wsmux resume
    /// request` from a client, and the 19 ASCII bytes `wsmux resume answer` from a server. The
    /// attempt and the count have 8 bytes each, in network byte order.
    #[test]
    fn the_proof_is_the_hmac_that_the_specification_says() {
        // python3 -c 'import hmac; print(hmac.digest(bytes([2])*32, b"wsmux resume request"
        //   + bytes([1])*16 + (3).to_bytes(8,"big") + (4).to_bytes(8,"big"), "sha256").hex())'
        for (by, expected) in [(Prover::Client, CLIENT_PROOF), (Prover::Server, SERVER_PROOF)] {
            let proof = KEYS.proof(by, 3, 4);
            let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{by:?}");
        }
    }

    /// Proofs MUST be compared in constant time.
    #[test]
    fn a_proof_verifies_only_what_it_was_made_for() {
        let proof = KEYS.proof(Prover::Client, 3, 4);
        assert!(KEYS.verify(Prover::Client, 3, 4, &proof));
        assert!(!KEYS.verify(Prover::Server, 3, 4, &proof));
        assert!(!KEYS.verify(Prover::Client, 4, 4, &proof));
        assert!(!KEYS.verify(Prover::Client, 3, 5, &proof));
        for bit in 0..PROOF_LEN * 8 {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!KEYS.verify(Prover::Client, 3, 4, &wrong), "bit {bit}");
        }
        let other = SessionKeys { secret: [3; SECRET_LEN], ..KEYS };
        assert!(!other.verify(Prover::Client, 3, 4, &proof));
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(
            format!("{KEYS:?}"),
            format!("SessionKeys {{ id: {}, .. }}", "01".repeat(ID_LEN))
        );
    }

    const CLIENT_PROOF: &str = "8e2f57f2eb65b7e668e14dfb8b22a5689fa7e045e49255e1839eeb17e6477c03";
    const SERVER_PROOF: &str = "e89ed8144d5a720e6745e679fffaa5fab497f8443bc7063158f4b837118cab01";
}
