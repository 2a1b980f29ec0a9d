//! The tables of an inventory: what follows from the numbers of a complete listing.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::ListingFold;
use crate::inventory::class::{NumberClass, OptionalLabels};
use crate::inventory::interner::StringId;
use crate::inventory::listed_number::{ListedNumber, UNKNOWN_TIME, known_time};
use crate::inventory::{CollectorOptions, GroupTotals, Inventory, LabelTable, Money, NumberDetails};
use crate::tryvox::{Deviation, OptionalField};

impl ListingFold {
    /// Fills the tables. The numbers must be sorted and without duplicates.
    pub(super) fn tabulate(&self, inventory: &mut Inventory) {
        self.count_by_class(inventory);
        self.count_by_optional_labels(inventory);
        if self.options.lifecycle {
            self.find_lifecycle_timestamps(inventory);
        }
        self.select_numbers(inventory);
    }

    fn class(&self, number: &ListedNumber) -> Option<&NumberClass> {
        self.classes.get(number.class)
    }

    fn optional_labels(&self, number: &ListedNumber) -> Option<&OptionalLabels> {
        self.optional_labels.get_index(number.optional_labels as usize)
    }

    /// Fills the tables that follow from the number of numbers in each class.
    fn count_by_class(&self, inventory: &mut Inventory) {
        let mut counts = vec![0_u64; self.classes.all().len()];
        for number in &self.numbers {
            if let Some(count) = counts.get_mut(number.class as usize) {
                *count += 1;
            }
        }
        let mut groups = HashMap::<[StringId; 4], GroupTotals, RandomState>::default();
        for (class, numbers) in self.classes.all().iter().zip(counts) {
            // All records of this class were superseded by records on later pages.
            if numbers == 0 {
                continue;
            }
            for (field, count) in OptionalField::ALL.into_iter().zip(&mut inventory.unreadable_fields) {
                *count += if class.unreadable.contains(field) { numbers } else { 0 };
            }
            if class.has_string_fee {
                inventory.deviations.insert(Deviation::FeeAsString);
            }
            let (status, currency) = (&self.strings[class.status], &self.strings[class.currency]);
            let total = |fee: &Money| fee.clone() * numbers;
            let (monthly_fees, setup_fees) = (total(&class.monthly_fee), total(&class.setup_fee));
            if class.assignment == "none" && !class.unreadable.contains_any(&OptionalField::ASSIGNMENT) {
                *inventory.unassigned.entry(currency.clone()).or_default() +=
                    GroupTotals { numbers, monthly_fees: monthly_fees.clone(), ..GroupTotals::default() };
            }
            if self.options.assignment {
                let assignment = [class.assignment, status, currency].map(Arc::from);
                *inventory.assignments.entry(assignment).or_default() +=
                    GroupTotals { numbers, monthly_fees: monthly_fees.clone(), ..GroupTotals::default() };
            }
            *groups.entry([class.country, class.kind, class.status, class.currency]).or_default() +=
                GroupTotals { numbers, monthly_fees, setup_fees };
            if self.options.capability {
                for capability in &class.capabilities {
                    *inventory.capabilities.entry([capability, status].map(Arc::clone)).or_default() += numbers;
                }
            }
        }
        for (ids, totals) in groups {
            let [country, kind, status, currency] = ids.map(|id| &self.strings[id]);
            let group = |status: &Arc<str>| [country, kind, status, currency].map(Arc::clone);
            for documented_status in &self.statuses {
                inventory.groups.entry(group(documented_status)).or_default();
            }
            *inventory.groups.entry(group(status)).or_default() += totals;
        }
    }

    /// Fills the tables by region, trunk and application, if their collectors are enabled.
    fn count_by_optional_labels(&self, inventory: &mut Inventory) {
        let CollectorOptions { region, trunk, application, .. } = *self.options;
        if !(region || trunk || application) {
            return;
        }
        let (mut regions, mut trunks, mut applications) = <(LabelCounts, LabelCounts, LabelCounts)>::default();
        for number in &self.numbers {
            let Some(labels) = self.optional_labels(number) else { continue };
            for (is_enabled, counts, label) in [
                (region, &mut regions, labels.region),
                (trunk, &mut trunks, labels.trunk),
                (application, &mut applications, labels.application),
            ] {
                if is_enabled {
                    *counts.entry((label, number.class)).or_default() += 1;
                }
            }
        }
        let text = |id: StringId| self.strings[id].clone();
        let label = |id: StringId, class: &NumberClass| [text(id), text(class.status), text(class.currency)];
        inventory.regions = self.totals(regions, |region, class| {
            [text(class.country), text(region), text(class.status), text(class.currency)]
        });
        inventory.trunks = self.totals(trunks, label);
        inventory.applications = self.totals(applications, label);
    }

    /// Adds up the numbers and fees of each class by the labels that `labels` returns.
    fn totals<const N: usize>(
        &self,
        counts: LabelCounts,
        labels: impl Fn(StringId, &NumberClass) -> [Arc<str>; N],
    ) -> LabelTable<N, GroupTotals> {
        let mut table = LabelTable::new();
        for ((label, class), numbers) in counts {
            let Some(class) = self.classes.get(class) else { continue };
            let monthly_fees = class.monthly_fee.clone() * numbers;
            *table.entry(labels(label, class)).or_default() +=
                GroupTotals { numbers, monthly_fees, ..GroupTotals::default() };
        }
        table
    }

    /// Fills in the newest creation and the oldest update of each status.
    fn find_lifecycle_timestamps(&self, inventory: &mut Inventory) {
        inventory.newest_creation = self.numbers.iter().filter_map(|number| known_time(number.created_at)).max();
        // `UNKNOWN_TIME` is later than every known time.
        let mut oldest_by_class = vec![UNKNOWN_TIME; self.classes.all().len()];
        for number in &self.numbers {
            if let Some(oldest) = oldest_by_class.get_mut(number.class as usize) {
                *oldest = number.updated_at.min(*oldest);
            }
        }
        for (class, updated_at) in self.classes.all().iter().zip(oldest_by_class) {
            if updated_at != UNKNOWN_TIME {
                let status = self.strings[class.status].clone();
                let oldest = inventory.oldest_update.entry(status).or_insert(updated_at);
                *oldest = updated_at.min(*oldest);
            }
        }
    }

    /// Selects the numbers that get per-number series: the watched ones, and the least recently updated ones in the
    /// configured statuses, so that the selection changes little from poll to poll.
    fn select_numbers(&self, inventory: &mut Inventory) {
        let is_watched = |number: &&ListedNumber| self.watched.contains(&number.e164);
        let mut selected = Vec::new();
        if !self.options.number_statuses.is_empty() {
            let is_candidate = |number: &&ListedNumber| {
                let requirements = self.classes.requirements(number.class);
                !is_watched(number) && requirements.is_some_and(|requirements| requirements.has_number_series)
            };
            let mut oldest = OldestNumbers::new(self.options.number_limit);
            self.numbers.iter().filter(is_candidate).for_each(|number| oldest.add(number));
            let (numbers, truncated) = oldest.finish();
            selected = numbers;
            inventory.truncated_numbers = Some(truncated);
        }
        if !self.watched.is_empty() {
            selected.extend(self.numbers.iter().filter(is_watched));
        }
        selected.sort_unstable_by_key(|number| number.update_order());
        inventory.numbers = selected.into_iter().filter_map(|number| self.details(number)).collect();
    }

    fn details(&self, number: &ListedNumber) -> Option<NumberDetails> {
        let (class, labels) = (self.class(number)?, self.optional_labels(number)?);
        let text = |id| self.strings[id].clone();
        Some(NumberDetails {
            e164: number.e164,
            country: text(class.country),
            kind: text(class.kind),
            region: text(labels.region),
            status: text(class.status),
            trunk: text(labels.trunk),
            application: text(labels.application),
            currency: text(class.currency),
            monthly_fee: class.monthly_fee.clone(),
            updated_at: known_time(number.updated_at),
            created_at: known_time(number.created_at),
        })
    }
}

/// How many numbers have a label value and a class. Here and in `count_by_class`, ids are counted, and resolved at the end,
/// because hashing them is cheaper than comparing strings.
type LabelCounts = HashMap<(StringId, u32), u64, RandomState>;

/// The least recently updated of many numbers, at most `limit`. Memory depends on the limit, not on how many there are.
struct OldestNumbers<'a> {
    limit: usize,
    added: u64,
    /// Contains the result, and at most as many other numbers.
    candidates: Vec<&'a ListedNumber>,
}

impl<'a> OldestNumbers<'a> {
    fn new(limit: usize) -> Self {
        Self { limit, added: 0, candidates: Vec::new() }
    }

    fn add(&mut self, number: &'a ListedNumber) {
        self.added += 1;
        self.candidates.push(number);
        if self.candidates.len() > self.limit.saturating_mul(2) {
            self.truncate();
        }
    }

    fn truncate(&mut self) {
        if self.candidates.len() > self.limit {
            self.candidates.select_nth_unstable_by_key(self.limit, |number| number.update_order());
            self.candidates.truncate(self.limit);
        }
    }

    /// Returns the numbers in any order, and how many others were added.
    fn finish(mut self) -> (Vec<&'a ListedNumber>, u64) {
        self.truncate();
        let truncated = self.added - self.candidates.len() as u64;
        (self.candidates, truncated)
    }
}
