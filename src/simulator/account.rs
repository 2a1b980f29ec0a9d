//! The numbers of one simulated account: generated from a seed, changed at random, read one page at a time.
//!
//! Everything but the dates follows from the seed and the calls made. No two numbers of an account have the same digits.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use super::countries::{COUNTRIES, Country, NUMBER_TYPES};
use super::number::{SimulatedNumber, SimulatedStatus};
use super::query::QueryFilter;

const DAY: Duration = Duration::from_hours(24);

/// Minimum age of a number when its account is generated, so that no listing counts it as purchased during the listing.
const MIN_AGE: Duration = Duration::from_hours(1);

/// The last hotline is suspended at the first of these changes of each [`OUTAGE_PERIOD`], and reactivated at the end.
const OUTAGE: Range<u32> = 10..20;
/// Number of changes of an account after which the next outage cycle of its last hotline starts.
const OUTAGE_PERIOD: u32 = 40;

/// The numbers of a simulated account. For the same seed they are the same except for their dates, which lie before
/// the time of generation.
#[derive(Debug)]
pub struct SimulatedAccount {
    rng: Rng,
    /// In the order of the listing.
    numbers: Vec<StoredNumber>,
    /// The digits of `numbers`.
    digits_in_use: HashSet<u64>,
    /// The digits of those that are not changed at random.
    hotlines: Vec<u64>,
    /// Changes since the hotlines were chosen, or since the start of the current [`OUTAGE_PERIOD`].
    changes: u32,
}

/// A number with its JSON, which is made when the number changes rather than for each request.
#[derive(Debug)]
struct StoredNumber {
    number: SimulatedNumber,
    json: Box<str>,
}

impl SimulatedAccount {
    /// Generates an account with `count` numbers, all created at least an hour before `now`.
    #[must_use]
    pub fn new(count: usize, seed: u64, now: SystemTime) -> Self {
        let rng = Rng::with_seed(seed);
        let mut account = Self {
            rng,
            numbers: Vec::with_capacity(count),
            digits_in_use: HashSet::new(),
            hotlines: Vec::new(),
            changes: 0,
        };
        for _ in 0..count {
            let number = account.generate_number(now);
            account.numbers.push(StoredNumber::new(number));
        }
        account
    }

    /// Returns how many numbers the account has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns whether the account has no numbers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Makes hotlines of the first `count` numbers that are active and assigned, or of all such numbers if there are
    /// fewer, and returns them, like `+18005550100`. A hotline stays in the account and is not changed at random, but the
    /// last one is suspended periodically.
    pub fn choose_hotlines(&mut self, count: usize) -> Vec<String> {
        let numbers = self.numbers.iter().map(|stored| &stored.number);
        let works = |number: &&SimulatedNumber| number.status == SimulatedStatus::Active && number.is_assigned();
        self.hotlines = numbers.filter(works).take(count).map(|number| number.digits).collect();
        self.changes = 0;
        self.hotlines.iter().map(|digits| format!("+{digits}")).collect()
    }

    /// Changes a few numbers at random: purchases, releases, suspends, reactivates or reprices them. Also suspends or
    /// reactivates the last hotline when that is due.
    pub fn change(&mut self, now: SystemTime) {
        let changes = self.rng.usize(1..=3 + self.numbers.len() / 500);
        for _ in 0..changes {
            self.change_one_number(now);
        }
        self.change_last_hotline(now);
    }

    /// Returns the JSON of all numbers, in the order of the listing.
    pub fn records(&self) -> impl Iterator<Item = &str> {
        self.numbers.iter().map(|stored| &*stored.json)
    }

    /// Purchases or releases up to three numbers at random positions of the listing, which moves the numbers behind
    /// them to other pages.
    pub(super) fn move_page_boundaries(&mut self, now: SystemTime) {
        for _ in 0..self.rng.usize(0..=3) {
            let index = self.rng.usize(..=self.numbers.len());
            if self.rng.bool() {
                let number = self.purchase(now);
                self.numbers.insert(index, number);
            } else if index < self.numbers.len() && !self.is_hotline(index) {
                self.release(index);
            }
        }
    }

    /// Returns how many numbers match, and the JSON of at most `take` of them after the first `skip`.
    pub(super) fn select(&self, filter: &QueryFilter, skip: usize, take: usize) -> (usize, Vec<&str>) {
        if filter.is_empty() {
            return (self.numbers.len(), self.records().skip(skip).take(take).collect());
        }
        let matching: Vec<_> = self.numbers.iter().filter(|stored| filter.matches(&stored.number)).collect();
        let records = matching.iter().skip(skip).take(take).map(|stored| &*stored.json).collect();
        (matching.len(), records)
    }

    fn change_one_number(&mut self, now: SystemTime) {
        let is_purchase = self.numbers.is_empty() || self.rng.u8(0..10) < 2;
        if is_purchase {
            let number = self.purchase(now);
            self.numbers.push(number);
            return;
        }
        let index = self.rng.usize(..self.numbers.len());
        let action = self.rng.u8(0..8);
        if self.is_hotline(index) {
            return;
        }
        let number = &mut self.numbers[index].number;
        match (action, number.status) {
            (0 | 1, _) => return self.release(index),
            // Up or down by less than 0.20, but never down to 0.
            (2, _) => {
                let by = self.rng.u32(1..200);
                number.monthly_fee = if self.rng.bool() {
                    number.monthly_fee + by
                } else {
                    number.monthly_fee.saturating_sub(by).max(5)
                };
            }
            (_, SimulatedStatus::Pending | SimulatedStatus::Suspended) => number.status = SimulatedStatus::Active,
            (3, SimulatedStatus::Active) => number.status = SimulatedStatus::Suspended,
            // Half of the draws leave an active number alone, or too few would be active after some time.
            _ => return,
        }
        self.numbers[index].update(now);
    }

    fn is_hotline(&self, index: usize) -> bool {
        self.hotlines.contains(&self.numbers[index].number.digits)
    }

    fn change_last_hotline(&mut self, now: SystemTime) {
        let Some(digits) = self.hotlines.last() else { return };
        self.changes = self.changes % OUTAGE_PERIOD + 1;
        let status = match self.changes {
            changes if changes == OUTAGE.start => SimulatedStatus::Suspended,
            changes if changes == OUTAGE.end => SimulatedStatus::Active,
            _ => return,
        };
        if let Some(stored) = self.numbers.iter_mut().find(|stored| stored.number.digits == *digits) {
            stored.number.status = status;
            stored.update(now);
        }
    }

    /// Generates a pending number that is created now; the caller adds it to the listing.
    fn purchase(&mut self, now: SystemTime) -> StoredNumber {
        let mut number = self.generate_number(now);
        number.status = SimulatedStatus::Pending;
        (number.created_at, number.updated_at) = (now, now);
        StoredNumber::new(number)
    }

    fn release(&mut self, index: usize) {
        let released = self.numbers.remove(index);
        self.digits_in_use.remove(&released.number.digits);
    }

    /// Generates a number whose digits are not in use, and marks them as used. The documentation shows numbers of the
    /// default seed, so the order of the draws must not change.
    fn generate_number(&mut self, now: SystemTime) -> SimulatedNumber {
        let rng = &mut self.rng;
        let country = &COUNTRIES[pick_weighted(rng, &COUNTRIES.each_ref().map(|country| country.weight))];
        let type_index = pick_weighted(rng, &[70, 12, 18]);
        let is_toll_free = NUMBER_TYPES[type_index] == "toll_free";
        let digits = loop {
            let digits = generate_digits(rng, country);
            if self.digits_in_use.insert(digits) {
                break digits;
            }
        };
        let statuses = [SimulatedStatus::Active, SimulatedStatus::Pending, SimulatedStatus::Suspended];
        let status = statuses[pick_weighted(rng, &[93, 3, 4])];
        let capabilities: &[&[&str]] = if is_toll_free {
            &[&["voice"], &["voice", "sms"]]
        } else {
            &[&["voice"], &["voice", "sms"], &["voice", "sms", "mms"], &["sms"]]
        };
        let age = match status {
            SimulatedStatus::Pending => MIN_AGE + DAY.mul_f64(rng.f64() * 2.0),
            _ => DAY.mul_f64(2.0 + rng.f64() * 1000.0),
        };
        SimulatedNumber {
            digits,
            country,
            number_type: NUMBER_TYPES[type_index],
            region: (!is_toll_free && rng.u8(0..20) > 0).then(|| country.regions[rng.usize(..country.regions.len())]),
            status,
            capabilities: capabilities[rng.usize(..capabilities.len())],
            monthly_fee: country.monthly_fees[type_index],
            setup_fee: country.setup_fees[type_index],
            trunk: (rng.u8(0..10) < 8).then(|| rng.u16(1..=16)),
            application: (rng.u8(0..10) < 4).then(|| rng.u16(1..=8)),
            created_at: now - age,
            updated_at: now - age.mul_f64(rng.f64()),
        }
    }
}

impl StoredNumber {
    fn new(number: SimulatedNumber) -> Self {
        let json = number.to_json().into();
        Self { number, json }
    }

    /// Records that the number was changed at this time.
    fn update(&mut self, now: SystemTime) {
        self.number.updated_at = now;
        self.json = self.number.to_json().into();
    }
}

/// Draws an index with a probability in proportion to its weight.
fn pick_weighted(rng: &mut Rng, weights: &[u32]) -> usize {
    let mut remaining = rng.u32(..weights.iter().sum::<u32>());
    for (index, weight) in weights.iter().enumerate() {
        match remaining.checked_sub(*weight) {
            Some(rest) => remaining = rest,
            None => return index,
        }
    }
    0
}

fn generate_digits(rng: &mut Rng, country: &Country) -> u64 {
    let span = 10_u64.pow(country.subscriber_digits);
    // A subscriber number does not start with 0 or 1.
    country.prefix * span + rng.u64(span / 5..span)
}
