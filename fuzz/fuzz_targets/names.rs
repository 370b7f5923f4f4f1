//! libFuzzer on `fuzzing::names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::names(data));
