//! See `harness::json_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::harness::json_body(bytes));
