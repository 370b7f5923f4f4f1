//! libFuzzer on `fuzzing::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::response(data));
