//! The content codings of an answer (RFC 9110, section 8.4.1), made of pieces that are ready.
//!
//! What is kept is packed once, and what is of the moment at each scrape. The pieces of gzip
//! (RFC 1952) are runs of deflate blocks (RFC 1951) that refer to nothing before them and end at a
//! byte, so that behind each other they are one member. Those of zstd (RFC 8878) are frames, of which
//! the format allows any number.

use std::io::Write;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::poller::Text;

/// How an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// What is kept is packed well, as that is done once.
const KEPT: Level = Level { deflate: 6, zstd: 3 };
/// What is of the moment is packed fast.
const LIVE: Level = Level { deflate: 1, zstd: 1 };

struct Level {
    deflate: u32,
    zstd: i32,
}

/// Magic number, deflate, no name and no time, made by Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

impl Coding {
    /// Its name in a `Content-Encoding` header; none for what needs no such header.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Packs kept texts, one behind the other, and one of the moment.
    pub(super) fn pack<'a>(self, kept: impl Iterator<Item = &'a Text>, live: &str) -> Vec<u8> {
        match self {
            Self::Identity => {
                let kept: Vec<_> = kept.map(Text::as_str).collect();
                let mut out = Vec::with_capacity(kept.iter().map(|text| text.len()).sum::<usize>() + live.len());
                kept.into_iter().chain([live]).for_each(|text| out.extend_from_slice(text.as_bytes()));
                out
            }
            Self::Gzip => {
                let (mut out, mut crc) = (GZIP_HEADER.to_vec(), Crc::new());
                for text in kept {
                    crc.update(text.as_str().as_bytes());
                    out.extend_from_slice(text.packed(0, |text| deflate(text, KEPT.deflate, FlushCompress::Full)));
                }
                crc.update(live.as_bytes());
                out.extend(deflate(live, LIVE.deflate, FlushCompress::Finish));
                out.extend(crc.sum().to_le_bytes());
                // The length modulo 2^32, as the format has it.
                out.extend(crc.amount().to_le_bytes());
                out
            }
            Self::Zstd => {
                let mut out = Vec::new();
                for text in kept {
                    out.extend_from_slice(text.packed(1, |text| frame(text, KEPT.zstd)));
                }
                out.extend(frame(live, LIVE.zstd));
                out
            }
        }
    }
}

/// Deflate blocks, ended so that others may follow, or that none does.
fn deflate(text: &str, level: u32, end: FlushCompress) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(text.len() / 8 + 64);
    loop {
        let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(read..).unwrap_or_default();
        // It fails only where it is asked for more after the end.
        let status = compress.compress_vec(rest, &mut out, end);
        // A flush is done when there was room left for more.
        let done = match status {
            Ok(Status::StreamEnd) | Err(_) => true,
            Ok(Status::Ok | Status::BufError) => end != FlushCompress::Finish && out.len() < out.capacity(),
        };
        if done {
            return out;
        }
        out.reserve(out.capacity());
    }
}

/// One frame.
fn frame(text: &str, level: i32) -> Vec<u8> {
    let packed = zstd::stream::Encoder::new(Vec::with_capacity(text.len() / 8 + 64), level)
        .and_then(|mut encoder| encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()));
    // Writing to memory fails where there is none left, and then so does much else.
    packed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use proptest::prelude::*;

    fn unpack(coding: Coding, packed: &[u8]) -> String {
        let mut text = String::new();
        match coding {
            Coding::Identity => packed.to_vec().as_slice().read_to_string(&mut text),
            // One member and no more.
            Coding::Gzip => flate2::bufread::GzDecoder::new(packed).read_to_string(&mut text),
            Coding::Zstd => zstd::stream::Decoder::new(packed).and_then(|mut read| read.read_to_string(&mut text)),
        }
        .unwrap();
        text
    }

    fn round_trip(kept: &[String], live: &str) {
        let texts: Vec<Text> = kept.iter().cloned().map(Text::from).collect();
        let whole = kept.concat() + live;
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let first = coding.pack(texts.iter(), live);
            assert_eq!(unpack(coding, &first), whole, "{coding:?}");
            assert_eq!(coding.pack(texts.iter(), live), first, "from what was packed before");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(kept in proptest::collection::vec("[a-e\n]{0,300}", 0..6), live in "[a-e]{0,50}") {
            round_trip(&kept, &live);
        }
    }

    /// Larger than any buffer, and of kinds that pack well and badly.
    #[test]
    fn large_texts_unpack() {
        let mut dice = fastrand::Rng::with_seed(crate::metrics::coding::GZIP_HEADER.len() as u64);
        let noise: String = std::iter::repeat_with(|| dice.alphanumeric()).take(1 << 20).collect();
        round_trip(&["abc".repeat(1 << 20), noise.clone(), String::new()], &noise);
    }

    #[test]
    fn what_is_kept_is_packed_once() {
        let text = Text::from("x".repeat(1000));
        Coding::Gzip.pack([&text].into_iter(), "");
        text.packed(0, |_| panic!("it was packed already"));
    }
}
