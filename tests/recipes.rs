//! The recipes in docs/list.md, run as they are written, print what the API's pages add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::{BINARY, KEY, ServerProcess, TEST_TIMEOUT, http, seed};
use crate::list::parse_csv;

/// The names of the accounts in the configuration, and their IDs.
const ACCOUNTS: [(&str, &str); 2] = [("production", "acc_demo_1"), ("staging", "acc_demo_2")];

/// The owners in the configuration.
const OWNERS: &str = "owners:\n- {name: support, numbers: [\"+1*\"], accounts: [production]}\n\
                      - {name: sales, countries: [GB, US]}\n";

/// A number as it is on a page of the API.
#[derive(Debug)]
struct Number {
    account: &'static str,
    e164: String,
    country: String,
    status: String,
    /// The monthly fee in thousandths.
    fee: i64,
    currency: String,
    has_trunk: bool,
    has_application: bool,
    updated_at: String,
}

impl Number {
    fn new(account: &'static str, record: &Value) -> Self {
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        Self {
            account,
            e164: text("e164"),
            country: text("country"),
            status: text("status"),
            fee: thousandths(&record["monthly_fee"].to_string()),
            currency: text("currency"),
            has_trunk: record["trunk_id"].is_string(),
            has_application: record["application_id"].is_string(),
            updated_at: text("updated_at"),
        }
    }

    fn is_unassigned(&self) -> bool {
        !self.has_trunk && !self.has_application
    }

    /// Returns the first of [`OWNERS`] that has the number.
    fn owner(&self) -> &'static str {
        match () {
            () if self.account == "production" && self.e164.starts_with("+1") => "support",
            () if ["GB", "US"].contains(&&*self.country) => "sales",
            () => "",
        }
    }
}

/// Parses a decimal of at most three decimals.
fn thousandths(decimal: &str) -> i64 {
    let (units, decimals) = decimal.split_once('.').unwrap_or((decimal, ""));
    assert!(decimals.len() <= 3, "{decimal}");
    format!("{units}{decimals:0<3}").parse().unwrap()
}

/// Reads all pages of all accounts, without any of the exporter's code.
async fn read_pages(simulator: &ServerProcess) -> Vec<Number> {
    let mut numbers = Vec::new();
    for (name, id) in ACCOUNTS {
        for page in 1.. {
            let url = format!("{}/v1/account/{id}/numbers?page={page}&per_page=100", simulator.url());
            let body = http().get(url).bearer_auth(KEY).send().await.unwrap().bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let records = body["data"].as_array().unwrap();
            if records.is_empty() {
                break;
            }
            numbers.extend(records.iter().map(|record| Number::new(name, record)));
        }
    }
    numbers
}

/// Returns the number of numbers and the sum of their fees for each key.
fn sums<K: Ord>(numbers: &[Number], key: impl Fn(&Number) -> Option<K>) -> BTreeMap<K, (i64, i64)> {
    let mut sums = BTreeMap::new();
    for number in numbers {
        if let Some(key) = key(number) {
            let (count, fees) = sums.entry(key).or_insert((0, 0));
            *count += 1;
            *fees += number.fee;
        }
    }
    sums
}

fn fields(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

/// The rows of unassigned numbers, the most expensive first.
fn check_unassigned_rows(numbers: &[Number], printed: &str) {
    let fees: Vec<i64> = printed.lines().map(|line| thousandths(fields(line)[0])).collect();
    assert!(fees.is_sorted_by(|one, other| one >= other), "{printed}");
    let row = |line| match fields(line)[..] {
        [fee, currency, account, e164] => (thousandths(fee), currency, account, e164),
        _ => panic!("{line}"),
    };
    let rows: BTreeSet<_> = printed.lines().map(row).collect();
    let expected: BTreeSet<_> = numbers
        .iter()
        .filter(|number| number.is_unassigned() && number.fee > 0)
        .map(|number| (number.fee, &*number.currency, number.account, &*number.e164))
        .collect();
    assert_eq!((rows.len(), rows), (printed.lines().count(), expected));
}

/// Asserts that counts are exact, and that sums are rounded to a hundredth.
fn assert_rounded<K: Ord + Debug>(printed: &BTreeMap<K, (i64, i64)>, exact: &BTreeMap<K, (i64, i64)>) {
    assert!(printed.keys().eq(exact.keys()) && !exact.is_empty(), "{printed:?} {exact:?}");
    for (key, (count, fees)) in printed {
        let (exact_count, exact_fees) = exact[key];
        assert!(
            *count == exact_count && *fees % 10 == 0 && (fees - exact_fees).abs() <= 5,
            "{key:?}: {printed:?} {exact:?}"
        );
    }
}

/// The number and the fees of unassigned numbers by account and currency.
fn check_unassigned_sums(numbers: &[Number], printed: &str) {
    let row = |line: &str| {
        let (key, rest) = line.split_once(": ").unwrap();
        let (count, fees) = rest.split_once(" numbers, ").unwrap();
        (key.to_owned(), (count.parse().unwrap(), thousandths(fees)))
    };
    let rows: BTreeMap<_, _> = printed.lines().map(row).collect();
    let key = |number: &Number| {
        (number.is_unassigned() && number.fee > 0).then(|| format!("{} {}", number.account, number.currency))
    };
    assert_rounded(&rows, &sums(numbers, key));
}

/// The file with all numbers.
fn check_file(numbers: &[Number], folder: &Path) {
    let rows = parse_csv(&std::fs::read_to_string(folder.join("numbers.csv")).unwrap());
    let rows: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            (row["account"].clone(), row["e164"].clone(), thousandths(&row["monthly_fee"]), row["owner"].clone())
        })
        .collect();
    let expected = numbers
        .iter()
        .map(|number| (number.account.to_owned(), number.e164.clone(), number.fee, number.owner().to_owned()));
    assert_eq!(rows, expected.collect());
}

/// The number and the fees of the numbers of each owner and currency.
fn check_owners(numbers: &[Number], printed: &str) {
    let mut lines = printed.lines();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines.next().unwrap()), ["owner", "currency", "numbers", "monthly_fees"]);
    assert!(lines.next().unwrap().starts_with("--"), "{printed}");
    let row = |line: &str| {
        let words = words(line);
        let (owner, rest) = if words.len() == 3 { ("", &words[..]) } else { (&*words[0], &words[1..]) };
        let (count, fees) = (rest[1].parse().unwrap(), thousandths(&rest[2]));
        ((owner.to_owned(), rest[0].clone()), (count, fees))
    };
    let rows: BTreeMap<_, _> = lines.map(row).collect();
    assert_rounded(&rows, &sums(numbers, |number| Some((number.owner().to_owned(), number.currency.clone()))));
}

/// The numbers of one owner.
fn check_owner(numbers: &[Number], printed: &str) {
    let rows: Vec<_> =
        parse_csv(printed).into_iter().map(|row| (row["account"].clone(), row["e164"].clone())).collect();
    let expected: BTreeSet<_> = numbers
        .iter()
        .filter(|number| number.owner() == "support")
        .map(|number| (number.account.to_owned(), number.e164.clone()))
        .collect();
    assert_eq!((rows.len(), rows.into_iter().collect()), (expected.len(), expected));
}

/// The suspended numbers that have not been updated for 30 days, the least recently updated first.
fn check_suspended(numbers: &[Number], printed: &str, now: SystemTime) {
    let month_ago = now - Duration::from_hours(30 * 24);
    let age = |number: &Number| month_ago.duration_since(humantime::parse_rfc3339(&number.updated_at).unwrap());
    // Minutes pass while the test runs.
    let is_close = |number: &&Number| match age(number) {
        Ok(age) => age < Duration::from_mins(10),
        Err(error) => error.duration() < Duration::from_mins(10),
    };
    let close: Vec<_> = numbers.iter().filter(is_close).map(|number| &*number.e164).collect();
    let row = |line| match fields(line)[..] {
        [updated_at, account, e164, fee, currency] => (updated_at, account, e164, thousandths(fee), currency),
        _ => panic!("{line}"),
    };
    let rows: Vec<_> = printed.lines().map(row).filter(|row| !close.contains(&row.2)).collect();
    let mut expected: Vec<_> = numbers
        .iter()
        .filter(|number| number.status == "suspended" && age(number).is_ok() && !is_close(number))
        .map(|number| (&*number.updated_at, number.account, &*number.e164, number.fee, &*number.currency))
        .collect();
    expected.sort_unstable();
    assert!(rows.is_sorted_by_key(|row| row.0), "{printed}");
    let mut sorted = rows;
    sorted.sort_unstable();
    assert!(expected.len() > 5 && sorted == expected, "{printed}\n{expected:?}");
    let suspended = numbers.iter().filter(|number| number.status == "suspended").count();
    assert!(expected.len() < suspended, "some have been suspended for a shorter time");
}

/// The number of numbers without a trunk by account and country.
fn check_without_trunk(numbers: &[Number], printed: &str) {
    let row = |line| match fields(line)[..] {
        [account, country, count] => ((account, country.to_owned()), count.parse::<i64>().unwrap()),
        _ => panic!("{line}"),
    };
    let rows: BTreeMap<_, _> = printed.lines().map(row).collect();
    let expected = sums(numbers, |number| (!number.has_trunk).then(|| (number.account, number.country.clone())));
    assert_eq!(rows, expected.into_iter().map(|(key, (count, _))| (key, count)).collect());
}

#[tokio::test]
async fn documented_recipes_print_what_the_pages_add_up_to() {
    let simulator = ServerProcess::simulator(700, seed(), &["--accounts=2"]).await;
    let numbers = read_pages(&simulator).await;
    assert_eq!(numbers.len(), 1_400);
    let folder = tempfile::tempdir().unwrap();
    let accounts = ACCOUNTS.map(|(name, id)| format!("- {{name: {name}, account_id: {id}}}\n")).concat();
    let config = format!("tryvox: {{url: '{}'}}\naccounts:\n{accounts}{OWNERS}", simulator.url());
    std::fs::write(folder.path().join("tryvox.yml"), config).unwrap();
    std::os::unix::fs::symlink(BINARY, folder.path().join("tryvox-exporter")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());

    let document = std::fs::read_to_string("docs/list.md").unwrap();
    let recipes = document.split("<!-- recipe -->\n```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut checked = BTreeSet::new();
    for recipe in recipes {
        let now = SystemTime::now();
        let mut shell = Command::new("bash");
        shell.args(["-e", "-u", "-o", "pipefail", "-c", recipe]).current_dir(folder.path());
        shell.env("PATH", &path).env("TRYVOX_API_KEY", KEY);
        let output = timeout(TEST_TIMEOUT, shell.output()).await.unwrap().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{recipe}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let has = |words: &str| recipe.contains(words);
        let name = match () {
            () if has("--output.file") => {
                check_file(&numbers, folder.path());
                "file"
            }
            () if has("sqlite3") => {
                check_owners(&numbers, &printed);
                "owners"
            }
            () if has("--owner=support") => {
                check_owner(&numbers, &printed);
                "owner"
            }
            () if has("--status=suspended") => {
                check_suspended(&numbers, &printed, now);
                "suspended"
            }
            () if has("--assignment=none,application") => {
                check_without_trunk(&numbers, &printed);
                "without trunk"
            }
            () if has("--assignment=none") && has("awk") => {
                check_unassigned_sums(&numbers, &printed);
                "unassigned sums"
            }
            () if has("--assignment=none") => {
                check_unassigned_rows(&numbers, &printed);
                "unassigned rows"
            }
            () => panic!("no check of {recipe}"),
        };
        assert!(checked.insert(name), "{name} is checked twice");
    }
    assert_eq!(checked.len(), 7, "{checked:?}");
}
