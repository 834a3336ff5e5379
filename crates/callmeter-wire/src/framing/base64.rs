//! Base64 as it arrives: the payload of Bedrock's `chunk` events.
//!
//! Takes the standard and the URL alphabet; padding and anything else is passed over, since only counts
//! are looked for in what comes out.

/// A decoder that keeps at most three sextets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base64 {
    bits: u32,
    sextets: u8,
}

impl Base64 {
    /// Decodes `bytes` and hands the result on in pieces of at most 192 bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let mut out = [0_u8; 192];
        let mut len = 0_usize;
        for byte in bytes {
            let Some(sextet) = sextet(*byte) else {
                continue;
            };
            self.bits = (self.bits << 6) | sextet;
            self.sextets = self.sextets.saturating_add(1);
            if self.sextets == 4 {
                let [_, first, second, third] = self.bits.to_be_bytes();
                for byte in [first, second, third] {
                    if let Some(slot) = out.get_mut(len) {
                        *slot = byte;
                        len = len.saturating_add(1);
                    }
                }
                *self = Self::default();
            }
            if len == out.len() {
                take(&out);
                len = 0;
            }
        }
        take(out.get(..len).unwrap_or_default());
    }

    /// Hands on what padding left over, and stands before the next text.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        let [_, first, second, _] = match self.sextets {
            2 => (self.bits << 12).to_be_bytes(),
            3 => (self.bits << 6).to_be_bytes(),
            _ => [0; 4],
        };
        match self.sextets {
            2 => take(&[first]),
            3 => take(&[first, second]),
            _ => {}
        }
        *self = Self::default();
    }
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Decodes a whole text.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut decoder = Base64::default();
    decoder.feed(text.as_bytes(), |bytes| out.extend_from_slice(bytes));
    decoder.finish(|bytes| out.extend_from_slice(bytes));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_whole_whatever_their_length_and_cut() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("eyJ1c2FnZSI6MX0=", "{\"usage\":1}"),
        ] {
            assert_eq!(decode(text), plain.as_bytes(), "{text}");
            let mut out = Vec::new();
            let mut decoder = Base64::default();
            for byte in text.bytes() {
                decoder.feed(&[byte], |bytes| out.extend_from_slice(bytes));
            }
            decoder.finish(|bytes| out.extend_from_slice(bytes));
            assert_eq!(out, plain.as_bytes(), "{text}");
        }
    }
}
