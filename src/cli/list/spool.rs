//! The records of a listing, in a temporary file until it is known whether the listing is valid.
//!
//! Pages arrive in any order and show numbers twice, so records are written as they arrive. What stays in memory of a number
//! is where its record is.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::inventory::{E164, NumberStates};
use crate::poller::RecordSink;
use crate::tryvox::{MAX_TEXT, NumberRecord, OptionalField};

/// Where temporary files are if the usual folder is not writable, as in a container whose file system is read-only.
const FALLBACK_FOLDER: &str = "/dev/shm";

/// Size of the buffer for reading the file from its beginning to its end.
const SCAN_BUFFER: usize = 1 << 16;

/// Size of the buffer for reading records in the order of the numbers. If that is their order in the file, it saves most system
/// calls, and if not, it is not much larger than a record.
const READ_BUFFER: usize = 1 << 10;

/// A record as it is stored. Fees are the digits that the API wrote, and times are Unix timestamps in seconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRecord<'a> {
    pub(super) country: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
    pub(super) region: Option<Cow<'a, str>>,
    pub(super) status: Cow<'a, str>,
    pub(super) capabilities: Option<Vec<Cow<'a, str>>>,
    pub(super) monthly_fee: Cow<'a, str>,
    pub(super) setup_fee: Cow<'a, str>,
    pub(super) currency: Cow<'a, str>,
    pub(super) trunk_id: Option<Cow<'a, str>>,
    pub(super) application_id: Option<Cow<'a, str>>,
    pub(super) created_at: Option<u32>,
    pub(super) updated_at: Option<u32>,
    /// Whether a trunk or an application that is absent here may exist, because it cannot be read.
    pub(super) has_unreadable_assignment: bool,
}

impl<'a> StoredRecord<'a> {
    fn new(record: &'a NumberRecord<'_>) -> Self {
        let text = |text: &'a Option<Cow<'_, str>>| text.as_deref().map(Cow::Borrowed);
        Self {
            country: Cow::Borrowed(&record.country),
            kind: Cow::Borrowed(&record.kind),
            region: text(&record.region),
            status: Cow::Borrowed(&record.status),
            // As in the inventory, capabilities that are too long or not an array of texts are absent.
            capabilities: record
                .capabilities
                .filter(|json| json.len() <= MAX_TEXT)
                .and_then(|json| serde_json::from_str(json).ok()),
            monthly_fee: fee(record.monthly_fee),
            setup_fee: fee(record.setup_fee),
            currency: Cow::Borrowed(&record.currency),
            trunk_id: text(&record.trunk_id),
            application_id: text(&record.application_id),
            created_at: record.created_at,
            updated_at: record.updated_at,
            has_unreadable_assignment: record.unreadable.contains_any(&OptionalField::ASSIGNMENT),
        }
    }
}

/// Returns the digits of a fee, which may be a JSON string.
fn fee(json: &str) -> Cow<'_, str> {
    let text = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    text.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// What precedes each record in the file.
struct Header {
    e164: u64,
    page: u32,
    /// Length of the record.
    length: u32,
}

impl Header {
    const SIZE: u64 = 16;

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.e164.to_le_bytes())?;
        out.write_all(&self.page.to_le_bytes())?;
        out.write_all(&self.length.to_le_bytes())
    }

    /// Reads a header; `None` at the end of the file.
    fn read(file: &mut impl Read) -> io::Result<Option<Self>> {
        let (mut e164, mut page, mut length) = ([0; 8], [0; 4], [0; 4]);
        match file.read_exact(&mut e164) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        file.read_exact(&mut page)?;
        file.read_exact(&mut length)?;
        let [page, length] = [page, length].map(u32::from_le_bytes);
        Ok(Some(Self { e164: u64::from_le_bytes(e164), page, length }))
    }
}

/// The records of one attempt to list an account.
#[derive(Debug, Default)]
pub(super) struct Spool {
    /// The file, from the first record on.
    file: Option<BufWriter<File>>,
    /// The folder that it is in.
    folder: PathBuf,
    /// A buffer for the current record.
    record: Vec<u8>,
    /// Why a record could not be written. Those that follow are dropped.
    error: Option<io::Error>,
}

impl RecordSink for Spool {
    fn add(&mut self, page: u32, record: &NumberRecord<'_>) {
        if self.error.is_none() {
            self.error = self.write(page, record).err();
        }
    }
}

impl Spool {
    fn write(&mut self, page: u32, record: &NumberRecord<'_>) -> io::Result<()> {
        // Only valid records are added.
        let Ok(e164) = record.e164.parse::<E164>() else { return Ok(()) };
        let file = if let Some(file) = &mut self.file {
            file
        } else {
            let (file, folder) = temporary_file().inspect_err(|_| self.folder = std::env::temp_dir())?;
            self.folder = folder;
            self.file.insert(BufWriter::new(file))
        };
        self.record.clear();
        serde_json::to_writer(&mut self.record, &StoredRecord::new(record))?;
        let length = u32::try_from(self.record.len()).map_err(io::Error::other)?;
        Header { e164: e164.integer(), page, length }.write(file)?;
        file.write_all(&self.record)
    }

    /// Returns the last record of each of these numbers.
    ///
    /// # Errors
    /// If the file cannot be written or read.
    pub(super) fn finish(self, numbers: NumberStates) -> anyhow::Result<SpooledListing> {
        if let Some(error) = self.error {
            return Err(write_error(error, &self.folder));
        }
        let e164s: Vec<E164> = numbers.numbers().map(|number| number.e164).collect();
        drop(numbers);
        let Some(file) = self.file else {
            return if e164s.is_empty() { Ok(SpooledListing::default()) } else { Err(missing_record()) };
        };
        let file = file.into_inner().map_err(|error| write_error(error.into_error(), &self.folder))?;
        let offsets = find_records(&file, &e164s).context(READ_ERROR)?;
        if offsets.contains(&UNKNOWN) {
            return Err(missing_record());
        }
        Ok(SpooledListing { records: Some(RecordFile::new(file)), e164s, offsets })
    }
}

const READ_ERROR: &str = "cannot read the temporary file; check the disk of the directory in TMPDIR";

fn write_error(error: io::Error, folder: &Path) -> anyhow::Error {
    anyhow::Error::new(error).context(format!(
        "cannot write a temporary file in {}; free space there, or set TMPDIR to another directory",
        folder.display()
    ))
}

fn missing_record() -> anyhow::Error {
    anyhow!("a number of the listing has no record; please report this bug")
}

/// Creates a file without a name, which the system removes when it is closed. Returns it and its folder.
fn temporary_file() -> io::Result<(File, PathBuf)> {
    let create = |folder: PathBuf| Ok((tempfile::tempfile_in(&folder)?, folder));
    create(std::env::temp_dir()).or_else(|error: io::Error| create(FALLBACK_FOLDER.into()).map_err(|_| error))
}

/// Stands for a record that has not been found.
const UNKNOWN: u64 = u64::MAX;

/// Returns the offset of the last record of each number: the one on the page with the highest number.
fn find_records(file: &File, e164s: &[E164]) -> io::Result<Vec<u64>> {
    let mut file = BufReader::with_capacity(SCAN_BUFFER, file);
    file.rewind()?;
    let (mut pages, mut offsets) = (vec![0; e164s.len()], vec![UNKNOWN; e164s.len()]);
    let mut offset = 0;
    while let Some(Header { e164, page, length }) = Header::read(&mut file)? {
        let index = e164s.binary_search_by_key(&e164, |e164| e164.integer());
        let place = index.ok().and_then(|index| pages.get_mut(index).zip(offsets.get_mut(index)));
        if let Some((last_page, last_offset)) = place
            && (*last_offset == UNKNOWN || *last_page <= page)
        {
            (*last_page, *last_offset) = (page, offset);
        }
        file.seek_relative(length.into())?;
        offset += Header::SIZE + u64::from(length);
    }
    Ok(offsets)
}

/// A file of records that is read from any place.
#[derive(Debug)]
struct RecordFile {
    file: BufReader<File>,
    /// Where the next byte is read; `None` if that is unknown.
    position: Option<u64>,
}

impl RecordFile {
    fn new(file: File) -> Self {
        Self { file: BufReader::with_capacity(READ_BUFFER, file), position: None }
    }

    /// Reads the record at an offset; `json` is a buffer.
    fn record_at<'a>(&mut self, offset: u64, json: &'a mut Vec<u8>) -> io::Result<StoredRecord<'a>> {
        match self.position.take() {
            // Unlike an absolute seek, this keeps what is buffered.
            Some(position) => self.file.seek_relative(offset.wrapping_sub(position).cast_signed())?,
            None => _ = self.file.seek(SeekFrom::Start(offset))?,
        }
        let Header { length, .. } = Header::read(&mut self.file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        json.resize(length as usize, 0);
        self.file.read_exact(json)?;
        self.position = Some(offset + Header::SIZE + u64::from(length));
        Ok(serde_json::from_slice(json)?)
    }
}

/// The records of a valid listing, in the order of the numbers.
#[derive(Debug, Default)]
pub(super) struct SpooledListing {
    records: Option<RecordFile>,
    e164s: Vec<E164>,
    /// Where the record of each number begins, with its header.
    offsets: Vec<u64>,
}

impl SpooledListing {
    /// Passes each number and its record to a function, in the order of the numbers.
    ///
    /// # Errors
    /// If the file cannot be read, or the function fails.
    pub(super) fn for_each<E: From<anyhow::Error>>(
        self,
        mut visit: impl FnMut(E164, &StoredRecord<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(mut records) = self.records else { return Ok(()) };
        let mut json = Vec::new();
        for (e164, offset) in self.e164s.into_iter().zip(self.offsets) {
            visit(e164, &records.record_at(offset, &mut json).context(READ_ERROR)?)?;
        }
        Ok(())
    }
}
