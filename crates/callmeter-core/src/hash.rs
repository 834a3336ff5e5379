//! Hashes that stand for a text in a row without telling it.
//!
//! A plain hash of a short prompt can be guessed by trying candidates; a keyed one (HMAC-SHA-256)
//! only by who holds the key. The unkeyed form exists for users of the replaced module alone.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

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
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(text.as_bytes());
        Some(hex(&mac.finalize().into_bytes(), 16))
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
    fn the_contract_s_prompt_hash_is_twelve_digits_of_sha_256() {
        assert_eq!(legacy_prompt_hash("abc").as_deref(), Some("ba7816bf8f01"));
        assert_eq!(legacy_prompt_hash(""), None);
    }
}
