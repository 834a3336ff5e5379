//! Counts by their keys, with absent told from zero.

use super::paths::Key;

/// A set of counts.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    present: u128,
    values: [u64; Key::COUNT],
}

const _: () = assert!(Key::COUNT <= 128, "the presence bits are one word");

impl Counts {
    pub(crate) const NONE: Self = Self {
        present: 0,
        values: [0; Key::COUNT],
    };

    pub(crate) fn get(&self, key: Key) -> Option<u64> {
        (self.present & bit(key) != 0)
            .then(|| self.values.get(key as usize).copied())
            .flatten()
    }

    pub(crate) fn has(&self, key: Key) -> bool {
        self.present & bit(key) != 0
    }

    pub(crate) fn any(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| self.has(*key))
    }

    pub(crate) fn set(&mut self, key: Key, count: u64) {
        if let Some(slot) = self.values.get_mut(key as usize) {
            *slot = count;
            self.present |= bit(key);
        }
    }

    /// Adds to a count, which is then present.
    pub(crate) fn add(&mut self, key: Key, count: u64) {
        let sum = self.get(key).unwrap_or(0).saturating_add(count);
        self.set(key, sum);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.present &= !bit(key);
    }

    pub(crate) fn clear(&mut self) {
        self.present = 0;
    }

    /// Takes over what `later` has: of each count the last known one stays.
    pub(crate) fn overlay(&mut self, later: &Self) {
        let mut left = later.present;
        while left != 0 {
            let at = left.trailing_zeros();
            let index = usize::try_from(at).unwrap_or(usize::MAX);
            if let (Some(slot), Some(value)) = (self.values.get_mut(index), later.values.get(index))
            {
                *slot = *value;
            }
            left &= left.wrapping_sub(1);
        }
        self.present |= later.present;
    }
}

const fn bit(key: Key) -> u128 {
    1_u128 << (key as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_zero_and_the_last_known_count_stays() {
        let mut counts = Counts::NONE;
        counts.set(Key::Prompt, 0);
        counts.set(Key::Total, 7);
        let mut later = Counts::NONE;
        later.set(Key::Total, 9);
        counts.overlay(&later);
        assert_eq!(counts.get(Key::Prompt), Some(0));
        assert_eq!(counts.get(Key::Completion), None);
        assert_eq!(counts.get(Key::Total), Some(9));
    }
}
