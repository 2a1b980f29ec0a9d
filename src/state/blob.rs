//! The compressed forms of a listing: its inventory as JSON, and its numbers in a few bytes each.
//!
//! Both begin with a format byte, followed by one zstd frame that has its content's size and a checksum. The content of
//! the numbers is, with all integers in LEB128:
//!
//! 1. the classes as JSON, after their length in bytes;
//! 2. the assignments as JSON, after their length in bytes;
//! 3. the count of the numbers; the difference of each [`E164::integer`] from that of the number before it; the class
//!    of each number; the assignment of each number.
//!
//! Numbers are written and read one by one, so neither direction makes another copy of them.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use serde::Serializer;
use zstd::stream::{read::Decoder, write::Encoder};

use crate::inventory::{Assignment, E164, InvalidNumberStates, Listing, NumberState, NumberStates, StatedNumber};

/// The format byte of both blobs.
const FORMAT: u8 = 1;

/// Compression level. Higher ones save little, because most of what remains is random.
const LEVEL: i32 = 1;

/// The largest window that a frame may ask for, as a power of two in bytes. Those of this module need less.
const MAX_WINDOW_LOG: u32 = 22;

/// The most bytes that zstd can make of one byte: a block of 128 KiB takes 4 bytes.
const MAX_RATIO: u64 = 128 * 1024 / 4;

/// Memory for numbers is allocated for so many at a time, while they are read.
const STEP: usize = 1 << 16;

/// Why a blob cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidBlob {
    #[error("format {0:?} is unknown")]
    Format(Option<u8>),
    #[error("cannot decompress: {0}")]
    Compression(#[from] io::Error),
    #[error("invalid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    States(#[from] InvalidNumberStates),
    #[error("{0}")]
    Content(&'static str),
}

/// Returns the compressed form of a listing's inventory.
pub(super) fn encode_inventory(listing: &Listing) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(listing)?;
    compress(json.len() as u64, |output| output.write_all(&json))
}

/// Decodes what [`encode_inventory`] returns.
pub(super) fn decode_inventory(blob: &[u8]) -> Result<Listing, InvalidBlob> {
    let mut json = Vec::new();
    decompress(blob)?.read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Returns the compressed form of a listing's numbers.
pub(super) fn encode_numbers(numbers: &NumberStates) -> io::Result<Vec<u8>> {
    let mut size = ByteCounter(0);
    write_numbers(&mut size, numbers)?;
    compress(size.0, |output| write_numbers(output, numbers))
}

/// Decodes what [`encode_numbers`] returns.
pub(super) fn decode_numbers(blob: &[u8]) -> Result<NumberStates, InvalidBlob> {
    let mut content = decompress(blob)?;
    let classes: Vec<NumberState> = read_json(&mut content)?;
    let assignments: Vec<Assignment> = read_json(&mut content)?;
    // Each number takes at least three bytes.
    let most = (blob.len() as u64).saturating_mul(MAX_RATIO) / 3;
    let count = read_integer(&mut content)?;
    let count = usize::try_from(count).ok().filter(|_| count <= most);
    let count = count.ok_or(InvalidBlob::Content("more numbers than the data can have"))?;

    let mut numbers: Vec<StatedNumber> = Vec::new();
    let mut integer = 0_u64;
    while numbers.len() < count {
        if numbers.len() == numbers.capacity() {
            numbers.reserve_exact(STEP.min(count - numbers.len()));
        }
        let e164 = integer.checked_add(read_integer(&mut content)?).and_then(|sum| {
            integer = sum;
            E164::from_integer(sum)
        });
        let e164 = e164.ok_or(InvalidBlob::Content("not a number"))?;
        numbers.push(StatedNumber { e164, class: 0, assignment: 0 });
    }
    for number in &mut numbers {
        number.class = read_index(&mut content)?;
    }
    for number in &mut numbers {
        number.assignment = read_index(&mut content)?;
    }
    if !content.fill_buf()?.is_empty() {
        return Err(InvalidBlob::Content("more data than numbers"));
    }
    Ok(NumberStates::new(classes, assignments, numbers)?)
}

fn write_numbers(output: &mut impl Write, states: &NumberStates) -> io::Result<()> {
    write_json(output, states.classes().iter())?;
    write_json(output, states.assignments())?;
    let numbers = states.numbers();
    write_integer(output, numbers.len() as u64)?;
    let mut previous = 0;
    for number in numbers {
        let integer = number.e164.integer();
        write_integer(output, integer - previous)?;
        previous = integer;
    }
    for number in numbers {
        write_integer(output, number.class.into())?;
    }
    for number in numbers {
        write_integer(output, number.assignment.into())?;
    }
    Ok(())
}

/// Writes items as a JSON array, after its length.
fn write_json<T: serde::Serialize>(
    output: &mut impl Write,
    items: impl ExactSizeIterator<Item = T> + Clone,
) -> io::Result<()> {
    let mut size = ByteCounter(0);
    serde_json::Serializer::new(&mut size).collect_seq(items.clone())?;
    write_integer(output, size.0)?;
    serde_json::Serializer::new(output).collect_seq(items)?;
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(content: &mut impl BufRead) -> Result<T, InvalidBlob> {
    let length = read_integer(content)?;
    let mut json = Vec::new();
    content.by_ref().take(length).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Writes an integer in LEB128: seven bits a byte, the lowest first, each byte but the last one with its highest bit.
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn write_integer(output: &mut impl Write, mut integer: u64) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut length = 0;
    for byte in &mut bytes {
        length += 1;
        *byte = integer as u8 & 0x7f;
        integer >>= 7;
        if integer == 0 {
            break;
        }
        *byte |= 0x80;
    }
    output.write_all(bytes.get(..length).unwrap_or_default())
}

fn read_integer(content: &mut impl BufRead) -> Result<u64, InvalidBlob> {
    let mut integer = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *content.fill_buf()?.first().ok_or(InvalidBlob::Content("too little data"))?;
        content.consume(1);
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        integer |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(integer);
        }
    }
    Err(InvalidBlob::Content("an integer is too large"))
}

fn read_index(content: &mut impl BufRead) -> Result<u32, InvalidBlob> {
    u32::try_from(read_integer(content)?).map_err(|_| InvalidNumberStates.into())
}

/// Returns a format byte and a zstd frame of what `write` writes, which must be `size` bytes.
fn compress(
    size: u64,
    write: impl FnOnce(&mut BufWriter<&mut Encoder<'_, Vec<u8>>>) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(vec![FORMAT], LEVEL)?;
    encoder.include_checksum(true)?;
    // Small contents get small tables.
    encoder.set_pledged_src_size(Some(size))?;
    let mut output = BufWriter::with_capacity(buffer_size(size), &mut encoder);
    write(&mut output)?;
    output.flush()?;
    drop(output);
    let mut blob = encoder.finish()?;
    blob.shrink_to_fit();
    Ok(blob)
}

fn decompress(blob: &[u8]) -> Result<BufReader<Decoder<'static, &[u8]>>, InvalidBlob> {
    let Some((&FORMAT, frame)) = blob.split_first() else { return Err(InvalidBlob::Format(blob.first().copied())) };
    let size = (blob.len() as u64).saturating_mul(16);
    let mut decoder = Decoder::with_buffer(frame)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(BufReader::with_capacity(buffer_size(size), decoder))
}

/// Returns the size of a buffer for a content of about this size.
fn buffer_size(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).clamp(1 << 10, 1 << 16)
}

/// Counts the bytes that are written to it.
struct ByteCounter(u64);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
