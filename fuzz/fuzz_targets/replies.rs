//! libFuzzer on `fuzzing::replies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::replies(data));
