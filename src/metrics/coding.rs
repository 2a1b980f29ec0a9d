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
}

/// An answer that is being packed, piece by piece: first what is kept, then what is of the moment.
pub(super) struct Packer {
    out: Vec<u8>,
    coding: Coder,
}

enum Coder {
    Identity,
    Gzip { crc: Crc, kept: Option<Compress>, live: Option<Compress> },
    Zstd { live: Option<zstd::stream::write::Encoder<'static, Vec<u8>>> },
}

impl Packer {
    pub(super) fn new(coding: Coding) -> Self {
        let (out, coding) = match coding {
            Coding::Identity => (Vec::new(), Coder::Identity),
            Coding::Gzip => (GZIP_HEADER.to_vec(), Coder::Gzip { crc: Crc::new(), kept: None, live: None }),
            Coding::Zstd => {
                (Vec::new(), Coder::Zstd { live: zstd::stream::write::Encoder::new(Vec::new(), LIVE.zstd).ok() })
            }
        };
        Self { out, coding }
    }

    /// How many bytes are ready.
    pub(super) fn ready(&self) -> usize {
        self.out.len()
    }

    /// Takes those.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Adds a text that is kept.
    pub(super) fn kept(&mut self, text: &Text) {
        let packed = match &mut self.coding {
            Coder::Identity => text.as_str().as_bytes(),
            Coder::Gzip { crc, kept, .. } => {
                crc.update(text.as_str().as_bytes());
                text.packed(0, |text| {
                    let compress = kept.get_or_insert_with(|| Compress::new(Compression::new(KEPT.deflate), false));
                    compress.reset();
                    let mut packed = Vec::with_capacity(text.len() / 8 + 64);
                    deflate(compress, text, FlushCompress::Full, &mut packed);
                    packed
                })
            }
            // Writing to memory fails where there is none left, and then so does much else.
            Coder::Zstd { .. } => {
                text.packed(1, |text| zstd::bulk::compress(text.as_bytes(), KEPT.zstd).unwrap_or_default())
            }
        };
        self.out.extend_from_slice(packed);
    }

    /// Adds a text of the moment; nothing that is kept may follow.
    pub(super) fn live(&mut self, text: &str) {
        match &mut self.coding {
            Coder::Identity => self.out.extend_from_slice(text.as_bytes()),
            Coder::Gzip { crc, live, .. } => {
                crc.update(text.as_bytes());
                let compress = live.get_or_insert_with(|| Compress::new(Compression::new(LIVE.deflate), false));
                deflate(compress, text, FlushCompress::None, &mut self.out);
            }
            Coder::Zstd { live } => {
                if let Some(encoder) = live {
                    _ = encoder.write_all(text.as_bytes());
                    self.out.append(encoder.get_mut());
                }
            }
        }
    }

    /// Ends it.
    pub(super) fn finish(&mut self) {
        match &mut self.coding {
            Coder::Identity => {}
            Coder::Gzip { crc, live, .. } => {
                let compress = live.get_or_insert_with(|| Compress::new(Compression::new(LIVE.deflate), false));
                deflate(compress, "", FlushCompress::Finish, &mut self.out);
                self.out.extend(crc.sum().to_le_bytes());
                // The length modulo 2^32, as the format has it.
                self.out.extend(crc.amount().to_le_bytes());
            }
            Coder::Zstd { live } => {
                let rest = live.take().and_then(|encoder| encoder.finish().ok());
                self.out.extend(rest.unwrap_or_default());
            }
        }
    }
}

/// Deflate blocks of a text, ended as it says.
fn deflate(compress: &mut Compress, text: &str, end: FlushCompress, out: &mut Vec<u8>) {
    let start = compress.total_in();
    loop {
        let read = usize::try_from(compress.total_in() - start).unwrap_or(usize::MAX);
        let rest = text.as_bytes().get(read..).unwrap_or_default();
        out.reserve(rest.len() / 8 + 64);
        // It fails only where it is asked for more after the end.
        let status = compress.compress_vec(rest, out, end);
        // What is asked for is done when there was room left for more.
        let done = match status {
            Ok(Status::StreamEnd) | Err(_) => true,
            Ok(Status::Ok | Status::BufError) => end != FlushCompress::Finish && out.len() < out.capacity(),
        };
        if done {
            return;
        }
    }
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

    fn pack(coding: Coding, kept: &[Text], live: &[&str]) -> Vec<u8> {
        let (mut packer, mut all) = (Packer::new(coding), Vec::new());
        for text in kept {
            packer.kept(text);
            all.extend(packer.take());
        }
        for text in live {
            packer.live(text);
            all.extend(packer.take());
        }
        packer.finish();
        all.extend(packer.take());
        all
    }

    fn round_trip(kept: &[String], live: &[&str]) {
        let texts: Vec<Text> = kept.iter().cloned().map(Text::from).collect();
        let whole = kept.concat() + &live.concat();
        for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
            let first = pack(coding, &texts, live);
            assert_eq!(unpack(coding, &first), whole, "{coding:?}");
            assert_eq!(pack(coding, &texts, live), first, "from what was packed before");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(kept in proptest::collection::vec("[a-e\n]{0,300}", 0..6), live in "[a-e]{0,50}") {
            round_trip(&kept, &[&live, "", &live]);
            round_trip(&kept, &[]);
        }
    }

    /// Larger than any buffer, and of kinds that pack well and badly.
    #[test]
    fn large_texts_unpack() {
        let mut dice = fastrand::Rng::with_seed(7);
        let noise: String = std::iter::repeat_with(|| dice.alphanumeric()).take(1 << 20).collect();
        round_trip(&["abc".repeat(1 << 20), noise.clone(), String::new()], &[&noise, "x", &noise]);
    }

    #[test]
    fn what_is_kept_is_packed_once() {
        let text = Text::from("x".repeat(1000));
        Packer::new(Coding::Gzip).kept(&text);
        text.packed(0, |_| panic!("it was packed already"));
    }
}
