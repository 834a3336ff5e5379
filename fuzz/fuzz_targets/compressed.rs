//! See `harness::compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::harness::compressed(bytes));
