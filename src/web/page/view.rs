//! What the template shows: texts, in the order of the page.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use askama::Template;
use tokio::time::Instant;

use super::figures::{self, Chart, Table};
use super::words;
use super::{Asked, SCRIPT, STYLE, Subject};
use crate::inventory::Overview;
use crate::poller::{Account, AccountSnapshot, LastPoll, PollPhase};

/// Accounts on one page.
const CARDS: usize = 12;
/// Rows of what happened of late.
const EVENTS: usize = 12;

/// The page.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(super) struct Page<'a> {
    title: String,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    revision: &'static str,
    uptime: String,
    shard: u32,
    total_shards: u32,
    configuration_good: bool,
    telemetry_path: &'a str,
    reload: bool,
    now: String,
    notice: Option<Notice>,
    tiles: Vec<Tile>,
    nothing_listed: &'static str,
    chart: Chart,
    numbers: Table,
    fees: Table,
    asked: Asked,
    choices: Vec<Choice>,
    shown: String,
    cards: Vec<Card>,
    pages: Vec<Link>,
    changes: Vec<Event>,
    errors: Vec<Event>,
}

#[derive(Debug)]
struct Notice {
    text: String,
    link: String,
    link_text: &'static str,
}

#[derive(Debug)]
struct Tile {
    name: String,
    value: String,
    note: String,
    class: &'static str,
}

/// One of the states that accounts can be narrowed down to.
#[derive(Debug)]
struct Choice {
    value: &'static str,
    name: String,
    selected: bool,
}

#[derive(Debug)]
struct Link {
    name: String,
    /// Empty for one that leads nowhere.
    to: String,
    current: bool,
}

#[derive(Debug)]
struct Event {
    time: String,
    ago: String,
    account: String,
    text: String,
}

#[derive(Debug)]
struct Card {
    name: String,
    state: State,
    progress: String,
    problem: Option<Problem>,
    note: String,
    facts: Vec<Fact>,
    age: Option<Age>,
}

#[derive(Debug)]
struct Problem {
    what: &'static str,
    to_do: &'static str,
    cause: String,
}

#[derive(Debug)]
struct Fact {
    name: String,
    value: String,
}

#[derive(Debug)]
struct Age {
    text: String,
    interval: String,
    percent: u64,
    class: &'static str,
}

/// How an account is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Its polls fail, or come too late, and what was known of it is too old to be shown.
    Stale,
    /// Its last poll failed.
    Down,
    /// It was not polled yet.
    New,
    /// Its last poll was good.
    Up,
}

impl State {
    const ALL: [Self; 4] = [Self::Stale, Self::Down, Self::New, Self::Up];

    fn name(self) -> &'static str {
        match self {
            Self::Stale => "Stale",
            Self::Down => "Not up",
            Self::New => "Not polled yet",
            Self::Up => "Up",
        }
    }

    /// In the address, and for the style.
    fn value(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Down => "down",
            Self::New => "new",
            Self::Up => "up",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Stale | Self::Down => "bad",
            Self::New => "warn",
            Self::Up => "good",
        }
    }
}

/// An account at one moment.
struct Seen<'a> {
    account: &'a Account,
    published: Arc<AccountSnapshot>,
    state: State,
    overview: Option<Arc<Overview>>,
}

impl<'a> Seen<'a> {
    fn new(account: &'a Account, now: Instant) -> Self {
        let published = account.snapshot();
        let current = published.listing_at(now);
        let state = match (&published.polls.last, current) {
            (None, _) => State::New,
            (Some(_), None) if published.last_listing.is_some() => State::Stale,
            (Some(_), _) if published.polls.is_up() => State::Up,
            _ => State::Down,
        };
        let overview = current.map(|kept| kept.overview.clone());
        Self { account, published, state, overview }
    }

    fn card(&self, now: Instant, clock: SystemTime) -> Card {
        let Self { account, published, state, overview } = self;
        let failure = published.polls.failure.as_ref();
        let problem = failure.map(|failure| {
            let advice = failure.reason.advice();
            let cause = format!("{}: {failure}", failure.reason.as_str());
            Problem { what: advice.what, to_do: advice.to_do, cause }
        });
        let note = match (state, failure) {
            (State::Stale, _) => "Its last good listing is too old to be shown: its metrics of numbers are gone.",
            (State::Down, Some(_)) if published.last_listing.is_some() => {
                "Its metrics are those of the last good listing."
            }
            (State::Down, Some(_)) => "It was never listed, so it has no metrics of numbers.",
            _ => "",
        };
        let (progress, next) = match account.phase() {
            PollPhase::Polling(_) => {
                let (read, of) = account.progress();
                let pages = if of > 0 && read < of { format!(", page {read} of {of}") } else { String::new() };
                (format!("polling now{pages}"), "now".to_owned())
            }
            PollPhase::Waiting(until) => {
                (String::new(), format!("in {}", words::duration(until.saturating_duration_since(now))))
            }
        };
        let mut facts = Vec::new();
        let mut fact = |name: &str, value: String| facts.push(Fact { name: name.to_owned(), value });
        if let Some(overview) = overview {
            fact("Numbers", words::count(overview.numbers.values().sum()));
            fact("Suspended", words::count(suspended(overview)));
            for (currency, amount) in figures::totals(overview) {
                fact("Monthly fees", format!("{} {currency}", words::amount(&amount)));
            }
        }
        if let Some(LastPoll { ended_at: at, duration: took, pages }) = published.polls.last {
            fact("Last poll", words::ago(at, clock));
            fact("It took", format!("{}, {}", words::duration(took), words::plural(pages.into(), "page", "pages")));
        }
        if let Some(at) = published.polls.last_success_at.filter(|_| failure.is_some()) {
            fact("Last good one", words::ago(at, clock));
        }
        fact("Next poll", next);
        let age = published.polls.last_success_at.map(|at| {
            let (age, interval) = (clock.duration_since(at).unwrap_or_default(), account.interval());
            let age = Duration::from_secs(age.as_secs());
            let percent = age.as_millis() * 100 / interval.as_millis().max(1);
            // A poll that comes a little late is none to worry about.
            let class = if percent > 300 {
                "suspended"
            } else if percent > 150 {
                "pending"
            } else {
                "active"
            };
            let percent = u64::try_from(percent).unwrap_or(100).min(100);
            Age { text: words::duration(age), interval: words::duration(interval), percent, class }
        });
        Card { name: account.name().to_owned(), state: *state, progress, problem, note: note.to_owned(), facts, age }
    }
}

fn suspended(overview: &Overview) -> u64 {
    overview.numbers.iter().filter(|([_, status], _)| **status == *"suspended").map(|(_, numbers)| numbers).sum()
}

impl<'a> Page<'a> {
    pub(super) fn new(subject: &Subject<'a>, mut asked: Asked, now: Instant, clock: SystemTime) -> Self {
        let all: Vec<_> = subject.accounts.iter().map(|account| Seen::new(account, now)).collect();
        let in_state = |state| all.iter().filter(|seen| seen.state == state).count();
        let mut overview = Overview::default();
        all.iter().filter_map(|seen| seen.overview.as_deref()).for_each(|one| overview += one);

        let of_state = State::ALL.into_iter().find(|state| state.value() == asked.show);
        if of_state.is_none() {
            asked.show.clear();
        }
        let part = asked.q.to_lowercase();
        let wanted = |seen: &&Seen<'_>| {
            of_state.is_none_or(|state| seen.state == state) && seen.account.name().to_lowercase().contains(&part)
        };
        let mut wanted: Vec<_> = all.iter().filter(wanted).collect();
        // Those that need somebody come first; otherwise as they are configured.
        wanted.sort_by_key(|seen| seen.state);
        let last_page = wanted.len().div_ceil(CARDS).max(1);
        let page = asked.page.parse().unwrap_or(1).clamp(1, last_page);
        let from = (page - 1) * CARDS;
        let on_page = &wanted[from..wanted.len().min(from + CARDS)];

        let unwell = in_state(State::Stale) + in_state(State::Down);
        let names: Vec<_> = State::ALL.map(|state| (state, in_state(state))).to_vec();
        let choices = std::iter::once(Choice {
            value: "all",
            name: format!("all ({})", words::count(all.len() as u64)),
            selected: of_state.is_none(),
        });
        let choices = choices.chain(names.into_iter().map(|(state, accounts)| Choice {
            value: state.value(),
            name: format!("{} ({})", state.name().to_lowercase(), words::count(accounts as u64)),
            selected: of_state == Some(state),
        }));
        Self {
            title: title(unwell, all.len()),
            style: STYLE,
            script: SCRIPT,
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("TRYVOX_EXPORTER_REVISION"),
            uptime: words::duration(Duration::from_secs(now.saturating_duration_since(subject.started).as_secs())),
            shard: subject.configured.shard,
            total_shards: subject.configured.total_shards,
            configuration_good: subject.configured.is_valid,
            telemetry_path: subject.telemetry_path,
            reload: subject.reload,
            now: words::moment(clock),
            notice: notice(&all),
            tiles: tiles(&all, &overview),
            nothing_listed: "No account has a listing to show.",
            chart: figures::chart(&overview),
            numbers: figures::numbers(&overview),
            fees: figures::fees(&overview),
            shown: shown(&wanted, from, on_page.len()),
            choices: choices.collect(),
            cards: on_page.iter().map(|seen| seen.card(now, clock)).collect(),
            pages: pages(&asked, page, last_page),
            changes: changes(&all, clock),
            errors: errors(&all, clock),
            asked,
        }
    }
}

fn title(unwell: usize, accounts: usize) -> String {
    match unwell {
        0 => "tryvox-exporter".to_owned(),
        _ => format!("{unwell} of {accounts} not up - tryvox-exporter"),
    }
}

/// What needs somebody first of all.
fn notice(all: &[Seen<'_>]) -> Option<Notice> {
    let unwell: Vec<_> = all.iter().filter(|seen| seen.state < State::New).collect();
    let first = unwell.first()?;
    let what = first.published.polls.failure.as_ref().map_or("Its polls are overdue.", |f| f.reason.advice().what);
    let text = match unwell.len() {
        1 => format!("The account {} is not up. {what}", first.account.name()),
        many => format!("{} accounts are not up.", words::count(many as u64)),
    };
    // Others come first among all, too.
    let alike = unwell.iter().all(|seen| seen.state == first.state);
    let link = if alike { format!("/?show={}#accounts", first.state.value()) } else { "/#accounts".to_owned() };
    Some(Notice { text, link, link_text: if unwell.len() == 1 { "Look at it" } else { "Look at them" } })
}

fn tiles(all: &[Seen<'_>], overview: &Overview) -> Vec<Tile> {
    let in_state = |state| all.iter().filter(|seen| seen.state == state).count() as u64;
    let (up, new, accounts) = (in_state(State::Up), in_state(State::New), all.len() as u64);
    let unwell = accounts - up - new;
    let numbers: u64 = overview.numbers.values().sum();
    let suspended = suspended(overview);
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let share = suspended as f64 * 100.0 / numbers.max(1) as f64;
    let tile = |name: &str, value, note, class| Tile { name: name.to_owned(), value, note, class };
    let waiting = if new > 0 { format!("{} not polled yet", words::count(new)) } else { String::new() };
    let class = if unwell > 0 {
        "bad"
    } else if new > 0 {
        "warn"
    } else {
        "good"
    };
    let up = format!("{} of {}", words::count(up), words::count(accounts));
    let mut tiles = vec![tile("Accounts up", up, waiting, class)];
    tiles.push(tile("Numbers", words::count(numbers), String::new(), ""));
    let class = if suspended > 0 { "bad" } else { "" };
    tiles.push(tile("Suspended", words::count(suspended), format!("{share:.1} % of all"), class));
    for (currency, amount) in figures::totals(overview) {
        tiles.push(tile(&format!("Monthly fees, {currency}"), words::amount(&amount), String::new(), ""));
    }
    tiles
}

fn shown(wanted: &[&Seen<'_>], from: usize, here: usize) -> String {
    match (wanted.len(), here) {
        (0, _) => "No account is like that.".to_owned(),
        (1, _) => "1 account.".to_owned(),
        (all, here) if here == all => format!("{} accounts, those that are not up first.", words::count(all as u64)),
        (all, here) => format!(
            "Accounts {} to {} of {}, those that are not up first.",
            words::count(from as u64 + 1),
            words::count((from + here) as u64),
            words::count(all as u64)
        ),
    }
}

/// The first, the last and those around the current one.
fn pages(asked: &Asked, page: usize, last: usize) -> Vec<Link> {
    let link = |name: &str, to: usize| Link {
        name: name.to_owned(),
        to: if to == page { String::new() } else { asked.link(to) },
        current: to == page,
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(link("Previous", page - 1));
    }
    let mut before = 0;
    for number in (1..=last).filter(|number| number.abs_diff(page) <= 2 || *number == 1 || *number == last) {
        if number > before + 1 {
            links.push(Link { name: "…".to_owned(), to: String::new(), current: false });
        }
        links.push(link(&number.to_string(), number));
        before = number;
    }
    if page < last {
        links.push(link("Next", page + 1));
    }
    links
}

fn changes(all: &[Seen<'_>], clock: SystemTime) -> Vec<Event> {
    let changes = all.iter().flat_map(|seen| seen.published.history.changes.iter().map(move |one| (seen, one.at, one)));
    latest(changes, words::changed, clock)
}

fn errors(all: &[Seen<'_>], clock: SystemTime) -> Vec<Event> {
    let failures =
        all.iter().flat_map(|seen| seen.published.history.failures.iter().map(move |one| (seen, one.at, one)));
    latest(failures, |failed| words::failed(failed, clock), clock)
}

/// The latest of what happened to accounts; of what happened at once the order stays.
fn latest<'a, T: 'a>(
    happened: impl Iterator<Item = (&'a Seen<'a>, SystemTime, &'a T)>,
    text: impl Fn(&T) -> String,
    clock: SystemTime,
) -> Vec<Event> {
    let mut happened: Vec<_> = happened.collect();
    happened.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
    let told = |(seen, at, what): (&Seen<'_>, SystemTime, &T)| Event {
        time: words::moment(at),
        ago: words::ago(at, clock),
        account: seen.account.name().to_owned(),
        text: text(what),
    };
    happened.into_iter().take(EVENTS).map(told).collect()
}
