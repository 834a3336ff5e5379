//! See `adopter::adopt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| callmeter_fuzz::adopter::adopt(bytes));
