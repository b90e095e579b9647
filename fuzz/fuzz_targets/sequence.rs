//! Packets, changes of the site and passing time.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(why) = sekisho_tests::fuzz::sequence(input) {
        panic!("{why}");
    }
});
