//! Content encodings (RFC 9110, section 8.4.1).
//!
//! Texts are compressed on their own, each once, so that a body is put together from parts that are ready. In gzip
//! (RFC 1952) a part is a run of deflate blocks (RFC 1951) that refer to nothing before them and end at a byte
//! boundary; between one header and one trailer such parts are a single member. In zstd (RFC 8878) a part is a frame,
//! and a body may have any number of frames.

use flate2::{Compress, Compression, FlushCompress, Status};

/// A content encoding that responses can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// The encodings that compress.
    pub(super) const COMPRESSED: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// Returns the value of the `Content-Encoding` header; `None` if there is to be no header.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// How much time to spend on compression.
#[derive(Debug, Clone, Copy)]
pub(super) enum CompressionLevel {
    /// Smaller output, for text that is kept as long as a listing.
    Small,
    /// Faster, for text that is rendered at each scrape.
    Fast,
    /// No time, for small text that differs in each scrape: to start a compressor costs more than the rest of a scrape.
    None,
}

/// Compresses texts. The states of deflate, which are large, are created when they are first needed and then reused.
#[derive(Default)]
pub(super) struct Compressors {
    small_deflate: Option<Compress>,
    fast_deflate: Option<Compress>,
}

impl Compressors {
    /// Compresses a text so that it can stand between other parts of a body.
    pub(super) fn compress(&mut self, text: &[u8], encoding: Encoding, level: CompressionLevel) -> Vec<u8> {
        let new_deflate = |level| move || Compress::new(Compression::new(level), false);
        match (encoding, level) {
            (Encoding::Identity, _) => text.to_vec(),
            (Encoding::Gzip, CompressionLevel::Small) => {
                deflate(text, self.small_deflate.get_or_insert_with(new_deflate(6)))
            }
            (Encoding::Gzip, CompressionLevel::Fast) => {
                deflate(text, self.fast_deflate.get_or_insert_with(new_deflate(1)))
            }
            (Encoding::Gzip, CompressionLevel::None) => stored_blocks(text),
            // Compression fails only if there is not enough memory, which is not the client's concern.
            (Encoding::Zstd, CompressionLevel::Small) => zstd::bulk::compress(text, 3).unwrap_or_default(),
            (Encoding::Zstd, CompressionLevel::Fast) => zstd::bulk::compress(text, 1).unwrap_or_default(),
            (Encoding::Zstd, CompressionLevel::None) => raw_frame(text),
        }
    }
}

/// Returns deflate blocks that contain a text without compression (RFC 1951, section 3.2.4).
fn stored_blocks(text: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(text.len() + 8);
    for chunk in text.chunks(usize::from(u16::MAX)) {
        let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        // Not the last block, stored.
        blocks.push(0);
        blocks.extend(length.to_le_bytes());
        blocks.extend((!length).to_le_bytes());
        blocks.extend(chunk);
    }
    blocks
}

/// Returns a zstd frame that contains a text without compression (RFC 8878, section 3.1.1); nothing for an empty text.
fn raw_frame(text: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    /// The size of the content follows in eight bytes, and is the size of the window.
    const DESCRIPTOR: u8 = 0b1110_0000;
    const MAX_BLOCK: usize = 128 << 10;

    let blocks = text.chunks(MAX_BLOCK);
    let last = blocks.len().wrapping_sub(1);
    let mut frame = Vec::new();
    for (index, block) in blocks.enumerate() {
        if index == 0 {
            frame.reserve(text.len() + 16);
            frame.extend(MAGIC);
            frame.push(DESCRIPTOR);
            frame.extend((text.len() as u64).to_le_bytes());
        }
        // Whether it is the last block, the type, which is 0, and the size.
        let header = block.len() << 3 | usize::from(index == last);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

/// Compresses a text to deflate blocks that end at a byte boundary and to which later blocks do not refer.
fn deflate(text: &[u8], compress: &mut Compress) -> Vec<u8> {
    compress.reset();
    let mut compressed = Vec::with_capacity(text.len() / 8 + 64);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(consumed..).unwrap_or_default();
        compressed.reserve(rest.len() / 8 + 64);
        let status = compress.compress_vec(rest, &mut compressed, FlushCompress::Full);
        // It fails only after the end of a stream, which is never requested, and is done if it left capacity unused.
        if !matches!(status, Ok(Status::Ok | Status::BufError)) || compressed.len() < compressed.capacity() {
            return compressed;
        }
    }
}
