//! libFuzzer on `fuzzing::answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::answers(data));
