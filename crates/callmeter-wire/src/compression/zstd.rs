//! Zstandard frames as they arrive, block by block.
//!
//! ```text
//! magic │ descriptor, window, dictionary, size │ blocks (3 bytes of header, at most 128 KiB) │ checksum
//! ```
//!
//! Holds one block of input and the window of output, which RFC 9659 limits to 8 MiB for the web; a frame
//! that asks for more is refused. Output leaves when the window has passed it or the frame ended.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const MAX_WINDOW: u64 = 8 * 1024 * 1024;
const MAX_BLOCK: usize = 128 * 1024;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Header,
    Block {
        checksum: bool,
    },
    /// A frame of other people's data.
    Skip(u32),
}

/// See the module.
pub(super) struct Zstd {
    at: At,
    held: Vec<u8>,
    decoder: FrameDecoder,
}

impl Default for Zstd {
    fn default() -> Self {
        Self {
            at: At::Header,
            held: Vec::new(),
            decoder: FrameDecoder::new(),
        }
    }
}

/// The bytes are no Zstandard, or ask for too much.
struct Refused;

impl Zstd {
    /// Whether the bytes ended where a frame did.
    pub(super) fn is_whole(&self) -> bool {
        self.at == At::Header && self.held.is_empty()
    }

    /// Decodes on; false when the bytes are refused.
    pub(super) fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
        for piece in bytes.chunks(MAX_BLOCK) {
            self.held.extend_from_slice(piece);
            let mut used = 0_usize;
            loop {
                let rest = self.held.get(used..).unwrap_or_default();
                match step(&mut self.at, &mut self.decoder, rest, take) {
                    Ok(0) => break,
                    Ok(read) => used = used.saturating_add(read),
                    Err(Refused) => return false,
                }
            }
            self.held.drain(..used.min(self.held.len()));
        }
        true
    }
}

/// Takes the next whole part of the input; answers with its length, 0 when it is not there yet.
fn step(
    at: &mut At,
    decoder: &mut FrameDecoder,
    rest: &[u8],
    take: &mut dyn FnMut(&[u8]),
) -> Result<usize, Refused> {
    match *at {
        At::Skip(0) => {
            *at = At::Header;
            if rest.is_empty() {
                Ok(0)
            } else {
                step(at, decoder, rest, take)
            }
        }
        At::Skip(left) => {
            let read = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            *at = At::Skip(left.saturating_sub(u32::try_from(read).unwrap_or(u32::MAX)));
            Ok(read)
        }
        At::Header => header(at, decoder, rest),
        At::Block { checksum } => {
            let [first, second, third, ..] = *rest else {
                return Ok(0);
            };
            let word = u32::from_le_bytes([first, second, third, 0]);
            let size = usize::try_from(word >> 3).unwrap_or(usize::MAX);
            let content = if word >> 1 & 3 == 1 { 1 } else { size };
            if size > MAX_BLOCK {
                return Err(Refused);
            }
            let last = word & 1 == 1;
            let tail = if last && checksum { 4 } else { 0 };
            let whole = content.saturating_add(3).saturating_add(tail);
            let Some(mut block) = rest.get(..whole) else {
                return Ok(0);
            };
            let ended = decoder
                .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(|_| Refused)?;
            decoder
                .collect_to_writer(Taker(take))
                .map_err(|_| Refused)?;
            if ended {
                *at = At::Header;
            }
            Ok(whole)
        }
    }
}

fn header(at: &mut At, decoder: &mut FrameDecoder, rest: &[u8]) -> Result<usize, Refused> {
    let [m0, m1, m2, m3, ..] = *rest else {
        return Ok(0);
    };
    if m0 & 0xf0 == 0x50 && [m1, m2, m3] == [0x2a, 0x4d, 0x18] {
        let [_, _, _, _, s0, s1, s2, s3, ..] = *rest else {
            return Ok(0);
        };
        *at = At::Skip(u32::from_le_bytes([s0, s1, s2, s3]));
        return Ok(8);
    }
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Refused);
    }
    let Some(descriptor) = rest.get(4).copied() else {
        return Ok(0);
    };
    let single = descriptor & 0x20 != 0;
    let dictionary = match descriptor & 3 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let len = 5_usize
        .saturating_add(usize::from(!single))
        .saturating_add(dictionary)
        .saturating_add(size);
    let Some(head) = rest.get(..len) else {
        return Ok(0);
    };
    let window = if single {
        let mut value = [0_u8; 8];
        let field = head.get(len.saturating_sub(size)..).unwrap_or_default();
        for (slot, byte) in value.iter_mut().zip(field) {
            *slot = *byte;
        }
        u64::from_le_bytes(value).saturating_add(if size == 2 { 256 } else { 0 })
    } else {
        let byte = u64::from(head.get(5).copied().unwrap_or_default());
        let base = 1_u64 << (10_u64.saturating_add(byte >> 3));
        base.saturating_add((base >> 3).saturating_mul(byte & 7))
    };
    if window > MAX_WINDOW {
        return Err(Refused);
    }
    decoder.reset(head).map_err(|_| Refused)?;
    *at = At::Block {
        checksum: descriptor & 4 != 0,
    };
    Ok(len)
}

struct Taker<'a>(&'a mut dyn FnMut(&[u8]));

impl std::io::Write for Taker<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
