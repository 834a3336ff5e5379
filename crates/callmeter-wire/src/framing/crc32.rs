//! The CRC-32 of IEEE 802.3, by which AWS event streams check each frame.

/// A checksum that is built up byte by byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc32(u32);

/// The table of a byte, and those of a byte with up to seven more behind it.
const TABLES: [[u32; 256]; 8] = tables();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // evaluated at compile time
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        tables[0][at] = value;
        at += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut at = 0;
        while at < 256 {
            let before = tables[behind - 1][at];
            tables[behind][at] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            at += 1;
        }
        behind += 1;
    }
    tables
}

fn step(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

impl Crc32 {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        while let Some(([b0, b1, b2, b3, b4, b5, b6, b7], rest)) = bytes.split_first_chunk::<8>() {
            let [c0, c1, c2, c3] = self.0.to_le_bytes();
            self.0 = step(t7, b0 ^ c0)
                ^ step(t6, b1 ^ c1)
                ^ step(t5, b2 ^ c2)
                ^ step(t4, b3 ^ c3)
                ^ step(t3, *b4)
                ^ step(t2, *b5)
                ^ step(t1, *b6)
                ^ step(t0, *b7);
            bytes = rest;
        }
        for byte in bytes {
            let [low, ..] = self.0.to_le_bytes();
            self.0 = step(t0, low ^ byte) ^ (self.0 >> 8);
        }
    }

    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        let mut crc = Crc32::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }

    #[test]
    fn every_cut_gives_the_same_value() {
        let bytes: Vec<u8> = (0..=255).collect();
        let of = |pieces: &[&[u8]]| {
            let mut crc = Crc32::new();
            pieces.iter().for_each(|piece| crc.update(piece));
            crc.value()
        };
        assert_eq!(of(&[&bytes]), 0x2905_8c73);
        for at in 0..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(of(&[head, tail]), 0x2905_8c73, "{at}");
        }
    }
}
