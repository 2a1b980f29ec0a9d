//! The content codings of an answer (RFC 9110, section 8.4.1), made of texts that are packed by
//! themselves, each once.
//!
//! Of gzip (RFC 1952) they are runs of deflate blocks (RFC 1951) that refer to nothing before them and
//! end at a byte, so that behind each other they are one member. Of zstd (RFC 8878) they are frames, of
//! which the format allows any number.

use std::collections::VecDeque;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::poller::Text;

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// How well a text is packed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    /// Well, as it is kept for as long as a listing.
    Kept,
    /// Fast, as it is of the moment.
    Live,
}

impl Level {
    fn deflate(self) -> u32 {
        match self {
            Self::Kept => 6,
            Self::Live => 1,
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::Kept => 3,
            Self::Live => 1,
        }
    }
}

/// Magic number, deflate, no name and no time, made by Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// A last block with nothing in it.
const LAST_BLOCK: [u8; 2] = [3, 0];

impl Encoding {
    /// All of them that pack.
    pub(super) const PACKING: [Self; Text::WAYS] = [Self::Gzip, Self::Zstd];

    /// Its name in a `Content-Encoding` header; none for what needs no such header.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Which of a text's ways it is.
    fn way(self) -> Option<usize> {
        Self::PACKING.iter().position(|coding| *coding == self)
    }

    /// Whether somebody has asked for the text in this coding.
    pub(super) fn is_asked(self, text: &Text) -> bool {
        self.way().is_some_and(|way| text.is_packed(way))
    }

    /// The text in this coding, without what comes before and behind all texts.
    pub(super) fn pack<'a>(self, text: &'a Text, level: Level, workshop: &mut Workshop) -> &'a Bytes {
        let Some(way) = self.way() else { return text.bytes() };
        text.packed(way, |text| match self {
            // Writing to memory fails where there is none left, and then so does much else.
            Self::Zstd => zstd::bulk::compress(text, level.zstd()).unwrap_or_default(),
            _ => deflate(text, workshop.deflate(level)),
        })
    }
}

/// What packs: made when it is needed, and used again.
#[derive(Default)]
pub(super) struct Workshop([Option<Compress>; 2]);

impl Workshop {
    fn deflate(&mut self, level: Level) -> &mut Compress {
        self.0[level as usize].get_or_insert_with(|| Compress::new(Compression::new(level.deflate()), false))
    }
}

/// Deflate blocks of a text that end at a byte and that nothing behind them refers to.
fn deflate(text: &[u8], compress: &mut Compress) -> Vec<u8> {
    compress.reset();
    let mut packed = Vec::with_capacity(text.len() / 8 + 64);
    loop {
        let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(read..).unwrap_or_default();
        packed.reserve(rest.len() / 8 + 64);
        let status = compress.compress_vec(rest, &mut packed, FlushCompress::Full);
        // It fails only where it is asked for more after the end, and is done when there was room for more.
        if !matches!(status, Ok(Status::Ok | Status::BufError)) || packed.len() < packed.capacity() {
            return packed;
        }
    }
}

/// What is smaller goes together with its neighbours, in one piece; what is not is not copied.
const SMALL: usize = 32 << 10;
/// What is put together is at most about so much.
const PIECE: usize = 64 << 10;

/// An answer that is being packed, piece by piece.
pub(super) struct Packer {
    coding: Encoding,
    workshop: Workshop,
    crc: Crc,
    small: Vec<u8>,
    pieces: VecDeque<Bytes>,
}

impl Packer {
    pub(super) fn new(coding: Encoding) -> Self {
        let small = if coding == Encoding::Gzip { GZIP_HEADER.to_vec() } else { Vec::new() };
        Self { coding, workshop: Workshop::default(), crc: Crc::new(), small, pieces: VecDeque::new() }
    }

    /// Takes a piece that is ready.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.pieces.pop_front()
    }

    /// Adds a text.
    pub(super) fn add(&mut self, text: &Text, level: Level) {
        if self.coding == Encoding::Gzip {
            self.crc.update(text.bytes());
        }
        let packed = self.coding.pack(text, level, &mut self.workshop);
        if packed.len() < SMALL {
            self.small.extend_from_slice(packed);
            if self.small.len() >= PIECE {
                self.flush();
            }
        } else {
            self.flush();
            self.pieces.push_back(packed.clone());
        }
    }

    /// Ends it.
    pub(super) fn finish(&mut self) {
        if self.coding == Encoding::Gzip {
            self.small.extend(LAST_BLOCK);
            self.small.extend(self.crc.sum().to_le_bytes());
            // The length modulo 2^32, as the format has it.
            self.small.extend(self.crc.amount().to_le_bytes());
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.small).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use proptest::prelude::*;

    fn unpack(coding: Encoding, packed: &[u8]) -> String {
        let mut text = String::new();
        match coding {
            Encoding::Identity => packed.to_vec().as_slice().read_to_string(&mut text),
            // One member and no more.
            Encoding::Gzip => flate2::bufread::GzDecoder::new(packed).read_to_string(&mut text),
            Encoding::Zstd => zstd::stream::Decoder::new(packed).and_then(|mut read| read.read_to_string(&mut text)),
        }
        .unwrap();
        text
    }

    fn pack(coding: Encoding, texts: &[Text]) -> Vec<u8> {
        let mut packer = Packer::new(coding);
        let mut all = Vec::new();
        for (text, level) in texts.iter().zip([Level::Kept, Level::Live].into_iter().cycle()) {
            packer.add(text, level);
            all.extend(std::iter::from_fn(|| packer.take()));
        }
        packer.finish();
        all.extend(std::iter::from_fn(|| packer.take()));
        all.concat()
    }

    fn round_trip(texts: &[String]) {
        let whole = texts.concat();
        let texts: Vec<Text> = texts.iter().cloned().map(Text::from).collect();
        for coding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let first = pack(coding, &texts);
            assert_eq!(unpack(coding, &first), whole, "{coding:?}");
            assert_eq!(pack(coding, &texts), first, "from what was packed before");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(texts in proptest::collection::vec("[a-e\n]{0,300}", 1..6)) {
            round_trip(&texts);
        }
    }

    /// Larger than any buffer, and of kinds that pack well and badly.
    #[test]
    fn large_texts_unpack() {
        let mut dice = fastrand::Rng::with_seed(7);
        let noise: String = std::iter::repeat_with(|| dice.alphanumeric()).take(1 << 20).collect();
        round_trip(&["abc".repeat(1 << 20), noise.clone(), String::new(), "x".into(), noise]);
    }

    #[test]
    fn a_text_is_packed_once_and_what_is_large_is_not_copied() {
        let mut dice = fastrand::Rng::with_seed(7);
        let text = Text::from(std::iter::repeat_with(|| dice.alphanumeric()).take(1 << 16).collect::<String>());
        for coding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
            let at = coding.pack(&text, Level::Kept, &mut Workshop::default()).as_ptr();
            let mut packer = Packer::new(coding);
            packer.add(&text, Level::Kept);
            packer.finish();
            let pieces: Vec<Bytes> = std::iter::from_fn(|| packer.take()).collect();
            assert!(pieces.iter().any(|piece| piece.as_ptr() == at), "{coding:?}");
        }
    }
}
