//! The invalid records of a listing whose numbers can be read.

use super::E164;

/// Invalid records whose numbers can be read.
#[derive(Debug, Default)]
pub(super) struct UnreadableRecords(Vec<UnreadableRecord>);

#[derive(Debug)]
struct UnreadableRecord {
    e164: E164,
    page: u32,
    /// Its [`InvalidRecord::kind`](super::InvalidRecord::kind).
    kind: &'static str,
}

impl UnreadableRecords {
    /// Adds an invalid record of this number.
    pub(super) fn add(&mut self, e164: E164, page: u32, kind: &'static str) {
        self.0.push(UnreadableRecord { e164, page, kind });
    }

    /// Returns the numbers in ascending order without duplicates, and the kind of each repeated record.
    ///
    /// Records of a number on other pages than its first are repeated: a shift of the list shows a record on two pages.
    pub(super) fn finish(mut self) -> (Vec<E164>, Vec<&'static str>) {
        self.0.sort_by_key(|record| (record.e164, record.page));
        let (mut numbers, mut repeated) = (Vec::new(), Vec::new());
        for records in self.0.chunk_by(|a, b| a.e164 == b.e164) {
            numbers.push(records[0].e164);
            repeated.extend(records.iter().filter(|record| record.page != records[0].page).map(|record| record.kind));
        }
        (numbers, repeated)
    }
}
