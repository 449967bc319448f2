#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wsmux_fuzz::qmux(data));
