//! libFuzzer's entry to `uwarp_fuzz_harness::terminate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    uwarp_fuzz_harness::terminate::run(data);
});
