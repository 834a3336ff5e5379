//! Compressed bodies are read as plain ones are, in every cutting, within bounds.

use std::io::Write;

use callmeter_core::Flags;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::support::{Exchange, tokens};

const BODY: &str = "{\"choices\":[{\"message\":{\"content\":\"a long answer, a long answer, a long answer\"},\
                    \"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":8,\"total_tokens\":29}}";

/// [`BODY`] by the reference encoder of Brotli, quality 11.
const BROTLI: &[u8] = include_bytes!("../fixtures/chat.json.br");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn encoded(coding: &'static str, body: Vec<u8>) -> Exchange<'static> {
    Exchange::new("/v1/chat/completions", "application/json", body)
        .header("content-encoding", coding)
}

#[test]
fn every_coding_is_undone_at_every_cut() {
    let plain = BODY.as_bytes();
    for (coding, body) in [
        ("identity", plain.to_vec()),
        ("gzip", gzip(plain)),
        ("X-GZIP", gzip(plain)),
        ("gzip", [gzip(&plain[..40]), gzip(&plain[40..])].concat()),
        ("deflate", zlib(plain)),
        ("deflate", bare(plain)),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd(plain)),
        (
            "zstd",
            [
                zstd(&plain[..40]),
                vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9],
                zstd(&plain[40..]),
            ]
            .concat(),
        ),
        ("deflate, gzip", gzip(&zlib(plain))),
    ] {
        for chunk in [1, 3, 64, usize::MAX] {
            let reading = encoded(coding, body.clone()).read_in(chunk);
            assert_eq!(tokens(&reading), (Some(21), Some(8)), "{coding} by {chunk}");
            assert!(reading.flags.is_empty(), "{coding} by {chunk}");
        }
    }
}

#[test]
fn a_coding_that_lies_or_is_unknown_gives_nothing_and_says_so() {
    for (coding, body) in [
        ("gzip", BODY.as_bytes().to_vec()),
        ("br", BODY.as_bytes().to_vec()),
        ("zstd", BODY.as_bytes().to_vec()),
        ("snappy", BODY.as_bytes().to_vec()),
        ("gzip", gzip(BODY.as_bytes())[..60].to_vec()),
    ] {
        let reading = encoded(coding, body).read();
        assert_eq!(tokens(&reading), (None, None), "{coding}");
        assert!(reading.flags.contains(Flags::STREAM_CUT), "{coding}");
    }
}

#[test]
fn a_bomb_is_read_through_without_being_held() {
    // 64 MiB of spaces inside the answer swell from 64 KiB; the counts behind them are found.
    let mut body = b"{\"id\":\"".to_vec();
    body.resize(64 << 20, b' ');
    body.extend_from_slice(b"\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
    let reading = encoded("gzip", gzip(&body)).read();
    assert_eq!(tokens(&reading), (Some(1), Some(2)));
}

#[test]
fn a_window_beyond_the_webs_limit_is_refused() {
    // Frame header with a window of 128 MiB.
    let body = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 1, 0, 0];
    let reading = encoded("zstd", body).read();
    assert!(reading.flags.contains(Flags::STREAM_CUT));
}
