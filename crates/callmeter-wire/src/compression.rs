//! Content encodings, undone on a copy: gzip, deflate, br, zstd, and chains of them.
//!
//! The bytes that pass on to the client are never touched. Promises: what is decoded is handed on in small
//! pieces and never collected, so a body that swells a thousandfold costs time and no memory; windows
//! are at most 8 MiB (zstd, as RFC 9659 demands) and 16 MiB (br). An encoding that is not known, or
//! that this build leaves out, makes the body opaque.

#[cfg(feature = "compression")]
mod zstd;

#[cfg(feature = "compression")]
use std::io::{self, Write};

#[cfg(feature = "compression")]
use brotli_decompressor::DecompressorWriter;
#[cfg(feature = "compression")]
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Undoes the content encoding of one body.
pub(crate) struct Decoder {
    chain: Vec<Stage>,
    broken: bool,
}

enum Stage {
    #[cfg(feature = "compression")]
    Gzip(Box<MultiGzDecoder<Piece>>),
    #[cfg(feature = "compression")]
    Deflate(Box<Deflate>),
    #[cfg(feature = "compression")]
    Brotli(Box<DecompressorWriter<Piece>>),
    #[cfg(feature = "compression")]
    Zstd(Box<zstd::Zstd>),
    /// Not known: nothing comes out.
    Unknown,
}

impl Decoder {
    /// The decoder for a `content-encoding` header, outermost coding last.
    pub(crate) fn of(encoding: &str) -> Self {
        let chain = encoding
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
            .rev()
            .take(4)
            .map(Stage::of)
            .collect();
        Self {
            chain,
            broken: false,
        }
    }

    /// Decodes the next bytes and hands on what comes out.
    pub(crate) fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) {
        if !self.broken {
            self.broken = !run(&mut self.chain, bytes, take);
        }
    }

    /// The end of the bytes; false when they did not decode to the end.
    pub(crate) fn finish(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut whole = !self.broken;
        let mut rest = self.chain.as_mut_slice();
        while let Some((stage, tail)) = rest.split_first_mut() {
            whole &= stage.finish(&mut |bytes| {
                run(tail, bytes, take);
            });
            rest = tail;
        }
        whole
    }
}

/// Sends bytes through the stages; false when one of them failed.
fn run(chain: &mut [Stage], bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
    match chain.split_first_mut() {
        None => {
            take(bytes);
            true
        }
        Some((stage, tail)) => {
            let mut whole = true;
            let read = stage.feed(bytes, &mut |plain| whole &= run(tail, plain, take));
            read && whole
        }
    }
}

impl Stage {
    #[cfg(feature = "compression")]
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip(Box::new(MultiGzDecoder::new(Piece::default()))),
            "deflate" => Self::Deflate(Box::default()),
            "br" => Self::Brotli(Box::new(DecompressorWriter::new(Piece::default(), CHUNK))),
            "zstd" => Self::Zstd(Box::default()),
            _ => Self::Unknown,
        }
    }

    #[cfg(not(feature = "compression"))]
    fn of(_: &str) -> Self {
        Self::Unknown
    }

    /// Bytes go in by small steps, so that little can come out at once.
    #[cfg(feature = "compression")]
    fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
        match self {
            Self::Zstd(zstd) => return zstd.feed(bytes, take),
            Self::Unknown => return true,
            _ => {}
        }
        // On a fault brotli drops what it has not handed on: byte by byte that is the same whatever the cut.
        let step = if matches!(self, Self::Brotli(_)) {
            1
        } else {
            STEP
        };
        for step in bytes.chunks(step) {
            let written = match self {
                Self::Gzip(gzip) => through(&mut **gzip, step, take, MultiGzDecoder::get_mut),
                Self::Deflate(deflate) => deflate.feed(step, take),
                Self::Brotli(brotli) => {
                    through(&mut **brotli, step, take, DecompressorWriter::get_mut)
                }
                Self::Zstd(_) | Self::Unknown => Ok(()),
            };
            if written.is_err() {
                return false;
            }
        }
        true
    }

    #[cfg(not(feature = "compression"))]
    fn feed(&mut self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> bool {
        true
    }

    #[cfg(feature = "compression")]
    fn finish(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        match self {
            Self::Gzip(gzip) => {
                let whole = gzip.try_finish().is_ok();
                gzip.get_mut().drain(take);
                whole
            }
            Self::Deflate(deflate) => deflate.finish(take),
            Self::Brotli(brotli) => {
                let whole = brotli.close().is_ok();
                brotli.get_mut().drain(take);
                whole
            }
            Self::Zstd(zstd) => zstd.is_whole(),
            Self::Unknown => false,
        }
    }

    #[cfg(not(feature = "compression"))]
    fn finish(&mut self, _: &mut dyn FnMut(&[u8])) -> bool {
        false
    }
}

#[cfg(feature = "compression")]
const CHUNK: usize = 8 * 1024;
/// A step of 64 bytes swells to at most 64 KiB under deflate (1 : 1,032).
#[cfg(feature = "compression")]
const STEP: usize = 64;

/// What came out of one step.
#[cfg(feature = "compression")]
#[derive(Default)]
struct Piece(Vec<u8>);

#[cfg(feature = "compression")]
impl Piece {
    fn drain(&mut self, take: &mut dyn FnMut(&[u8])) {
        if !self.0.is_empty() {
            take(&self.0);
            self.0.clear();
        }
    }
}

#[cfg(feature = "compression")]
impl Write for Piece {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a step into a decoder, handing on what comes out.
#[cfg(feature = "compression")]
fn through<W: Write>(
    decoder: &mut W,
    mut step: &[u8],
    take: &mut dyn FnMut(&[u8]),
    piece: fn(&mut W) -> &mut Piece,
) -> io::Result<()> {
    while !step.is_empty() {
        let written = match decoder.write(step) {
            Ok(written) => written,
            Err(error) => {
                // What came out before the fault is still held back: the next write hands it on, so that
                // it does not depend on how the bytes were cut.
                let _ = decoder.write(&[]);
                piece(decoder).drain(take);
                return Err(error);
            }
        };
        piece(decoder).drain(take);
        if written == 0 {
            // The coding ended before the bytes did.
            return Ok(());
        }
        step = step.get(written..).unwrap_or_default();
    }
    decoder.flush()?;
    piece(decoder).drain(take);
    Ok(())
}

/// `deflate` means zlib, and some servers send it bare.
#[cfg(feature = "compression")]
#[derive(Default)]
enum Deflate {
    #[default]
    Undecided,
    Zlib(ZlibDecoder<Piece>),
    Bare(DeflateDecoder<Piece>),
}

#[cfg(feature = "compression")]
impl Deflate {
    fn feed(&mut self, step: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if let (Self::Undecided, Some(first)) = (&*self, step.first()) {
            *self = if first & 0x0f == 8 {
                Self::Zlib(ZlibDecoder::new(Piece::default()))
            } else {
                Self::Bare(DeflateDecoder::new(Piece::default()))
            };
        }
        match self {
            Self::Undecided => Ok(()),
            Self::Zlib(zlib) => through(zlib, step, take, ZlibDecoder::get_mut),
            Self::Bare(bare) => through(bare, step, take, DeflateDecoder::get_mut),
        }
    }

    fn finish(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        match self {
            Self::Undecided => true,
            Self::Zlib(zlib) => {
                let whole = zlib.try_finish().is_ok();
                zlib.get_mut().drain(take);
                whole
            }
            Self::Bare(bare) => {
                let whole = bare.try_finish().is_ok();
                bare.get_mut().drain(take);
                whole
            }
        }
    }
}
