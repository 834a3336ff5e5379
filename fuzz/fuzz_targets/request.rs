//! See `harness::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::harness::request(bytes));
