//! The fold of a listing into an inventory: pages go in as they arrive, an inventory comes out at the end.
//!
//! Records are dropped as soon as they are read. What stays of a number takes 28 bytes: itself, its page, the index of
//! its class, the index of its optional labels, and the times of its creation and of its last update. Counts and sums follow
//! from how many numbers each class has, so fees are multiplied once per class instead of being added once per number.

mod tabulate;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::inventory::assignment_table::AssignmentTable;
use crate::inventory::class::{ClassTable, OptionalLabels, RawNumberClass};
use crate::inventory::index::index;
use crate::inventory::interner::{StringId, StringInterner};
use crate::inventory::listed_number::{ListedNumber, UNKNOWN_TIME, dedup_keeping_last};
use crate::inventory::unreadable::UnreadableRecords;
use crate::inventory::{
    CollectorOptions, E164, FoldedListing, InvalidRecord, InvalidRecords, Inventory, NumberState, NumberStates,
    StatedNumber,
};
use crate::short_text::GOLDEN_RATIO;
use crate::tryvox::{Deviation, GenerationWindow, ListingPage, NumberRecord};

/// Folds the pages of one listing into the inventory as of its first page.
///
/// A listing can consist of several queries, one for each filter. The first page of a query must be added before its
/// other pages, which can come in any order.
///
/// Numbers are purchased and released while the listing is read, and then the list shifts between two pages. Numbers
/// whose `created_at` is after the request of the first page were added during the listing: they are left out, and the
/// next listing has them. So every number in the inventory existed when the first page was written, and if there are
/// as many numbers as that page reported, the inventory has all that existed.
#[derive(Debug)]
pub struct ListingFold {
    options: Arc<CollectorOptions>,
    /// Numbers that get per-number series regardless of their status.
    watched: Arc<HashSet<E164>>,
    /// The documented statuses that the listing can contain.
    statuses: Vec<Arc<str>>,
    strings: StringInterner,
    /// All classes that occurred.
    classes: ClassTable,
    /// All combinations of optional labels that occurred.
    optional_labels: IndexSet<OptionalLabels, RandomState>,
    /// A buffer for the numbers of the current page and the indexes of their records; empty between pages.
    page_numbers: Vec<(ListedNumber, usize)>,
    /// The numbers of all pages. A number that is on several pages occurs several times.
    numbers: Vec<ListedNumber>,
    /// Numbers that were added during the listing.
    added_numbers: Vec<ListedNumber>,
    /// Numbers added during the previous listing, so that they cannot have been added during this one.
    added_during_previous_listing: HashSet<E164>,
    /// The earliest time at which the first page of the current query can have been requested, as a Unix timestamp in
    /// seconds; `None` if unknown.
    query_started_at: Option<u32>,
    /// Invalid records by [`InvalidRecord::kind`].
    invalid_by_kind: BTreeMap<&'static str, InvalidRecords>,
    /// The invalid records whose numbers can be read.
    unreadable_records: UnreadableRecords,
    /// Whether the current query has any records, valid or not.
    query_has_records: bool,
    /// The undocumented forms of the pages.
    deviations: BTreeSet<Deviation>,
}

/// Maximum number of numbers for which memory is reserved up front, because the API's total may be wrong. Longer
/// listings grow as they are read.
const MAX_RESERVED: usize = 4 << 20;

impl ListingFold {
    /// Creates an empty fold.
    ///
    /// `watched` are numbers that get per-number series regardless of their status. `statuses` are the documented
    /// statuses that the listing can contain. `added_during_previous_listing` is
    /// [`FoldedListing::added_during_listing`] of the listing before this one, or empty: these numbers cannot have been
    /// purchased during this listing, even if their `created_at` is later than its start.
    #[must_use]
    pub fn new(
        options: Arc<CollectorOptions>,
        watched: Arc<HashSet<E164>>,
        statuses: Vec<Arc<str>>,
        added_during_previous_listing: HashSet<E164>,
    ) -> Self {
        Self {
            options,
            watched,
            statuses,
            strings: StringInterner::default(),
            classes: ClassTable::default(),
            optional_labels: IndexSet::default(),
            page_numbers: Vec::new(),
            numbers: Vec::new(),
            added_numbers: Vec::new(),
            added_during_previous_listing,
            query_started_at: None,
            invalid_by_kind: BTreeMap::new(),
            unreadable_records: UnreadableRecords::default(),
            query_has_records: false,
            deviations: BTreeSet::new(),
        }
    }

    /// Starts the next query, which lists other numbers and has a first page of its own.
    pub fn start_query(&mut self) {
        self.query_started_at = None;
        self.query_has_records = false;
    }

    /// Returns whether the pages of the current query had any records, valid or not.
    #[must_use]
    pub fn query_has_records(&self) -> bool {
        self.query_has_records
    }

    /// Adds a page. `page_number` counts over all queries. If several pages have the same number, the record on the
    /// page with the highest `page_number` wins.
    ///
    /// A record that lacks something that every group needs is only counted as invalid. `on_invalid` is called with the
    /// reason.
    pub fn add_page(&mut self, page_number: u32, page: &ListingPage<'_>, on_invalid: impl FnMut(InvalidRecord)) {
        self.add_page_with(page_number, page, on_invalid, |_| {});
    }

    /// Adds a page like [`ListingFold::add_page`], and calls `on_number` with the record of each number of the page that
    /// the inventory will have. If several pages have the same number, it is called for each of them.
    pub fn add_page_with(
        &mut self,
        page_number: u32,
        page: &ListingPage<'_>,
        mut on_invalid: impl FnMut(InvalidRecord),
        mut on_number: impl FnMut(&NumberRecord<'_>),
    ) {
        if self.query_started_at.is_none() {
            self.query_started_at = page.generated.map(|generated| generated.earliest);
            // One reservation for everything, with a margin for numbers that a shifting list shows twice. Memory that
            // is reserved but not used costs nothing.
            let total = usize::try_from(page.pagination.total).unwrap_or(usize::MAX).min(MAX_RESERVED);
            self.numbers.reserve_exact(total + total / 16);
        }
        self.query_has_records |= !page.records.is_empty() || !page.malformed.is_empty();
        self.deviations.extend(&page.deviations);
        let mut add_invalid = |fold: &mut Self, e164: Option<&str>, invalid: InvalidRecord| {
            if let Some(e164) = e164.and_then(|e164| e164.parse().ok()) {
                fold.unreadable_records.add(e164, page_number, invalid.kind());
            }
            let records = fold.invalid_by_kind.entry(invalid.kind());
            records.or_insert_with(|| InvalidRecords { count: 0, example: invalid.to_string() }).count += 1;
            on_invalid(invalid);
        };
        for record in &page.malformed {
            add_invalid(self, record.e164.as_deref(), InvalidRecord::Malformed(record.error.clone()));
        }
        for (index, record) in page.records.iter().enumerate() {
            if let Err(invalid) = self.add_record(page_number, index, record) {
                add_invalid(self, Some(&*record.e164), invalid);
            }
        }
        let mut page_numbers = std::mem::take(&mut self.page_numbers);
        // If a page has the same number twice, the later record wins.
        if has_duplicates(&page_numbers) {
            page_numbers.sort_by_key(|(number, _)| number.e164);
            dedup_keeping_last(&mut page_numbers, |(number, _)| number.e164);
        }
        self.reserve(page_numbers.len());
        for (number, index) in page_numbers.drain(..) {
            let Some(record) = page.records.get(index) else { continue };
            let is_added = self.is_added_during_listing(record.created_at, page.generated);
            if !is_added || self.added_during_previous_listing.contains(&number.e164) {
                on_number(record);
            }
            if is_added {
                self.added_numbers.push(number);
            } else {
                self.numbers.push(number);
            }
        }
        self.page_numbers = page_numbers;
    }

    /// Adds the record at an index of the page to `page_numbers`.
    fn add_record(&mut self, page: u32, record_index: usize, record: &NumberRecord<'_>) -> Result<(), InvalidRecord> {
        let e164 = record.e164.parse()?;
        let raw_class = RawNumberClass::new(record);
        let (class, requirements) = self.classes.index_of(&raw_class, &mut self.strings, &self.options)?;
        let needs_details = requirements.has_number_series || self.watched.contains(&e164);
        let mut intern =
            |text: &Option<Cow<'_, str>>| text.as_deref().map_or(StringId::EMPTY, |text| self.strings.intern(text));
        let labels = OptionalLabels {
            region: if requirements.needs_region || needs_details { intern(&record.region) } else { StringId::EMPTY },
            trunk: intern(&record.trunk_id),
            application: intern(&record.application_id),
        };
        let optional_labels = self.optional_labels.insert_full(labels).0;
        let updated_at = record.updated_at.filter(|_| requirements.needs_updated_at || needs_details);
        let [created_at, updated_at] = [record.created_at, updated_at].map(|time| time.unwrap_or(UNKNOWN_TIME));
        let optional_labels = index(optional_labels);
        let number = ListedNumber { e164, page, class, optional_labels, created_at, updated_at };
        self.page_numbers.push((number, record_index));
        Ok(())
    }

    /// Reserves memory for more numbers, in case the list is longer than reported. The buffer grows in small steps,
    /// because one that doubles takes three times its size while it is copied.
    fn reserve(&mut self, additional: usize) {
        if self.numbers.capacity() - self.numbers.len() < additional {
            self.numbers.reserve_exact(additional.max(self.numbers.len() / 16));
        }
    }

    /// Returns whether a number was purchased after the first page was requested and before this page was written. A
    /// `created_at` in the future is the result of a wrong clock and does not count as a purchase.
    fn is_added_during_listing(&self, created_at: Option<u32>, written: Option<GenerationWindow>) -> bool {
        let (Some(started_at), Some(written)) = (self.query_started_at, written) else { return false };
        created_at.is_some_and(|created_at| started_at <= created_at && created_at <= written.latest)
    }

    /// Returns the inventory of all pages that were added.
    #[must_use]
    pub fn finish(mut self) -> FoldedListing {
        let added_during_listing: HashSet<E164> = self.added_numbers.iter().map(|number| number.e164).collect();
        self.reserve(self.added_numbers.len());
        for number in std::mem::take(&mut self.added_numbers) {
            if self.added_during_previous_listing.contains(&number.e164) {
                self.numbers.push(number);
            }
        }
        // The sort is unstable because that needs no second buffer. Its order is unambiguous all the same, as no page
        // has a number twice.
        self.numbers.sort_unstable_by_key(ListedNumber::order);
        dedup_keeping_last(&mut self.numbers, |number| number.e164);

        let unreadable_numbers = self.take_unreadable_numbers();
        let mut inventory = Inventory {
            listed: self.numbers.len() as u64,
            invalid: self.invalid_by_kind.values().map(|records| records.count).sum(),
            invalid_by_kind: std::mem::take(&mut self.invalid_by_kind),
            deviations: std::mem::take(&mut self.deviations),
            ..Inventory::default()
        };
        self.tabulate(&mut inventory);
        let number_states = self.into_number_states();
        FoldedListing { inventory, number_states, added_during_listing, unreadable_numbers }
    }

    /// Returns the numbers that have only invalid records, and stops counting repeated ones. `self.numbers` must be
    /// sorted.
    fn take_unreadable_numbers(&mut self) -> Vec<E164> {
        let (mut numbers, repeated) = std::mem::take(&mut self.unreadable_records).finish();
        for kind in repeated {
            if let Some(records) = self.invalid_by_kind.get_mut(kind) {
                records.count -= 1;
            }
        }
        self.invalid_by_kind.retain(|_, records| records.count > 0);
        numbers.retain(|e164| self.numbers.binary_search_by_key(e164, |number| number.e164).is_err());
        numbers.shrink_to_fit();
        numbers
    }

    /// Returns the state of each number. `self.numbers` must be sorted.
    fn into_number_states(self) -> NumberStates {
        let strings = &self.strings;
        let mut assignments = AssignmentTable::new(strings, &self.optional_labels);
        let mut classes = Vec::with_capacity(self.classes.all().len());
        let mut unreadable = Vec::with_capacity(self.classes.all().len());
        for class in self.classes.into_all() {
            unreadable.push(class.unreadable);
            let [country, kind, status, currency] =
                [class.country, class.kind, class.status, class.currency].map(|id| strings[id].clone());
            let monthly_fee = class.monthly_fee;
            classes.push(NumberState { country, kind, status, currency, monthly_fee, is_unreadable: false });
        }
        let state_of = |ListedNumber { e164, class, optional_labels, .. }| {
            let unreadable = unreadable.get(class as usize).copied().unwrap_or_default();
            StatedNumber { e164, class, assignment: assignments.index_of(optional_labels, unreadable) }
        };
        // Collected in place: the new vectors reuse the memory of `self.numbers` and give back what they do not need.
        let numbers = self.numbers.into_iter().map(state_of).collect();
        NumberStates::collect(classes, assignments.into_assignments(), numbers)
    }
}

/// Returns whether a page has a number twice, which is rare.
fn has_duplicates(page_numbers: &[(ListedNumber, usize)]) -> bool {
    let numbers = || page_numbers.iter().map(|(number, _)| number.e164);
    // Each number sets one bit. Equal numbers set the same, and so do two of 100 different numbers on 7% of the pages.
    let mut bits = [0_u64; 1 << 10];
    let was_set = |e164: E164| {
        let hash = e164.integer().wrapping_mul(GOLDEN_RATIO) >> 48;
        let (word, bit) = ((hash / 64) as usize, 1 << (hash % 64));
        bits.get_mut(word).is_some_and(|word| std::mem::replace(word, *word | bit) & bit != 0)
    };
    numbers().any(was_set) && {
        let mut distinct = HashSet::new();
        !numbers().all(|e164| distinct.insert(e164))
    }
}
