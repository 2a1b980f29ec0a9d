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

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
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

/// Numbers for which memory is allocated at once while they are read, so that a wrong count costs little.
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

/// Returns a listing's inventory as JSON.
pub(super) fn inventory_json(listing: &Listing) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(listing)?)
}

/// Returns the compressed form of a listing's inventory.
pub(super) fn compress_inventory(json: &[u8]) -> io::Result<Vec<u8>> {
    compress(json.len() as u64, |output| output.write_all(json))
}

/// Returns a hash that differs if the content does, apart from one case in 2^64.
pub(super) fn hash(json: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(json);
    hasher.finish()
}

/// Decodes what [`compress_inventory`] returns, and returns the hash of the JSON, too.
pub(super) fn decode_inventory(blob: &[u8]) -> Result<(Listing, u64), InvalidBlob> {
    let mut json = Vec::new();
    decompress(blob)?.read_to_end(&mut json)?;
    Ok((serde_json::from_slice(&json)?, hash(&json)))
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
    write_json(output, || states.classes().iter())?;
    write_json(output, || states.assignments())?;
    let numbers = states.numbers();
    write_integer(output, numbers.len() as u64)?;
    let mut previous = 0;
    for number in numbers.clone() {
        let integer = number.e164.integer();
        write_integer(output, integer - previous)?;
        previous = integer;
    }
    for number in numbers.clone() {
        write_integer(output, number.class.into())?;
    }
    for number in numbers {
        write_integer(output, number.assignment.into())?;
    }
    Ok(())
}

/// Writes items as a JSON array, after its length.
fn write_json<I>(output: &mut impl Write, items: impl Fn() -> I) -> io::Result<()>
where
    I: ExactSizeIterator<Item: Serialize>,
{
    let mut size = ByteCounter(0);
    serde_json::Serializer::new(&mut size).collect_seq(items())?;
    write_integer(output, size.0)?;
    serde_json::Serializer::new(output).collect_seq(items())?;
    Ok(())
}

fn read_json<T: DeserializeOwned>(content: &mut impl BufRead) -> Result<T, InvalidBlob> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    use super::*;
    use crate::inventory::is_same;

    fn class() -> impl Strategy<Value = NumberState> {
        let text = || "[A-Za-z é\"\\\\]{1,8}".prop_map(Arc::from);
        (text(), text(), text(), text(), "-?[0-9]{1,9}(\\.[0-9]{1,6})?", any::<bool>()).prop_map(
            |(country, kind, status, currency, monthly_fee, is_unreadable)| NumberState {
                country,
                kind,
                status,
                currency,
                monthly_fee: monthly_fee.try_into().unwrap(),
                is_unreadable,
            },
        )
    }

    fn assignments() -> impl Strategy<Value = Vec<Assignment>> {
        let id = || prop::option::of("[a-z_]{0,6}".prop_map(Arc::from));
        let assignment = (id(), id()).prop_map(|(trunk, application)| Assignment { trunk, application });
        prop::collection::hash_set(assignment, 1..20).prop_map(|set| set.into_iter().collect())
    }

    fn states() -> impl Strategy<Value = NumberStates> {
        let numbers = prop::collection::btree_map(r"\+[0-9]{1,15}", (any::<u32>(), any::<u32>()), 0..300);
        (prop::collection::vec(class(), 1..20), assignments(), numbers).prop_map(|(classes, assignments, numbers)| {
            let numbers: BTreeMap<E164, _> =
                numbers.into_iter().map(|(text, indexes)| (text.parse().unwrap(), indexes)).collect();
            let index = |random: u32, length: usize| random % u32::try_from(length).unwrap();
            let numbers = numbers.into_iter().map(|(e164, (class, assignment))| StatedNumber {
                e164,
                class: index(class, classes.len()),
                assignment: index(assignment, assignments.len()),
            });
            let numbers = numbers.collect();
            NumberStates::new(classes, assignments, numbers).unwrap()
        })
    }

    /// Returns a blob with this content, which is valid as far as zstd is concerned.
    fn blob_of(content: &[u8]) -> Vec<u8> {
        compress(content.len() as u64, |output| output.write_all(content)).unwrap()
    }

    fn content_of(blob: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        decompress(blob).unwrap().read_to_end(&mut content).unwrap();
        content
    }

    proptest! {
        #[test]
        fn numbers_round_trip(states in states()) {
            let decoded = decode_numbers(&encode_numbers(&states).unwrap()).unwrap();
            prop_assert_eq!(decoded.classes(), states.classes());
            prop_assert!(decoded.assignments().eq(states.assignments()));
            prop_assert!(decoded.numbers().eq(states.numbers()));
            prop_assert!(is_same(&decoded, &states));
        }

        #[test]
        fn integers_round_trip(integer in any::<u64>(), shift in 0..64) {
            let mut bytes = Vec::new();
            write_integer(&mut bytes, integer >> shift).unwrap();
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_integer(&mut rest).unwrap(), integer >> shift);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0..3_u8) {
            let blob = [vec![format], bytes.clone()].concat();
            _ = decode_numbers(&blob);
            _ = decode_inventory(&blob);
            _ = decode_numbers(&blob_of(&bytes));
            _ = decode_inventory(&blob_of(&bytes));
        }

        #[test]
        fn any_changed_byte_of_a_blob_is_detected(states in states(), index in any::<prop::sample::Index>(), change in 1..=u8::MAX) {
            let mut blob = encode_numbers(&states).unwrap();
            *index.get_mut(&mut blob) ^= change;
            // Some bits of a frame's header mean nothing.
            if let Ok(decoded) = decode_numbers(&blob) {
                prop_assert!(is_same(&decoded, &states));
            }
        }

        #[test]
        fn changed_content_gives_an_error_or_valid_states(
            states in states(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)
        ) {
            let mut content = content_of(&encode_numbers(&states).unwrap());
            for (index, byte) in changes {
                *index.get_mut(&mut content) = byte;
            }
            if let Ok(decoded) = decode_numbers(&blob_of(&content)) {
                prop_assert!(decoded.numbers().is_sorted_by(|a, b| a.e164 < b.e164));
            }
        }
    }

    #[test]
    fn every_truncation_is_detected() {
        let states = states().new_tree(&mut proptest::test_runner::TestRunner::default()).unwrap().current();
        let blob = encode_numbers(&states).unwrap();
        for length in 0..blob.len() {
            assert!(decode_numbers(&blob[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn numbers_that_no_listing_can_have_are_rejected() {
        let content = |count: u64, numbers: &[u64]| {
            let mut content = Vec::new();
            for json in ["[]", "[{\"trunk\":null,\"application\":null}]"] {
                write_integer(&mut content, json.len() as u64).unwrap();
                content.extend_from_slice(json.as_bytes());
            }
            write_integer(&mut content, count).unwrap();
            for integer in numbers {
                write_integer(&mut content, *integer).unwrap();
            }
            decode_numbers(&blob_of(&content)).map(drop).map_err(|error| error.to_string())
        };
        let states = InvalidNumberStates.to_string();
        assert_eq!(content(0, &[]), Ok(()));
        assert_eq!(content(0, &[1]), Err("more data than numbers".to_owned()));
        assert_eq!(content(1, &[12, 0]), Err("too little data".to_owned()));
        assert_eq!(content(1, &[12, 0, 0]), Err(states.clone()), "there is no class");
        assert_eq!(content(1, &[99, 0, 0]), Err("not a number".to_owned()));
        assert_eq!(content(2, &[12, 0, 0, 0, 0, 0]), Err(states), "the same number twice");
        assert_eq!(content(2, &[12, u64::MAX, 0, 0, 0, 0]), Err("not a number".to_owned()));
        assert_eq!(content(1, &[12, u64::MAX, 0]), Err(InvalidNumberStates.to_string()), "an index beyond 32 bits");
        assert_eq!(content(u64::MAX, &[12]), Err("more numbers than the data can have".to_owned()));
    }

    #[test]
    fn million_numbers_take_less_than_four_bytes_each() {
        let mut random = fastrand::Rng::with_seed(7);
        let classes = (0..10).map(|class| NumberState {
            country: ["US", "CA", "GB", "DE", "FR"][class % 5].into(),
            kind: ["local", "mobile"][class / 5].into(),
            status: "active".into(),
            currency: "USD".into(),
            monthly_fee: "1.15".parse().unwrap(),
            is_unreadable: false,
        });
        let assignments = (0..50)
            .map(|trunk| Assignment { trunk: Some(format!("trk_{trunk:04x}").into()), application: Some("".into()) });
        let mut numbers: Vec<_> = (0..1_000_000)
            .map(|_| {
                let class = random.u32(0..10);
                let prefix = ["1", "1", "44", "49", "33"][class as usize % 5];
                let e164 = format!("+{prefix}{:010}", random.u64(2_000_000_000..10_000_000_000)).parse().unwrap();
                StatedNumber { e164, class, assignment: random.u32(0..50) }
            })
            .collect();
        numbers.sort_unstable_by_key(|number| number.e164);
        numbers.dedup_by_key(|number| number.e164);
        let states = NumberStates::new(classes.collect(), assignments, numbers).unwrap();

        let blob = encode_numbers(&states).unwrap();
        assert!(is_same(&decode_numbers(&blob).unwrap(), &states));
        assert!(blob.len() < 4 * states.numbers().len(), "{} bytes", blob.len());
    }
}
