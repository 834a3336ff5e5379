//! Hashes that stand for a text in a row without telling it.
//!
//! A plain hash of a short prompt can be guessed by trying candidates; a keyed one (HMAC-SHA-256)
//! only by who holds the key. The unkeyed form exists for users of the replaced module alone.

use std::fmt;

use sha2::{Digest, Sha256};

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// The key of keyed hashes. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct HashKey(Box<[u8]>);

impl HashKey {
    /// Takes any bytes as a key; 32 random ones are best.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The first 32 hex digits of HMAC-SHA-256 of `text`; empty text has no hash.
    pub fn hash(&self, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        Some(hex(&self.mac(text.as_bytes()), 16))
    }

    /// HMAC-SHA-256 (RFC 2104): H(key ^ 0x5c… ‖ H(key ^ 0x36… ‖ message)). Written out here because the
    /// crate for it brings three more into every host, for these few lines over `sha2`.
    fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut key = [0_u8; BLOCK];
        let hashed: [u8; 32];
        let short: &[u8] = if self.0.len() > BLOCK {
            hashed = Sha256::digest(&self.0).into();
            &hashed
        } else {
            &self.0
        };
        for (to, from) in key.iter_mut().zip(short) {
            *to = *from;
        }
        let inner = Sha256::new()
            .chain_update(key.map(|byte| byte ^ 0x36))
            .chain_update(message);
        let outer = Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c));
        outer.chain_update(inner.finalize()).finalize().into()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

/// The prompt hash of the replaced module: the first 12 hex digits of SHA-256; empty text has none.
pub fn legacy_prompt_hash(prompt: &str) -> Option<String> {
    (!prompt.is_empty()).then(|| hex(&Sha256::digest(prompt.as_bytes()), 6))
}

fn hex(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyed_hash_is_hmac_sha_256_and_depends_on_its_key() {
        // RFC 4231, test case 2.
        let hash = HashKey::new(b"Jefe")
            .hash("what do ya want for nothing?")
            .unwrap();
        assert_eq!(hash, "5bdcc146bf60754e6a042426089575c7");
        assert_ne!(
            HashKey::new(b"jefe")
                .hash("what do ya want for nothing?")
                .unwrap(),
            hash
        );
        assert_eq!(HashKey::new(b"Jefe").hash(""), None);
        assert_eq!(format!("{:?}", HashKey::new(b"secret")), "HashKey(…)");
    }

    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        // RFC 4231, test cases 1 and 6.
        assert_eq!(
            HashKey::new(&[0x0b; 20]).hash("Hi There").unwrap(),
            "b0344c61d8db38535ca8afceaf0bf12b"
        );
        assert_eq!(
            HashKey::new(&[0xaa; 131])
                .hash("Test Using Larger Than Block-Size Key - Hash Key First")
                .unwrap(),
            "60e431591ee0b67f0d8a26aacbf5b77f"
        );
    }

    #[test]
    fn the_contract_s_prompt_hash_is_twelve_digits_of_sha_256() {
        assert_eq!(legacy_prompt_hash("abc").as_deref(), Some("ba7816bf8f01"));
        assert_eq!(legacy_prompt_hash(""), None);
    }
}
