//! The identity of a call: a UUIDv7 whose time is the call's start.
//!
//! ```text
//! hi  60 bits  unix milliseconds << 12 | sub-millisecond fraction (RFC 9562, method 3)
//! lo  62 bits  random, or of SHA-256(project, namespace, foreign id)
//! ```
//! Both halves fit a signed 64-bit column. A microsecond maps to a fraction of its own (4,096 steps
//! for 1,000 microseconds), so `started_at` is read back from `hi` exactly. Randomness comes from
//! whoever makes the id; this file has no generator.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::Timestamp;

const LO_MASK: u64 = (1 << 62) - 1;
const HI_MASK: u64 = (1 << 60) - 1;

/// The identity of one call, in every layer and store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    hi: u64,
    lo: u64,
}

impl CallId {
    /// Makes the id of a call that started at `started_at`, with 62 bits of `random`.
    ///
    /// Moments before 1970 or after the year 10889 are held at the ends of the range.
    pub const fn new(started_at: Timestamp, random: u64) -> Self {
        let micros = started_at.as_micros();
        let max = Timestamp::MAX_IN_ID.as_micros();
        let micros = if micros < 0 {
            0
        } else if micros > max {
            max as u64
        } else {
            micros as u64
        };
        let fraction = (micros % 1_000).wrapping_mul(4_096) / 1_000;
        Self {
            hi: ((micros / 1_000) << 12) | fraction,
            lo: random & LO_MASK,
        }
    }

    /// Makes the id of a call that another system named `id` (a span, another UUID, any text): the
    /// same name at the same time is the same call.
    pub fn foreign(started_at: Timestamp, project: &str, namespace: &str, id: &str) -> Self {
        let mut hasher = Sha256::new();
        for part in [project, namespace, id] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut first = [0_u8; 8];
        for (to, from) in first.iter_mut().zip(hasher.finalize()) {
            *to = from;
        }
        Self::new(started_at, u64::from_be_bytes(first))
    }

    /// Puts an id together from its stored halves; `None` when a half has bits it cannot have.
    pub const fn from_halves(hi: i64, lo: i64) -> Option<Self> {
        let (hi, lo) = (hi as u64, lo as u64);
        if hi & !HI_MASK == 0 && lo & !LO_MASK == 0 {
            Some(Self { hi, lo })
        } else {
            None
        }
    }

    /// The time half, as stored.
    pub const fn hi(self) -> i64 {
        self.hi as i64
    }

    /// The random half, as stored.
    pub const fn lo(self) -> i64 {
        self.lo as i64
    }

    /// The smallest value of the time half at or after `at`: a bound for range scans.
    pub const fn hi_at(at: Timestamp) -> i64 {
        Self::new(at, 0).hi()
    }

    /// When the call started, to the microsecond.
    pub const fn started_at(self) -> Timestamp {
        let millis = self.hi >> 12;
        let fraction = self.hi & 0xfff;
        let micros = fraction.wrapping_mul(1_000).div_ceil(4_096);
        Timestamp::from_micros(millis.wrapping_mul(1_000).wrapping_add(micros) as i64)
    }

    /// The sixteen bytes of the UUID.
    pub const fn to_bytes(self) -> [u8; 16] {
        let high = ((self.hi >> 12) << 16) | 0x7000 | (self.hi & 0xfff);
        let low = (0b10 << 62) | self.lo;
        (((high as u128) << 64) | low as u128).to_be_bytes()
    }

    /// Reads the sixteen bytes of a UUIDv7; `None` for any other UUID.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let value = u128::from_be_bytes(bytes);
        let (high, low) = ((value >> 64) as u64, value as u64);
        if (high >> 12) & 0xf != 7 || low >> 62 != 0b10 {
            return None;
        }
        Some(Self {
            hi: ((high >> 16) << 12) | (high & 0xfff),
            lo: low & LO_MASK,
        })
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.to_bytes().iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

/// The text is no UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCallIdError(());

impl fmt::Display for ParseCallIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a call id: expected a UUID of version 7")
    }
}

impl std::error::Error for ParseCallIdError {}

impl FromStr for CallId {
    type Err = ParseCallIdError;

    /// # Errors
    /// When the text is no UUID of version 7 with or without hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut value: u128 = 0;
        let mut count = 0_u32;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let digit = char::from(byte).to_digit(16).ok_or(ParseCallIdError(()))?;
            value = (value << 4) | u128::from(digit);
            count = count.saturating_add(1);
        }
        if count != 32 {
            return Err(ParseCallIdError(()));
        }
        Self::from_bytes(value.to_be_bytes()).ok_or(ParseCallIdError(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_gives_back_its_microsecond_and_its_halves(
            micros in 0..Timestamp::MAX_IN_ID.as_micros(), random: u64
        ) {
            let at = Timestamp::from_micros(micros);
            let id = CallId::new(at, random);
            prop_assert_eq!(id.started_at(), at);
            prop_assert_eq!(CallId::from_halves(id.hi(), id.lo()), Some(id));
            prop_assert_eq!(CallId::from_bytes(id.to_bytes()), Some(id));
            prop_assert_eq!(id.to_string().parse::<CallId>(), Ok(id));
            prop_assert!(CallId::hi_at(at) <= id.hi());
            prop_assert!(CallId::hi_at(at.saturating_add_micros(1)) > id.hi());
        }
    }

    #[test]
    fn the_text_is_a_uuid_of_version_7_and_of_the_rfc_variant() {
        let id = CallId::new(
            "2022-02-22T19:22:22Z".parse().unwrap(),
            0x18c4_dc0c_0c07_398f,
        );
        assert_eq!(id.to_string(), "017f22e2-79b0-7000-98c4-dc0c0c07398f");
    }

    #[test]
    fn a_foreign_name_is_the_same_call_only_in_its_project_and_namespace() {
        let at = Timestamp::from_micros(1_700_000_000_000_001);
        let id = CallId::foreign(at, "shop", "span", "abc");
        assert_eq!(id, CallId::foreign(at, "shop", "span", "abc"));
        assert_ne!(id, CallId::foreign(at, "shop", "spana", "bc"));
        assert_eq!(id.started_at(), at);
    }

    #[test]
    fn other_uuids_are_refused() {
        for text in ["", "x", "017f22e2-79b0-4000-98c4-dc0c0c07398f", "017f22e2"] {
            assert!(text.parse::<CallId>().is_err());
        }
    }
}
