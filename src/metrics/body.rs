//! Response bodies, put together from encoded texts.

use std::collections::VecDeque;

use bytes::Bytes;
use flate2::Crc;

use super::encoding::{CompressionLevel, Compressors, Encoding};
use super::text::CachedText;

/// The magic number, deflate, no flags, no time, and Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// An empty block that is the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Texts smaller than this are copied into a chunk with their neighbors; larger ones are chunks and are not copied.
const MAX_COPIED: usize = 32 << 10;
/// The size from which a chunk of copied texts is complete.
const CHUNK: usize = 64 << 10;

/// Encodes a body, which it gives chunk by chunk.
pub(super) struct BodyEncoder {
    encoding: Encoding,
    compressors: Compressors,
    /// The checksum and the length of the body before compression, for gzip's trailer.
    crc: Crc,
    /// The chunk that is being put together from small texts.
    buffer: Vec<u8>,
    /// Complete chunks.
    chunks: VecDeque<Bytes>,
}

impl BodyEncoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        // Usually the whole body fits, so that the buffer does not have to grow.
        let mut buffer = Vec::with_capacity(CHUNK / 2);
        if encoding == Encoding::Gzip {
            buffer.extend(GZIP_HEADER);
        }
        Self { encoding, compressors: Compressors::default(), crc: Crc::new(), buffer, chunks: VecDeque::new() }
    }

    /// Removes and returns the next chunk that is complete.
    pub(super) fn next_chunk(&mut self) -> Option<Bytes> {
        self.chunks.pop_front()
    }

    /// Appends a text; `level` applies if it has not been compressed before.
    pub(super) fn push(&mut self, text: &CachedText, level: CompressionLevel) {
        if self.encoding == Encoding::Gzip {
            self.crc.update(text.bytes());
        }
        let encoded = text.encoded(self.encoding, level, &mut self.compressors);
        if encoded.len() < MAX_COPIED {
            self.buffer.extend_from_slice(encoded);
            if self.buffer.len() >= CHUNK {
                self.flush();
            }
        } else {
            self.flush();
            self.chunks.push_back(encoded.clone());
        }
    }

    /// Completes the body and its last chunk.
    pub(super) fn finish(&mut self) {
        if self.encoding == Encoding::Gzip {
            self.buffer.extend(LAST_BLOCK);
            self.buffer.extend(self.crc.sum().to_le_bytes());
            // The length modulo 2^32, as RFC 1952 has it.
            self.buffer.extend(self.crc.amount().to_le_bytes());
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.buffer).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use proptest::prelude::*;

    const ALL: [Encoding; 3] = [Encoding::Identity, Encoding::Gzip, Encoding::Zstd];
    const LEVELS: [CompressionLevel; 3] = [CompressionLevel::Small, CompressionLevel::Fast, CompressionLevel::None];

    fn decode(encoding: Encoding, body: &[u8]) -> String {
        let mut text = String::new();
        match encoding {
            Encoding::Identity => body.to_vec().as_slice().read_to_string(&mut text),
            // Reads one member and fails if there is more.
            Encoding::Gzip => flate2::bufread::GzDecoder::new(body).read_to_string(&mut text),
            Encoding::Zstd => zstd::stream::Decoder::new(body).and_then(|mut read| read.read_to_string(&mut text)),
        }
        .unwrap();
        text
    }

    fn encode(encoding: Encoding, texts: &[CachedText]) -> Vec<u8> {
        let mut encoder = BodyEncoder::new(encoding);
        let mut chunks = Vec::new();
        for (text, level) in texts.iter().zip(LEVELS.into_iter().cycle()) {
            encoder.push(text, level);
            chunks.extend(std::iter::from_fn(|| encoder.next_chunk()));
        }
        encoder.finish();
        chunks.extend(std::iter::from_fn(|| encoder.next_chunk()));
        chunks.concat()
    }

    fn round_trip(texts: &[String]) {
        let whole = texts.concat();
        let texts: Vec<CachedText> = texts.iter().cloned().map(CachedText::from).collect();
        for encoding in ALL {
            let first = encode(encoding, &texts);
            assert_eq!(decode(encoding, &first), whole, "{encoding:?}");
            assert_eq!(encode(encoding, &texts), first, "{encoding:?} from the cache");
        }
    }

    proptest! {
        #[test]
        fn encoded_texts_decode_to_themselves(texts in proptest::collection::vec("[a-e\n]{0,300}", 1..6)) {
            round_trip(&texts);
        }
    }

    #[test]
    fn texts_larger_than_any_buffer_decode_to_themselves() {
        let mut rng = fastrand::Rng::with_seed(7);
        let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(1 << 20).collect();
        let texts = ["abc".repeat(1 << 20), noise.clone(), String::new(), "x".into(), noise.clone(), noise];
        round_trip(&texts);
    }

    #[test]
    fn large_texts_are_compressed_once_and_not_copied() {
        let mut rng = fastrand::Rng::with_seed(7);
        let text = CachedText::from(std::iter::repeat_with(|| rng.alphanumeric()).take(1 << 16).collect::<String>());
        for encoding in ALL {
            let address = text.encoded(encoding, CompressionLevel::Small, &mut Compressors::default()).as_ptr();
            let mut encoder = BodyEncoder::new(encoding);
            encoder.push(&text, CompressionLevel::Small);
            encoder.finish();
            let chunks: Vec<Bytes> = std::iter::from_fn(|| encoder.next_chunk()).collect();
            assert!(chunks.iter().any(|chunk| chunk.as_ptr() == address), "{encoding:?}");
        }
    }
}
