//! One packet of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(why) = sekisho_tests::fuzz::packet(input) {
        panic!("{why}");
    }
});
