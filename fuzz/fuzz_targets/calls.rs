//! libFuzzer on `fuzzing::calls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::calls(data));
