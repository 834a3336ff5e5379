//! See `harness::inspect`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::harness::inspect(bytes));
