//! libFuzzer's entry to `uwarp_fuzz_harness::pair`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    uwarp_fuzz_harness::pair::run(data);
});
