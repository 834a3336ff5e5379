//! See `harness::event_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::harness::event_lines(bytes));
