//! The headers `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 §4.1, §4.2.2). With
//! `Sec-WebSocket-Accept` a server proves that it has read the key.

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// A server appends this to the key before it computes the hash (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns a fresh nonce for `Sec-WebSocket-Key`: 16 random bytes in Base64.
pub(super) fn generate_key() -> String {
    BASE64.encode(&rand::random::<[u8; 16]>())
}

/// Returns the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub(super) fn accept_key(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standards_example_has_its_answer() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn each_key_is_16_fresh_bytes() {
        let [first, second] = [generate_key(), generate_key()];
        assert_ne!(first, second);
        assert_eq!(BASE64.decode(first.as_bytes()).unwrap().len(), 16);
    }
}
