//! Any text as a site file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(why) = sekisho_tests::fuzz::site(input) {
        panic!("{why}");
    }
});
