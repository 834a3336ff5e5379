//! How long a text may be, and what becomes of one that is longer or not fit for a row.
//!
//! Owns truncation on character boundaries and the replacement of control characters: names are the
//! host's own words (promise CM-6), so they are bounded and made printable, never scanned.

use std::borrow::Cow;

/// The longest duration a row holds: 10 years in microseconds. A longer one is a broken clock.
pub const MAX_DURATION_US: u64 = 315_576_000_000_000;

/// Cuts `text` after `max_chars` characters and replaces control characters by U+FFFD; the flag says
/// whether something was cut off.
///
/// ```
/// assert_eq!(callmeter_core::clean_text("grün\0", 4), ("grün".into(), true));
/// ```
pub fn clean_text(text: &str, max_chars: usize) -> (Cow<'_, str>, bool) {
    let end = text
        .char_indices()
        .nth(max_chars)
        .map_or(text.len(), |(at, _)| at);
    let kept = text.get(..end).unwrap_or_default();
    let cut = end < text.len();
    if kept.chars().any(char::is_control) {
        let clean = kept
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c });
        (Cow::Owned(clean.collect()), cut)
    } else {
        (Cow::Borrowed(kept), cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_out_bounded_and_printable(text: String, max in 0_usize..40) {
            let (clean, cut) = clean_text(&text, max);
            prop_assert!(clean.chars().count() <= max);
            prop_assert!(!clean.chars().any(char::is_control));
            prop_assert_eq!(cut, text.chars().count() > max);
            prop_assert_eq!(clean_text(&clean, max), (Cow::Borrowed(&*clean), false));
        }
    }
}
