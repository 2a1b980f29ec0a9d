//! Arbitrary bytes as the body of a page.
#![no_main]

#[path = "../../tests/common/bytes.rs"]
mod bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bytes::listing(data));
