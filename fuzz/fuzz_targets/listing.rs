//! Feeds arbitrary bytes to the exporter as the body of a page. What must hold for them is checked in
//! `tests/common/bytes.rs`, which an integration test runs on the corpus.
#![no_main]

#[path = "../../tests/common/bytes.rs"]
mod bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bytes::listing(data));
