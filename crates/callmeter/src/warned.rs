//! Names that a warning was given for, so that it is given once a name.
//!
//! A fixed set of hashes without a lock: asked on the caller's thread (promise CM-2), and usable in a forked
//! child whatever its parent's threads were at. Two names with one hash, and names beyond the room, cost a
//! warning, nothing else.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};

const ROOM: usize = 1_024;
const PROBES: usize = 8;

/// Names that were warned of.
pub(crate) struct Warned([AtomicU64; ROOM]);

impl Default for Warned {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; ROOM])
    }
}

impl Warned {
    /// Whether the name is asked about for the first time.
    pub(crate) fn is_new(&self, name: &str) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name) | 1;
        for probe in 0..PROBES {
            let Some(cell) = self.0.get((hash as usize >> 1).wrapping_add(probe) % ROOM) else {
                break;
            };
            match cell.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(known) if known == hash => return false,
                Err(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_and_the_room_is_bounded() {
        let warned = Warned::default();
        assert!(warned.is_new("sales_copy") && warned.is_new("hermes"));
        assert!(!warned.is_new("sales_copy"));
        let new = (0..10_000).filter(|n| warned.is_new(&n.to_string()));
        assert!((500..=ROOM).contains(&new.count()));
    }
}
