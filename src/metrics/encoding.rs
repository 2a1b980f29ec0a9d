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
}

impl CompressionLevel {
    fn deflate(self) -> u32 {
        match self {
            Self::Small => 6,
            Self::Fast => 1,
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::Small => 3,
            Self::Fast => 1,
        }
    }
}

/// Compresses texts. The state of deflate, which is large, is created when it is first needed and then reused.
#[derive(Default)]
pub(super) struct Compressors {
    /// By [`CompressionLevel`].
    deflate: [Option<Compress>; 2],
}

impl Compressors {
    /// Compresses a text so that it can stand between other parts of a body.
    pub(super) fn compress(&mut self, text: &[u8], encoding: Encoding, level: CompressionLevel) -> Vec<u8> {
        match encoding {
            Encoding::Identity => text.to_vec(),
            Encoding::Gzip => deflate(text, self.deflate(level)),
            // It fails only if there is not enough memory, which is not the client's concern.
            Encoding::Zstd => zstd::bulk::compress(text, level.zstd()).unwrap_or_default(),
        }
    }

    fn deflate(&mut self, level: CompressionLevel) -> &mut Compress {
        let compress = &mut self.deflate[level as usize];
        compress.get_or_insert_with(|| Compress::new(Compression::new(level.deflate()), false))
    }
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
