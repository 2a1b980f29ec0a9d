//! The fold of records into an inventory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};

use super::class::{Class, ClassTexts, Label, Labels, Place};
use super::{
    CollectorOptions, E164, GroupTotals, InvalidRecord, Inventory, Money, NumberDetails, NumberState, NumberStates,
    Table,
};
use crate::tryvox::{GenerationWindow, ListingPage, NumberRecord};

/// Takes the pages of one listing, the first one first, the others in any order, and makes the
/// inventory as of the first page of them.
///
/// The list may shift while it is read: numbers are bought and released between two pages. A number
/// that was bought after the first page had been asked for, which its `created_at` tells, is a
/// newcomer and is left out; it is the next listing's. So what is kept was all there when the first
/// page was written, and it is everything that was there if it is as many numbers as that page
/// reported.
///
/// Of a number 24 bytes are kept: itself, its page, its class, its place and when it was updated.
/// All numbers that share everything an inventory counts by are of one class, and of those there are
/// few. Places are told apart only where somebody asks for them.
#[derive(Debug)]
pub struct Fold {
    options: Arc<CollectorOptions>,
    /// The documented statuses that the listing can contain.
    statuses: Vec<Arc<str>>,
    labels: Labels,
    /// By [`ClassTexts::key`].
    classes: IndexMap<Box<[u8]>, Class, RandomState>,
    places: IndexSet<Place, RandomState>,
    /// The key that is looked up.
    key: Vec<u8>,
    /// The numbers of the page that is read, and when they were bought; empty in between.
    page: Vec<(Entry, Option<SystemTime>)>,
    numbers: Vec<Entry>,
    newcomers: Vec<(Entry, u32)>,
    /// Newcomers of an earlier listing: they are none in this one.
    known: HashSet<E164>,
    began: Option<SystemTime>,
    newest_creation: Option<u32>,
    invalid: BTreeMap<&'static str, u64>,
}

/// What a listing came to.
#[derive(Debug)]
pub struct Folded {
    /// What was listed, without newcomers.
    pub inventory: Inventory,
    /// The same, number by number, to find out what changes until the next listing.
    pub snapshot: NumberStates,
    /// The numbers that look as if they had been bought while the listing was read. In a listing
    /// that begins later they are known, see [`Fold::new`].
    pub newcomers: HashSet<E164>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    e164: E164,
    page: u32,
    class: u32,
    /// An index into the places, or [`NOWHERE`].
    place: u32,
    /// Seconds since the epoch, or [`UNKNOWN`].
    updated: u32,
}

/// The place of a number whose place nobody asks about.
const NOWHERE: u32 = u32::MAX;

/// A time that the API did not tell, or that is not between 1970 and 2106.
const UNKNOWN: u32 = u32::MAX;

/// What is set aside at once for a listing: more comes as it is needed.
const MAX_RESERVED: usize = 4 << 20;

impl Fold {
    /// A fold that has seen nothing. `known` are the newcomers of a listing that began earlier: what
    /// that one saw cannot have been bought during this one.
    #[must_use]
    pub fn new(options: Arc<CollectorOptions>, statuses: Vec<Arc<str>>, known: HashSet<E164>) -> Self {
        Self {
            options,
            statuses,
            labels: Labels::default(),
            classes: IndexMap::default(),
            places: IndexSet::default(),
            key: Vec::new(),
            page: Vec::new(),
            numbers: Vec::new(),
            newcomers: Vec::new(),
            known,
            began: None,
            newest_creation: None,
            invalid: BTreeMap::new(),
        }
    }

    /// Begins another series of pages, which is of other numbers and has a first page of its own.
    pub fn next_series(&mut self) {
        self.began = None;
    }

    /// Takes a page; of the same number twice, the last page's record wins.
    ///
    /// A record that lacks what a group needs is counted as invalid, and only that. `complain` is
    /// told why, at least of the first few.
    pub fn page(&mut self, number: u32, page: &ListingPage<'_>, mut complain: impl FnMut(InvalidRecord)) {
        if self.began.is_none() {
            self.began = page.generated.map(|generated| generated.earliest);
            // All at once, and what a list that shifts shows twice; what is not used costs nothing.
            let total = usize::try_from(page.pagination.total).unwrap_or(usize::MAX).min(MAX_RESERVED);
            self.numbers.reserve_exact(total + total / 16);
        }
        if page.malformed.count > 0 {
            *self.invalid.entry(InvalidRecord::InvalidRecords(String::new()).kind()).or_default() +=
                page.malformed.count;
        }
        for example in &page.malformed.examples {
            complain(InvalidRecord::InvalidRecords(example.clone()));
        }
        for record in &page.records {
            if let Err(invalid) = self.record(number, record) {
                *self.invalid.entry(invalid.kind()).or_default() += 1;
                complain(invalid);
            }
        }
        // Within a page, too, the later record of a number wins.
        let mut read = std::mem::take(&mut self.page);
        read.sort_by_key(|(entry, _)| entry.e164);
        dedup_to_last(&mut read, |(entry, _)| entry.e164);
        self.make_room(read.len());
        for (entry, created) in read.drain(..) {
            if self.is_newcomer(created, page.generated) {
                self.newcomers.push((entry, seconds(created)));
            } else {
                self.numbers.push(entry);
                self.newest_creation = self.newest_creation.max(Some(seconds(created)).filter(|at| *at != UNKNOWN));
            }
        }
        self.page = read;
    }

    fn record(&mut self, page: u32, record: &NumberRecord<'_>) -> Result<(), InvalidRecord> {
        let e164 = record.e164.parse()?;
        let texts = ClassTexts::of(record);
        texts.key(&mut self.key);
        let (class, required) = if let Some((index, _, class)) = self.classes.get_full(&*self.key) {
            (index, class.required)
        } else {
            let class = texts.read(&mut self.labels, &self.options)?;
            let required = class.required;
            (self.classes.insert_full(self.key.as_slice().into(), class).0, required)
        };
        let place = if required.place {
            let mut name = |name: &Option<Cow<'_, str>>| self.labels.of(name.as_deref().unwrap_or_default());
            let place = Place {
                region: name(&record.region),
                trunk: name(&record.trunk_id),
                application: name(&record.application_id),
            };
            self.places.insert_full(place).0
        } else {
            NOWHERE as usize
        };
        let index = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let updated = if required.updated { seconds(record.updated_at) } else { UNKNOWN };
        let entry = Entry { e164, page, class: index(class), place: index(place), updated };

        self.page.push((entry, record.created_at));
        Ok(())
    }

    /// Makes room for more numbers, where the list is longer than it said: little by little, as a buffer
    /// that doubles is there three times while it does.
    fn make_room(&mut self, more: usize) {
        if self.numbers.capacity() - self.numbers.len() < more {
            self.numbers.reserve_exact(more.max(self.numbers.len() / 16));
        }
    }

    /// Whether a number was bought after the first page had been asked for and before this page was
    /// written. A time that is yet to come tells of a clock, not of a purchase.
    fn is_newcomer(&self, created: Option<SystemTime>, written: Option<GenerationWindow>) -> bool {
        let (Some(began), Some(written)) = (self.began, written) else { return false };
        created.is_some_and(|created| began <= created && created <= written.latest)
    }

    /// The inventory of all pages taken.
    #[must_use]
    pub fn finish(mut self) -> Folded {
        let newcomers: HashSet<E164> = self.newcomers.iter().map(|(entry, _)| entry.e164).collect();
        self.make_room(self.newcomers.len());
        for (entry, created) in std::mem::take(&mut self.newcomers) {
            if self.known.contains(&entry.e164) {
                self.numbers.push(entry);
                self.newest_creation = self.newest_creation.max(Some(created));
            }
        }
        // In place, which is not stable; but a page has no number twice by now.
        self.numbers.sort_unstable_by_key(|entry| (entry.e164, entry.page));
        dedup_to_last(&mut self.numbers, |entry| entry.e164);

        let mut inventory = Inventory {
            listed: self.numbers.len() as u64,
            invalid: self.invalid.values().sum(),
            invalid_kinds: std::mem::take(&mut self.invalid),
            ..Inventory::default()
        };
        self.count_classes(&mut inventory);
        self.count_places(&mut inventory);
        if self.options.lifecycle {
            self.find_times(&mut inventory);
        }
        self.select_numbers(&mut inventory);
        let texts = &self.labels;
        let classes = self.classes.into_values().map(|class| NumberState {
            status: texts[class.status].clone(),
            currency: texts[class.currency].clone(),
            monthly_fee: class.monthly_fee,
        });
        let classes = classes.collect();
        // In place: the entries are not needed any more, nor is the room that they had.
        let mut numbers: Vec<_> = self.numbers.into_iter().map(|entry| (entry.e164, entry.class)).collect();
        numbers.shrink_to_fit();
        let snapshot = NumberStates { classes, numbers };
        Folded { inventory, snapshot, newcomers }
    }

    fn class(&self, entry: &Entry) -> Option<&Class> {
        self.classes.get_index(entry.class as usize).map(|(_, class)| class)
    }

    fn place(&self, entry: &Entry) -> Option<&Place> {
        self.places.get_index(entry.place as usize)
    }

    /// Everything that follows from how many numbers are of each class.
    fn count_classes(&self, inventory: &mut Inventory) {
        let mut counts = vec![0_u64; self.classes.len()];
        for entry in &self.numbers {
            if let Some(count) = counts.get_mut(entry.class as usize) {
                *count += 1;
            }
        }
        for (class, numbers) in self.classes.values().zip(counts) {
            // A class that only a superseded record had.
            if numbers == 0 {
                continue;
            }
            let [country, kind, of, currency] =
                [class.country, class.kind, class.status, class.currency].map(|name| &self.labels[name]);
            let group = |status: &Arc<str>| [country, kind, status, currency].map(Arc::clone);
            for status in &self.statuses {
                inventory.groups.entry(group(status)).or_default();
            }
            let fees = |fee: &Money| fee.clone() * numbers;
            let (monthly_fees, setup_fees) = (fees(&class.monthly_fee), fees(&class.setup_fee));
            if self.options.assignment {
                let assignment = [class.assignment, of, currency].map(Arc::from);
                let sum = inventory.assignments.entry(assignment).or_default();
                *sum += GroupTotals { numbers, monthly_fees: monthly_fees.clone(), ..GroupTotals::default() };
            }
            *inventory.groups.entry(group(of)).or_default() += GroupTotals { numbers, monthly_fees, setup_fees };
            if self.options.capability {
                for capability in &class.capabilities {
                    let capability = [capability, of].map(Arc::clone);
                    *inventory.capabilities.entry(capability).or_default() += numbers;
                }
            }
        }
    }

    /// Counts by region, trunk and application, where they are asked for.
    fn count_places(&self, inventory: &mut Inventory) {
        let CollectorOptions { region, trunk, application, .. } = *self.options;
        if !(region || trunk || application) {
            return;
        }
        let (mut regions, mut trunks, mut applications) = <(Tally<3>, Tally<2>, Tally<2>)>::default();
        for entry in &self.numbers {
            let (Some(class), Some(place)) = (self.class(entry), self.place(entry)) else { continue };
            if region {
                *regions.entry([class.country, place.region, class.status]).or_default() += 1;
            }
            if trunk {
                *trunks.entry([place.trunk, class.status]).or_default() += 1;
            }
            if application {
                *applications.entry([place.application, class.status]).or_default() += 1;
            }
        }
        inventory.regions = self.table(regions);
        inventory.trunks = self.table(trunks);
        inventory.applications = self.table(applications);
    }

    fn table<const N: usize>(&self, tally: Tally<N>) -> Table<N, u64> {
        tally.into_iter().map(|(labels, numbers)| (labels.map(|name| self.labels[name].clone()), numbers)).collect()
    }

    fn find_times(&self, inventory: &mut Inventory) {
        inventory.newest_creation = self.newest_creation;
        let mut oldest = vec![UNKNOWN; self.classes.len()];
        for entry in &self.numbers {
            if let Some(oldest) = oldest.get_mut(entry.class as usize) {
                *oldest = entry.updated.min(*oldest);
            }
        }
        for (class, updated) in self.classes.values().zip(oldest) {
            if updated != UNKNOWN {
                let oldest = inventory.oldest_update.entry(self.labels[class.status].clone()).or_insert(updated);
                *oldest = updated.min(*oldest);
            }
        }
    }

    /// The numbers that have series of their own: those of the statuses asked for that were updated
    /// longest ago, so that they are the same from poll to poll.
    fn select_numbers(&self, inventory: &mut Inventory) {
        if self.options.number_statuses.is_empty() {
            return;
        }
        let asked = |entry: &&Entry| self.class(entry).is_some_and(|class| class.required.series);
        let mut selected: Vec<&Entry> = self.numbers.iter().filter(asked).collect();
        let truncated = selected.len().saturating_sub(self.options.number_limit);
        let order = |entry: &&Entry| (entry.updated, entry.e164);
        if truncated > 0 {
            selected.select_nth_unstable_by_key(self.options.number_limit, order);
            selected.truncate(self.options.number_limit);
        }
        selected.sort_unstable_by_key(order);
        inventory.truncated = Some(truncated as u64);
        inventory.numbers = selected.into_iter().filter_map(|entry| self.row(entry)).collect();
    }

    fn row(&self, entry: &Entry) -> Option<NumberDetails> {
        let (class, place) = (self.class(entry)?, self.place(entry)?);
        let name = |name| self.labels[name].clone();
        Some(NumberDetails {
            e164: entry.e164,
            country: name(class.country),
            kind: name(class.kind),
            region: name(place.region),
            status: name(class.status),
            trunk: name(place.trunk),
            application: name(place.application),
            currency: name(class.currency),
            monthly_fee: class.monthly_fee.clone(),
            updated: Some(entry.updated).filter(|updated| *updated != UNKNOWN),
        })
    }
}

/// Keeps the last of those that are the same number and neighbours.
fn dedup_to_last<T>(numbers: &mut Vec<T>, e164: impl Fn(&T) -> E164) {
    // Backwards, as of the same the first is kept.
    numbers.reverse();
    numbers.dedup_by_key(|number| e164(number));
    numbers.reverse();
}

/// How many numbers have these labels.
type Tally<const N: usize> = HashMap<[Label; N], u64, RandomState>;

/// Whole seconds since the epoch, or [`UNKNOWN`].
fn seconds(at: Option<SystemTime>) -> u32 {
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| u32::try_from(since.as_secs()).ok()).unwrap_or(UNKNOWN)
}
