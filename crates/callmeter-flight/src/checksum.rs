//! A keyed checksum over words: cheap enough for every call, and not to be met by chance.
//!
//! Pairs of words are multiplied and folded on their own, so that the multiplications overlap; the
//! place of a pair and the file's random key enter each of them. It tells a page that reached the disk
//! from one that did not, and a stray write from a call; it is no defence against an enemy.

/// A running checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum {
    place: u64,
    sum: u64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const OTHER: u64 = 0xbf58_476d_1ce4_e5b9;

const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Checksum {
    pub(crate) const fn new(key: u64) -> Self {
        Self { place: key, sum: 0 }
    }

    #[inline]
    pub(crate) const fn pair(&mut self, a: u64, b: u64) {
        self.place = self.place.wrapping_add(STEP);
        self.sum = self
            .sum
            .wrapping_add(fold(a ^ self.place, b ^ self.place.rotate_left(32) ^ OTHER));
    }

    #[inline]
    pub(crate) const fn end(self) -> u64 {
        fold(self.sum ^ OTHER, self.place ^ STEP)
    }

    /// The checksum of words.
    pub(crate) fn of_words(key: u64, words: impl IntoIterator<Item = u64>) -> u64 {
        let mut sum = Self::new(key);
        sum.words(words);
        sum.end()
    }

    /// Takes words in pairs; a last one alone is paired with 0.
    #[inline]
    pub(crate) fn words(&mut self, words: impl IntoIterator<Item = u64>) {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            self.pair(word, words.next().unwrap_or(0));
        }
    }

    /// The checksum of bytes and of how many they are.
    #[inline]
    pub(crate) fn of_bytes(key: u64, bytes: &[u8]) -> u64 {
        let mut sum = Self::new(key ^ bytes.len() as u64);
        sum.words(words_of(bytes));
        sum.end()
    }
}

/// Bytes as words, the first byte lowest, the last word filled up with 0.
#[inline]
pub(crate) fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let last = (!rest.is_empty()).then(|| last_word(rest));
    whole
        .iter()
        .map(|chunk| u64::from_le_bytes(*chunk))
        .chain(last)
}

/// One to seven bytes as a word. Loads that overlap put the same bytes in the same places.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let shift = (rest.len() as u32).wrapping_sub(4).wrapping_mul(8);
        return u64::from(u32::from_le_bytes(*first))
            | u64::from(u32::from_le_bytes(*last)) << shift;
    }
    rest.iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_and_any_swap_shows() {
        let words: Vec<u64> = (0..7).map(|n| n * 0x0101_0101).collect();
        let sum = Checksum::of_words(9, words.clone());
        for at in 0..words.len() {
            for bit in 0..64 {
                let mut other = words.clone();
                other[at] ^= 1 << bit;
                assert_ne!(Checksum::of_words(9, other), sum, "word {at} bit {bit}");
            }
            let mut other = words.clone();
            other.swap(at, (at + 1) % words.len());
            assert_ne!(Checksum::of_words(9, other), sum);
        }
        assert_ne!(Checksum::of_words(10, words), sum);
    }

    #[test]
    fn a_last_word_has_each_byte_in_its_place() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        for len in 1..=7 {
            let mut whole = [0; 8];
            whole[..len].copy_from_slice(&bytes[..len]);
            assert_eq!(last_word(&bytes[..len]), u64::from_le_bytes(whole), "{len}");
        }
    }

    #[test]
    fn bytes_are_told_from_their_prefix_filled_with_zeros() {
        assert_ne!(Checksum::of_bytes(1, b"ab"), Checksum::of_bytes(1, b"ab\0"));
        assert_eq!(
            words_of(b"abcdefghi").collect::<Vec<_>>(),
            [u64::from_le_bytes(*b"abcdefgh"), u64::from(b'i')]
        );
    }
}
