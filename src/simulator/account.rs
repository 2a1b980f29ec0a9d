//! A seeded inventory that can live.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use super::catalogue::{COUNTRIES, Country};
use super::number::{Number, Status};

const DAY: Duration = Duration::from_hours(24);

/// What the simulated account has: the same for the same seed, but for the dates, which are before
/// the time that it was made at.
#[derive(Debug)]
pub struct SimulatedAccount {
    rng: Rng,
    numbers: Vec<Owned>,
    taken: HashSet<u64>,
}

/// A number with its JSON, which is written when it changes and not when it is asked for.
#[derive(Debug)]
struct Owned {
    number: Number,
    json: Box<str>,
}

/// The numbers that a request is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) country: Option<String>,
    pub(super) status: Option<String>,
}

impl SimulatedAccount {
    /// An inventory of so many numbers.
    #[must_use]
    pub fn new(numbers: usize, seed: u64, now: SystemTime) -> Self {
        let mut world = Self { rng: Rng::with_seed(seed), numbers: Vec::with_capacity(numbers), taken: HashSet::new() };
        for _ in 0..numbers {
            let number = world.sell(now);
            world.numbers.push(Owned::new(number));
        }
        world
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Lets a moment pass: a few numbers are bought, released, suspended, reactivated or repriced.
    pub fn live(&mut self, now: SystemTime) {
        let changes = self.rng.usize(1..=3 + self.numbers.len() / 500);
        for _ in 0..changes {
            self.change(now);
        }
    }

    /// The JSON of all numbers, in the order of the listing.
    pub fn listing(&self) -> impl Iterator<Item = &str> {
        self.numbers.iter().map(|owned| &*owned.json)
    }

    /// Buys and releases up to three numbers anywhere in the list.
    pub(super) fn shift(&mut self, now: SystemTime) {
        for _ in 0..self.rng.usize(0..=3) {
            let at = self.rng.usize(..=self.numbers.len());
            if self.rng.bool() {
                let number = self.buy(now);
                self.numbers.insert(at, number);
            } else if at < self.numbers.len() {
                self.release(at);
            }
        }
    }

    /// How many numbers match, and the records of those from the `skip`th on, at most `take`.
    pub(super) fn records(&self, filter: &Filter, skip: usize, take: usize) -> (usize, Vec<&str>) {
        if filter.country.is_none() && filter.status.is_none() {
            let records = self.numbers.iter().skip(skip).take(take).map(|owned| &*owned.json).collect();
            return (self.numbers.len(), records);
        }
        let matching: Vec<_> = self.numbers.iter().filter(|owned| filter.matches(&owned.number)).collect();
        let records = matching.iter().skip(skip).take(take).map(|owned| &*owned.json).collect();
        (matching.len(), records)
    }

    fn change(&mut self, now: SystemTime) {
        let bought = self.numbers.is_empty() || self.rng.u8(0..10) < 2;
        if bought {
            let number = self.buy(now);
            self.numbers.push(number);
            return;
        }
        let index = self.rng.usize(..self.numbers.len());
        let dice = self.rng.u8(0..8);
        let number = &mut self.numbers[index].number;
        match (dice, number.status) {
            (0 | 1, _) => return self.release(index),
            // A few cents and a tenth, up or down, but never for free.
            (2, _) => {
                let by = self.rng.u32(1..200);
                number.monthly =
                    if self.rng.bool() { number.monthly + by } else { number.monthly.saturating_sub(by).max(5) };
            }
            (_, Status::Pending | Status::Suspended) => number.status = Status::Active,
            // Mostly numbers go on as they are, or nothing would be active for long.
            (3, Status::Active) => number.status = Status::Suspended,
            _ => return,
        }
        number.updated = now;
        self.numbers[index].json = self.numbers[index].number.json().into();
    }

    fn buy(&mut self, now: SystemTime) -> Owned {
        let mut number = self.sell(now);
        number.status = Status::Pending;
        (number.created, number.updated) = (now, now);
        Owned::new(number)
    }

    fn release(&mut self, index: usize) {
        let released = self.numbers.remove(index);
        self.taken.remove(&released.number.digits);
    }

    /// A number that nobody has yet.
    fn sell(&mut self, now: SystemTime) -> Number {
        let rng = &mut self.rng;
        let country = pick(rng, &COUNTRIES.each_ref().map(|country| country.weight));
        let kind = pick(rng, &[70, 12, 18]);
        let digits = loop {
            let digits = free_digits(rng, country);
            if self.taken.insert(digits) {
                break digits;
            }
        };
        let status = [Status::Active, Status::Pending, Status::Suspended][pick(rng, &[93, 3, 4])];
        let capabilities: &[&[&str]] = match kind {
            1 => &[&["voice"], &["voice", "sms"]],
            _ => &[&["voice"], &["voice", "sms"], &["voice", "sms", "mms"], &["sms"]],
        };
        let age = match status {
            Status::Pending => DAY.mul_f64(rng.f64() * 2.0),
            _ => DAY.mul_f64(2.0 + rng.f64() * 1000.0),
        };
        let price = &COUNTRIES[country];
        Number {
            digits,
            country,
            kind,
            region: (kind != 1 && rng.u8(0..20) > 0).then(|| rng.usize(..price.regions.len())),
            status,
            capabilities: capabilities[rng.usize(..capabilities.len())],
            monthly: price.monthly[kind],
            setup: price.setup[kind],
            trunk: (rng.u8(0..10) < 8).then(|| rng.u16(1..=16)),
            application: (rng.u8(0..10) < 4).then(|| rng.u16(1..=8)),
            created: now - age,
            updated: now - age.mul_f64(rng.f64()),
        }
    }
}

impl Owned {
    fn new(number: Number) -> Self {
        let json = number.json().into();
        Self { number, json }
    }
}

impl Filter {
    fn matches(&self, number: &Number) -> bool {
        self.country.as_ref().is_none_or(|country| country == number.country().code)
            && self.status.as_ref().is_none_or(|status| status == number.status.as_str())
    }
}

/// An index, drawn by weight.
fn pick(rng: &mut Rng, weights: &[u32]) -> usize {
    let mut dice = rng.u32(..weights.iter().sum::<u32>());
    for (index, weight) in weights.iter().enumerate() {
        match dice.checked_sub(*weight) {
            Some(rest) => dice = rest,
            None => return index,
        }
    }
    0
}

fn free_digits(rng: &mut Rng, country: usize) -> u64 {
    let Country { prefix, digits, .. } = &COUNTRIES[country];
    // No subscriber number starts with a 0 or a 1 there.
    let span = 10_u64.pow(*digits);
    let prefix: u64 = prefix.parse().unwrap_or_default();
    prefix * span + rng.u64(span / 5..span)
}
