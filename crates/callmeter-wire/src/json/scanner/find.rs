//! Where the next byte stands that matters.
//!
//! Guarded by the bench `read`.

use memchr::memchr2;

/// Texts shorter than this are looked through byte by byte: a call of `memchr` costs more.
const SHORT: usize = 16;

/// The first quote or backslash.
#[inline]
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    for (at, byte) in bytes.iter().take(SHORT).enumerate() {
        if matches!(byte, b'"' | b'\\') {
            looked_at(at);
            return Some(at);
        }
    }
    let tail = bytes.get(SHORT..).unwrap_or_default();
    let found = memchr2(b'"', b'\\', tail).map(|at| at.saturating_add(SHORT));
    looked_at(found.unwrap_or(bytes.len()));
    found
}

/// The first quote or bracket.
#[inline]
pub(super) fn quote_or_bracket(bytes: &[u8]) -> Option<usize> {
    const LANES: usize = 32;
    let mut before = 0_usize;
    for lane in bytes.chunks_exact(LANES) {
        // Without an early end the compiler looks at the lane at once.
        if lane
            .iter()
            .fold(false, |found, byte| found | is_special(*byte))
        {
            break;
        }
        before = before.saturating_add(LANES);
    }
    let tail = bytes.get(before..).unwrap_or_default();
    let found = tail
        .iter()
        .position(|byte| is_special(*byte))
        .map(|at| before.saturating_add(at));
    looked_at(found.unwrap_or(bytes.len()));
    found
}

/// Counts bytes that were looked at, in the tests of this crate.
#[inline]
pub(super) fn looked_at(_bytes: usize) {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + _bytes as u64 + 1);
}

#[cfg(test)]
thread_local! {
    pub(super) static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[inline]
const fn is_special(byte: u8) -> bool {
    // `[` and `{`, `]` and `}` differ in one bit.
    let folded = byte | 0x20;
    (byte == b'"') | (folded == b'{') | (folded == b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_matters_is_found_wherever_it_stands() {
        for at in 0..100 {
            for byte in *b"\"[]{}" {
                let mut bytes = vec![b'1'; 100];
                bytes[at] = byte;
                assert_eq!(quote_or_bracket(&bytes), Some(at));
            }
            let mut bytes = vec![b'x'; 100];
            bytes[at] = b'\\';
            assert_eq!(quote_or_backslash(&bytes), Some(at));
        }
        assert_eq!(quote_or_bracket(&[b'1'; 77]), None);
        assert_eq!(quote_or_backslash(b"short"), None);
        for byte in 0..=u8::MAX {
            assert_eq!(is_special(byte), b"\"[]{}".contains(&byte), "{byte}");
        }
    }
}
