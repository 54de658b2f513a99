//! libFuzzer's entry to `uwarp_fuzz_harness::arrivals`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    uwarp_fuzz_harness::arrivals::run(data);
});
