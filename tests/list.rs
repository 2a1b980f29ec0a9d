//! `list`: which rows it prints in each format, and what happens if an account cannot be listed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::common::accounts::{AccountBehavior, ConfigFile, account_of, config_text, records, start_api};
use crate::common::api::{MockApi, page, record};
use crate::common::{
    BINARY, KEY, ServerProcess, TEST_TIMEOUT, command, http, output, output_to_closed_pipe, seed, wait_until_idle,
    wrapped_command,
};

const ACCOUNT: &str = "--tryvox.account-id=acc_demo";
const ENVIRONMENT: &[(&str, &str)] = &[("TRYVOX_API_KEY", KEY)];

const FIELDS: [&str; 15] = [
    "account",
    "e164",
    "country",
    "type",
    "region",
    "status",
    "capabilities",
    "monthly_fee",
    "setup_fee",
    "currency",
    "trunk_id",
    "application_id",
    "created_at",
    "updated_at",
    "owner",
];

/// A row by the names of its columns.
type Row = BTreeMap<String, String>;

/// A record as the API writes it.
#[derive(Deserialize)]
struct ApiRecord {
    e164: String,
    country: String,
    r#type: String,
    region: Option<String>,
    status: String,
    capabilities: Vec<String>,
    monthly_fee: Box<RawValue>,
    setup_fee: Box<RawValue>,
    currency: String,
    trunk_id: Option<String>,
    application_id: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl ApiRecord {
    /// Returns the row that the record must lead to.
    fn row(self, account: &str) -> Row {
        let cells = [
            account.to_owned(),
            self.e164,
            self.country,
            self.r#type,
            self.region.unwrap_or_default(),
            self.status,
            self.capabilities.join(" "),
            self.monthly_fee.get().to_owned(),
            self.setup_fee.get().to_owned(),
            self.currency,
            self.trunk_id.unwrap_or_default(),
            self.application_id.unwrap_or_default(),
            self.created_at.unwrap_or_default(),
            self.updated_at.unwrap_or_default(),
            String::new(),
        ];
        FIELDS.map(str::to_owned).into_iter().zip(cells).collect()
    }
}

/// Returns the rows of a JSON listing in the order of the numbers.
fn expected_rows<'a>(account: &str, records: impl IntoIterator<Item = &'a str>) -> Vec<Row> {
    let record = |json: &str| serde_json::from_str::<ApiRecord>(json).unwrap().row(account);
    let mut rows: Vec<_> = records.into_iter().map(record).collect();
    rows.sort_by_key(|row| (row["e164"].len(), row["e164"].clone()));
    rows
}

/// Returns the records of a simulated account as JSON.
async fn simulated_records(simulator: &ServerProcess) -> Vec<String> {
    #[derive(Deserialize)]
    struct Page {
        data: Vec<Box<RawValue>>,
    }

    let mut records = Vec::new();
    for page in 1.. {
        let url = format!("{}/v1/account/acc_demo/numbers?page={page}&per_page=100", simulator.url());
        let body = http().get(url).bearer_auth(KEY).send().await.unwrap().text().await.unwrap();
        let page: Page = serde_json::from_str(&body).unwrap();
        if page.data.is_empty() {
            break;
        }
        records.extend(page.data.iter().map(|record| record.get().to_owned()));
    }
    records
}

/// Parses CSV with Python, whose parser is not the exporter's.
pub(crate) fn parse_csv(text: &str) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    std::fs::write(&path, text).unwrap();
    let script = "import csv, json, sys\n\
                  with open(sys.argv[1], encoding='utf-8', newline='') as file:\n\
                  \x20   print(json.dumps(list(csv.DictReader(file, strict=True))))";
    let output = std::process::Command::new("/usr/bin/python3").args(["-c", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Parses JSON Lines, with the digits of the fees as they are written.
fn parse_json_lines(text: &str) -> Vec<BTreeMap<String, Box<RawValue>>> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs `list` on one account and returns its output.
async fn list(url: &str, arguments: &[&str]) -> Output {
    let url = format!("--tryvox.url={url}");
    output(&[&["list", &*url, ACCOUNT, "--tryvox.rate-limit=0"], arguments].concat(), ENVIRONMENT).await
}

/// Returns stdout of a command that succeeded without a word on stderr.
fn success(output: Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the lines on stderr.
fn stderr_lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

fn numbers(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| &*row["e164"]).collect()
}

#[tokio::test]
async fn every_value_is_exactly_that_of_the_listing() {
    let simulator = ServerProcess::simulator(1_234, seed(), &[]).await;
    let records = simulated_records(&simulator).await;
    let expected = expected_rows("acc_demo", records.iter().map(String::as_str));
    assert_eq!(expected.len(), 1_234);
    // Whatever the pages look like, and in whatever order they arrive.
    for arguments in [&[][..], &["--tryvox.per-page=7", "--tryvox.concurrency=16"]] {
        let csv = success(list(&simulator.url(), &[&["--output=csv"], arguments].concat()).await);
        assert_eq!(csv.lines().next().unwrap(), format!("\"{}\"", FIELDS.join("\",\"")));
        assert!(parse_csv(&csv) == expected);
        assert!(csv.lines().skip(1).all(|line| line.starts_with("\"acc_demo\",\"+")), "e164 is quoted");
    }

    let json = success(list(&simulator.url(), &["--output=json"]).await);
    let listed: BTreeMap<String, Value> = records
        .iter()
        .map(|json| serde_json::from_str::<Value>(json).unwrap())
        .map(|r| (r["e164"].to_string(), r))
        .collect();
    let fees: BTreeMap<&str, [&str; 2]> =
        expected.iter().map(|row| (&*row["e164"], [&*row["monthly_fee"], &*row["setup_fee"]])).collect();
    let lines = parse_json_lines(&json);
    assert_eq!(lines.len(), 1_234);
    for line in lines {
        let e164 = line["e164"].get();
        let digits = [line["monthly_fee"].get(), line["setup_fee"].get()];
        assert_eq!(fees[e164.trim_matches('"')], digits, "fees are numbers with the digits of the API");
        let mut object: Value = serde_json::to_value(&line).unwrap();
        let object = object.as_object_mut().unwrap();
        assert_eq!((object.remove("account"), object.remove("owner")), (Some("acc_demo".into()), Some(Value::Null)));
        assert_eq!(*object, *listed[e164].as_object().unwrap());
    }
    // The order of the fields is fixed, too.
    let keys: Vec<_> = FIELDS.iter().map(|field| json.lines().next().unwrap().find(&format!("\"{field}\":"))).collect();
    assert!(keys.iter().all(Option::is_some) && keys.is_sorted(), "{keys:?}");

    let table = success(list(&simulator.url(), &[]).await);
    assert_eq!(table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), FIELDS);
    assert_eq!(table.lines().count(), 1_235);
}

/// Returns a record with values that no format must mistake for its own syntax.
fn hostile_record(index: usize, text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!(
        r#"{{"e164":"+1{index:04}","country":{text},"type":{text},"region":{text},"status":{text},"capabilities":["voice"],
        "monthly_fee":1.10,"setup_fee":0,"currency":{text},"trunk_id":{text},"application_id":{text},"created_at":null,
        "updated_at":"2025-11-02T17:40:12Z"}}"#
    )
}

const HOSTILE: [&str; 8] = [
    "a,b;c\td",
    "say \"hello\", \"\"",
    "two\nlines\r\nand\rmore\n",
    "Zürich 東京 🐙",
    "=HYPERLINK(\"http://example.com\")",
    "  spaces ",
    "\u{1b}[2J\u{9b}31m\u{7}",
    "\\N \\\" ' \\",
];

#[tokio::test]
async fn texts_of_any_kind_are_read_back_as_they_were() {
    let records: Vec<_> = HOSTILE.iter().enumerate().map(|(index, text)| hostile_record(index, text)).collect();
    let expected = expected_rows("acc_demo", records.iter().map(String::as_str));
    let api = MockApi::start(move |_| {
        let response = page(&records, records.len(), 1, 1);
        async { response }
    })
    .await;
    assert_eq!(parse_csv(&success(list(&api.url(), &["--output=csv"]).await)), expected);
    let json = success(list(&api.url(), &["--output=json"]).await);
    let regions: Vec<_> = parse_json_lines(&json)
        .iter()
        .map(|row| serde_json::from_str::<String>(row["region"].get()).unwrap())
        .collect();
    assert_eq!(regions, HOSTILE);
    let table = success(list(&api.url(), &[]).await);
    assert!(
        table.chars().all(|c| c == '\n' || !c.is_control()) && table.lines().count() == HOSTILE.len() + 1,
        "{table}"
    );
    // What is printed on a terminal must not control it, in any format.
    for format in ["table", "csv", "json"] {
        let url = api.url();
        let line = format!("{BINARY} list --tryvox.url={url} {ACCOUNT} --output={format}");
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TRYVOX_API_KEY", KEY);
        let output = timeout(TEST_TIMEOUT, script.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let is_harmless = |c: char| !c.is_control() || c == '\r' || c == '\n';
        assert!(printed.contains("東京") && printed.chars().all(is_harmless), "{format}: {printed:?}");
    }
}

#[tokio::test]
async fn values_in_undocumented_forms_are_exact_and_absent_ones_are_null() {
    let json = record("+14155550100", "active", "\"1.150\"", "USD")
        .replace("[\"voice\"]", "{}")
        .replace("\"region\":null", "\"region\":7")
        .replace("2025-03-11T09:24:00Z", "2025-03-11 09:24:00.75");
    let other =
        record("+14155550101", "active", "12345678901234567890.10", "USD").replace("\"capabilities\":[\"voice\"],", "");
    let api = MockApi::start(move |_| {
        let response = page(&[json.clone(), other.clone()], 2, 1, 1);
        async { response }
    })
    .await;
    let printed = success(list(&api.url(), &["--output=json"]).await);
    let expected = r#"{"account":"acc_demo","e164":"+14155550100","country":"US","type":"local","region":null,"status":"active","capabilities":null,"monthly_fee":1.150,"setup_fee":0,"currency":"USD","trunk_id":null,"application_id":null,"created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z","owner":null}"#;
    assert_eq!(printed.lines().next().unwrap(), expected);
    assert!(printed.lines().nth(1).unwrap().contains(r#""capabilities":null,"monthly_fee":12345678901234567890.10,"#));
}

#[tokio::test]
async fn filters_select_rows() {
    let simulator = ServerProcess::simulator(900, seed(), &[]).await;
    let url = simulator.url();
    let all = parse_csv(&success(list(&url, &["--output=csv"]).await));
    let assignment = |row: &Row| match (&*row["trunk_id"], &*row["application_id"]) {
        ("", "") => "none",
        (_, "") => "trunk",
        ("", _) => "application",
        _ => "both",
    };
    for (arguments, select) in [
        (&["--country=US,DE"][..], &(|row: &Row| ["US", "DE"].contains(&&*row["country"])) as &dyn Fn(&Row) -> bool),
        (&["--status=suspended", "--status=pending"], &|row| row["status"] != "active"),
        (&["--type=toll_free", "--country=US"], &|row| row["type"] == "toll_free" && row["country"] == "US"),
        (&["--assignment=none"], &|row| assignment(row) == "none"),
        (&["--assignment=both,trunk", "--status=active"], &|row| {
            ["both", "trunk"].contains(&assignment(row)) && row["status"] == "active"
        }),
        (&["--assignment=application"], &|row| assignment(row) == "application"),
        (&["--owner="], &|_| true),
    ] {
        let rows = parse_csv(&success(list(&url, &[&["--output=csv"], arguments].concat()).await));
        let expected: Vec<_> = all.iter().filter(|row| select(row)).cloned().collect();
        assert!(rows == expected && !rows.is_empty(), "{arguments:?}");
    }
    // Any text is accepted, even if no number has it.
    let none = list(&url, &["--output=csv", "--status=lost"]).await;
    assert_eq!(none.status.code(), Some(0));
    assert_eq!(String::from_utf8(none.stdout).unwrap().lines().count(), 1, "the header");
    assert_eq!(String::from_utf8(none.stderr).unwrap().lines().count(), 1);
    for invalid in ["--assignment=nothing", "--assignment=", "--country=US,", "--type=", "--output=yaml"] {
        let output = list(&url, &[invalid]).await;
        let option = invalid.split('=').next().unwrap();
        let lines = stderr_lines(&output);
        assert_eq!((output.status.code(), lines.len()), (Some(2), 1), "{lines:?}");
        assert!(lines[0].contains(option) && output.stdout.is_empty(), "{lines:?}");
    }
}

#[tokio::test]
async fn numbers_have_the_owners_of_the_configuration() {
    let api = start_api(30, |_| AccountBehavior::Valid).await;
    let owners = "owners:\n- {name: support, numbers: [\"+1000000000005\", \"+100000000001*\"], accounts: [acc_0]}\n\
                  - {name: germany, countries: [DE]}\n";
    let file = ConfigFile::new(&format!("{}{owners}", config_text(&api.url(), [0, 1])));
    let rows = async |arguments: &[&str]| {
        let flag = file.flag();
        let arguments = [&["list", &*flag, "--output=csv"], arguments].concat();
        parse_csv(&success(output(&arguments, ENVIRONMENT).await))
    };
    let all = rows(&[]).await;
    let owner_of = |row: &Row| {
        let e164 = &*row["e164"];
        match e164 == "+1000000000005" || e164.starts_with("+100000000001") {
            true if row["account"] == "acc_0" => "support",
            _ if row["country"] == "DE" => "germany",
            _ => "",
        }
    };
    for row in &all {
        assert_eq!(row["owner"], owner_of(row), "{row:?}");
    }
    for (filter, names) in
        [("--owner=support", &["support"][..]), ("--owner=", &[""]), ("--owner=,germany", &["", "germany"])]
    {
        let expected: Vec<_> = all.iter().filter(|row| names.contains(&owner_of(row))).cloned().collect();
        assert!(expected.len() > 5 && rows(&[filter]).await == expected, "{filter}");
    }
    // One warning, however many names and accounts there are. An owner without numbers in this shard is known.
    for (filter, names, shards) in [
        ("--owner=suport", Some(r#"no owner named "suport";"#), 1),
        ("--owner=,Germany,support,x", Some(r#"no owner named "Germany" or "x";"#), 1),
        ("--owner=support", None, 7),
    ] {
        for shard in 0..shards {
            let (shard, shards) = (format!("--shard={shard}"), format!("--total-shards={shards}"));
            let arguments = ["list", &file.flag(), "--output=csv", filter, &shard, &shards];
            let listed = output(&arguments, ENVIRONMENT).await;
            let lines = stderr_lines(&listed);
            let warnings: Vec<_> = lines.iter().filter(|line| line.contains("warning: --owner: ")).collect();
            assert_eq!((listed.status.code(), warnings.len()), (Some(0), usize::from(names.is_some())), "{lines:?}");
            assert!(warnings.iter().all(|warning| names.is_some_and(|names| warning.contains(names))), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn names_of_owners_with_commas_quotes_and_spaces_can_be_selected() {
    let api = start_api(30, |_| AccountBehavior::Valid).await;
    let owners = "owners:\n- {name: 'Smith, Inc', countries: [US]}\n- {name: '\"M\" ', countries: [DE]}\n\
                  - {name: support, countries: [CA]}\n";
    let file = ConfigFile::new(&format!("{}{owners}", config_text(&api.url(), [0])));
    let run = async |filters: &[&str]| {
        let flag = file.flag();
        output(&[&["list", &*flag, "--output=csv"], filters].concat(), ENVIRONMENT).await
    };
    for (filters, names) in [
        (&[r#"--owner="Smith, Inc""#][..], &["Smith, Inc"][..]),
        (&[r#"--owner=support, "Smith, Inc""#], &["Smith, Inc", "support"]),
        (&[r#"--owner="Smith, Inc""#, r#"--owner="""M"" ","#], &["", "\"M\" ", "Smith, Inc"]),
        (&[r#"--owner=support,"","#], &["", "support"]),
    ] {
        let rows = parse_csv(&success(run(filters).await));
        let listed: BTreeSet<&str> = rows.iter().map(|row| &*row["owner"]).collect();
        assert_eq!(listed, names.iter().copied().collect(), "{filters:?}");
        let countries: BTreeSet<&str> = rows.iter().map(|row| &*row["country"]).collect();
        assert_eq!(countries.contains("US"), names.contains(&"Smith, Inc"));
    }
    // Without quotes these are two names, and the warning says how to write one.
    let warned = run(&["--owner=Smith, Inc"]).await;
    let lines = stderr_lines(&warned);
    assert!(
        lines[0].contains(r#"no owner named "Smith" or "Inc";"#) && lines[0].contains("double quotes"),
        "{lines:?}"
    );
    for invalid in [r#"--owner="Smith, Inc"#, r#"--owner="Smith", "Inc" Ltd"#] {
        let refused = run(&[invalid]).await;
        let lines = stderr_lines(&refused);
        assert_eq!((refused.status.code(), lines.len()), (Some(2), 1), "{lines:?}");
        assert!(lines[0].contains("--owner") && lines[0].contains("quote"), "{lines:?}");
    }
}

#[tokio::test]
async fn statuses_can_be_filtered_in_accounts_with_watched_numbers() {
    let simulator = ServerProcess::simulator(500, seed(), &[]).await;
    let text = format!(
        "tryvox: {{url: '{}', rate_limit: 0}}\naccounts: [{{account_id: acc_demo, watch: [{{number: +1}}]}}]\n",
        simulator.url()
    );
    let file = ConfigFile::new(&text);
    let run = async |command| output(&[command, &file.flag(), "--tryvox.statuses=suspended"], ENVIRONMENT).await;
    let listed = success(run("list").await);
    let checked = success(run("check").await);
    assert!(listed.contains("suspended") && !listed.contains("active"), "{listed}");
    assert!(checked.contains("suspended") && !checked.contains("active"), "{checked}");
    // The command exports the watched numbers.
    let refused = run("once").await;
    let lines = stderr_lines(&refused);
    assert_eq!((refused.status.code(), lines.len()), (Some(2), 1), "{lines:?}");
    assert!(lines[0].contains("watch needs an account that lists all statuses"), "{lines:?}");
}

#[tokio::test]
async fn accounts_are_in_the_order_of_the_configuration_and_a_failed_one_is_left_out() {
    let behavior = |account| if account == 1 { AccountBehavior::Unauthorized } else { AccountBehavior::Valid };
    let api = start_api(250, behavior).await;
    let file = ConfigFile::new(&config_text(&api.url(), [3, 1, 0, 2]));
    let path = file.folder().join("numbers.csv");
    let to_file = format!("--output.file={}", path.display());
    let expected: Vec<Row> = [3, 0, 2]
        .into_iter()
        .flat_map(|account| expected_rows(&format!("acc_{account}"), records(account, 250).iter().map(String::as_str)))
        .collect();
    for arguments in [&["--output=csv"][..], &["--output=csv", &to_file]] {
        let listed = output(&[&["list", &*file.flag()], arguments].concat(), ENVIRONMENT).await;
        let lines = stderr_lines(&listed);
        assert_eq!((listed.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
        assert!(
            lines[0].contains("acc_1: ") && lines[0].contains("unauthorized") && lines[0].contains("left out"),
            "{lines:?}"
        );
        let csv = match arguments {
            [_, _] => std::fs::read_to_string(&path).unwrap(),
            _ => String::from_utf8(listed.stdout.clone()).unwrap(),
        };
        assert!(parse_csv(&csv) == expected);
        assert_eq!(listed.stdout.is_empty(), arguments.len() == 2);
    }
    // One line for each failed account. If no account is listed, the file stays as it is.
    file.write(&format!("{}- {{account_id: acc_9, api_key_file: missing}}\n", config_text(&api.url(), [1])));
    let before = std::fs::read(&path).unwrap();
    let listed = output(&["list", &file.flag(), "--output=csv", &to_file], ENVIRONMENT).await;
    let lines = stderr_lines(&listed);
    assert_eq!((listed.status.code(), lines.len()), (Some(1), 2), "{lines:?}");
    assert!(lines[0].contains("acc_1: ") && lines[1].contains("acc_9: ") && lines[1].contains("api_key"), "{lines:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn file_is_replaced_atomically_or_not_at_all() {
    let simulator = ServerProcess::simulator(300, seed(), &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.json");
    std::fs::write(&path, "old").unwrap();
    let to_file = format!("--output.file={}", path.display());
    let arguments = ["--output=json", &*to_file];
    assert_eq!(success(list(&simulator.url(), &arguments).await), "");
    let new = std::fs::read_to_string(&path).unwrap();
    assert_eq!(new, success(list(&simulator.url(), &["--output=json"]).await));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left behind");
    // A failure, and a path that cannot be replaced, which is reported before anything is requested.
    simulator.set_faults("403").await;
    let failed = list(&simulator.url(), &arguments).await;
    assert_eq!((failed.status.code(), stderr_lines(&failed).len()), (Some(1), 1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), new);
    let requests = simulator.requests().await;
    for path in ["/dev/null", "/missing/numbers.csv"] {
        let failed = list(&simulator.url(), &[&format!("--output.file={path}")]).await;
        let lines = stderr_lines(&failed);
        assert_eq!((failed.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
        assert!(lines[0].contains(path), "{lines:?}");
    }
    assert_eq!(simulator.requests().await, requests);
}

#[tokio::test]
async fn rows_are_those_of_the_attempt_that_adds_up() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let api = MockApi::start(move |request| {
        let attempts = attempts.clone();
        async move {
            let attempt = if request.page == 1 {
                attempts.fetch_add(1, Ordering::SeqCst)
            } else {
                attempts.load(Ordering::SeqCst) - 1
            };
            // During the first attempt, a release shifts the second page, so a number is missing.
            let numbers = match (attempt, request.page) {
                (_, 1) => ["100", "101"],
                (0, _) => ["101", "103"],
                _ => ["102", "103"],
            };
            let number = |suffix: &str| {
                record(&format!("+14155550{suffix}"), "active", "1", "USD")
                    .replace("\"trunk_id\":null", &format!("\"trunk_id\":\"attempt {attempt}\""))
            };
            page(&numbers.map(number), 4, request.page, 2)
        }
    })
    .await;
    let rows = parse_csv(&success(list(&api.url(), &["--output=csv"]).await));
    assert_eq!(numbers(&rows), ["+14155550100", "+14155550101", "+14155550102", "+14155550103"]);
    assert!(rows.iter().all(|row| row["trunk_id"] == "attempt 1"), "{rows:?}");
}

#[tokio::test]
async fn last_record_of_a_number_wins_in_whatever_order_pages_arrive() {
    for second_is_late in [false, true] {
        let third_is_requested = Arc::new(Notify::new());
        let api = MockApi::start(move |request| {
            let third_is_requested = third_is_requested.clone();
            async move {
                let number = |suffix: u32| {
                    let fee = format!("{}.{}0", request.page, suffix);
                    record(&format!("+1415555010{suffix}"), "active", &fee, "USD")
                };
                match request.page {
                    1 => page(&[number(1), number(2)], 4, 1, 3),
                    2 => {
                        if second_is_late {
                            third_is_requested.notified().await;
                        }
                        page(&[number(2), number(3)], 4, 2, 3)
                    }
                    _ => {
                        third_is_requested.notify_one();
                        // Twice on one page, too.
                        page(&[number(3).replace("3.30", "9.99"), number(4), number(3)], 4, 3, 3)
                    }
                }
            }
        })
        .await;
        let rows = parse_csv(&success(list(&api.url(), &["--output=csv"]).await));
        let fees: Vec<_> = rows.iter().map(|row| &*row["monthly_fee"]).collect();
        assert_eq!(fees, ["1.10", "2.20", "3.30", "3.40"]);
    }
}

#[tokio::test]
async fn numbers_of_a_changing_account_are_those_that_were_there_all_the_time() {
    let simulator = ServerProcess::simulator(400, seed(), &[]).await;
    let before: BTreeSet<String> =
        expected_rows("acc_demo", simulated_records(&simulator).await.iter().map(String::as_str))
            .into_iter()
            .map(|row| row["e164"].clone())
            .collect();
    simulator.set_faults("shift page=2 times=1").await;
    let listed = list(&simulator.url(), &["--output=csv"]).await;
    assert_eq!(listed.status.code(), Some(0), "{:?}", stderr_lines(&listed));
    let rows = parse_csv(&String::from_utf8(listed.stdout).unwrap());
    let listed: BTreeSet<_> = rows.iter().map(|row| row["e164"].clone()).collect();
    assert_eq!(listed.len(), rows.len(), "no number is listed twice");
    let now: BTreeSet<String> =
        expected_rows("acc_demo", simulated_records(&simulator).await.iter().map(String::as_str))
            .into_iter()
            .map(|row| row["e164"].clone())
            .collect();
    // No number is lost that was there before and after, but for the one that the default tolerance allows.
    let lost: Vec<_> = before.intersection(&now).filter(|e164| !listed.contains(*e164)).collect();
    assert!(lost.len() <= 4, "{lost:?}");
    assert!(listed.iter().all(|e164| before.contains(e164) || now.contains(e164)));
}

#[tokio::test]
async fn invalid_records_are_left_out_with_a_warning_and_too_many_fail_the_account() {
    let simulator = ServerProcess::simulator(1_500, seed(), &[]).await;
    simulator.set_faults("bad-records page=2 times=1").await;
    let listed = list(&simulator.url(), &["--output=csv"]).await;
    let lines = stderr_lines(&listed);
    assert_eq!((listed.status.code(), lines.len()), (Some(0), 1), "{lines:?}");
    assert!(lines[0].contains("warning: acc_demo: 10 invalid records are left out"), "{lines:?}");
    assert_eq!(parse_csv(&String::from_utf8(listed.stdout).unwrap()).len(), 1_490);
    simulator.set_faults("bad-records").await;
    let failed = list(&simulator.url(), &["--output=csv"]).await;
    let lines = stderr_lines(&failed);
    assert_eq!((failed.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("invalid_records"), "{lines:?}");
    assert_eq!(String::from_utf8(failed.stdout).unwrap().lines().count(), 1, "the header");
}

#[tokio::test]
async fn closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let simulator = ServerProcess::simulator(3_000, seed(), &[]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    for format in ["--output=table", "--output=csv", "--output=json"] {
        let arguments = ["list", &url, ACCOUNT, "--tryvox.rate-limit=0", format];
        let closed = output_to_closed_pipe(&arguments, ENVIRONMENT).await;
        assert_eq!((closed.status.code(), stderr_lines(&closed)), (Some(0), Vec::new()), "{format}");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = command(&arguments).envs(ENVIRONMENT.iter().copied()).stdout(full).spawn().unwrap();
        let output = timeout(TEST_TIMEOUT, child.wait_with_output()).await.unwrap().unwrap();
        let lines = stderr_lines(&output);
        assert_eq!((output.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
        assert!(lines[0].contains("cannot write the output"), "{lines:?}");
    }
    // So is one that has no room for the temporary file.
    let arguments = ["list", &*url, ACCOUNT, "--tryvox.rate-limit=0", "--output=csv"];
    let mut limited = wrapped_command(&["bash", "-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""], &arguments);
    let output = timeout(TEST_TIMEOUT, limited.envs(ENVIRONMENT.iter().copied()).output()).await.unwrap().unwrap();
    let lines = stderr_lines(&output);
    assert_eq!((output.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("acc_demo: cannot write a temporary file") && lines[0].contains("TMPDIR"), "{lines:?}");
}

#[tokio::test]
async fn closed_pipe_does_not_hide_accounts_that_have_failed() {
    let behavior = |account| if account == 0 { AccountBehavior::Valid } else { AccountBehavior::Unauthorized };
    let api = start_api(250, behavior).await;
    for accounts in [&[1, 0][..], &[1]] {
        let file = ConfigFile::new(&config_text(&api.url(), accounts.iter().copied()));
        let closed = output_to_closed_pipe(&["list", &file.flag(), "--output=csv"], ENVIRONMENT).await;
        let lines = stderr_lines(&closed);
        assert_eq!((closed.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
        assert!(lines[0].contains("acc_1: ") && lines[0].contains("unauthorized"), "{lines:?}");
    }
}

#[tokio::test]
async fn an_account_that_never_responds_ends_with_a_signal_and_leaves_nothing() {
    let api = MockApi::start(|_| async { std::future::pending().await }).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("--tryvox.url={}", api.url());
    let to_file = format!("--output.file={}", folder.path().join("numbers.csv").display());
    let child = command(&["list", &url, ACCOUNT, &to_file]).envs(ENVIRONMENT.iter().copied()).spawn().unwrap();
    let requested = async {
        while api.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, requested).await.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = timeout(TEST_TIMEOUT, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), stderr_lines(&output).len()), (Some(1), 1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// While the first account is slow, the others wait to be printed.
#[tokio::test]
async fn hundreds_of_accounts_are_listed_within_a_low_limit_of_open_files() {
    const ACCOUNTS: usize = 400;
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let api = MockApi::start(move |request| {
        let released = released.clone();
        async move {
            let account = account_of(&request);
            if account == 0 {
                released.notified().await;
            }
            page(&records(account, 5), 5, 1, 1)
        }
    })
    .await;
    let file = ConfigFile::new(&config_text(&api.url(), 0..ACCOUNTS));
    for limit in [128, 1024] {
        let requests = api.requests().len();
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let mut limited = wrapped_command(&["bash", "-c", &script], &["list", &file.flag(), "--output=csv"]);
        let child = limited.envs(ENVIRONMENT.iter().copied()).spawn().unwrap();
        let started = async {
            while api.requests().len() < requests + 10 {
                tokio::task::yield_now().await;
            }
        };
        timeout(TEST_TIMEOUT, started).await.unwrap();
        wait_until_idle(child.id().unwrap()).await;
        release.notify_one();
        let listed = timeout(TEST_TIMEOUT, child.wait_with_output()).await.unwrap().unwrap();
        let rows = parse_csv(&success(listed));
        let accounts: Vec<_> = rows.iter().step_by(5).map(|row| row["account"].clone()).collect();
        assert!(accounts == (0..ACCOUNTS).map(|account| format!("acc_{account}")).collect::<Vec<_>>());
        assert_eq!(rows.len(), 5 * ACCOUNTS);
    }
}

/// Runs the binary to its end and returns its peak memory in bytes.
async fn peak_memory(arguments: &[&str]) -> u64 {
    let script = "import os, resource, sys\n\
                  pid = os.fork()\n\
                  if pid == 0:\n\
                  \x20   os.dup2(os.open('/dev/null', os.O_WRONLY), 1)\n\
                  \x20   os.execv(sys.argv[1], sys.argv[1:])\n\
                  _, status, usage = os.wait4(pid, 0)\n\
                  print(usage.ru_maxrss)\n\
                  sys.exit(os.waitstatus_to_exitcode(status))";
    let mut python = wrapped_command(&["/usr/bin/python3", "-c", script], arguments);
    let output = timeout(TEST_TIMEOUT, python.envs(ENVIRONMENT.iter().copied()).output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn memory_is_that_of_a_poll() {
    const NUMBERS: usize = 300_000;
    let simulator = ServerProcess::simulator(NUMBERS, seed(), &[]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    let options = [&*url, ACCOUNT, "--tryvox.rate-limit=0", "--tryvox.concurrency=2"];
    let check = peak_memory(&[&["check"], &options[..]].concat()).await;
    for format in ["--output=csv", "--output=table"] {
        let list = peak_memory(&[&["list", format], &options[..]].concat()).await;
        println!("check {} MiB, list {} MiB", check >> 20, list >> 20);
        // Rows in memory would take more than 60 MiB; buffers and the allocator differ by a few.
        assert!(list < check + (12 << 20), "{format}: {} MiB, check {} MiB", list >> 20, check >> 20);
    }
}

#[tokio::test]
async fn a_folder_for_temporary_files_that_is_not_writable_is_replaced_by_shared_memory() {
    let simulator = ServerProcess::simulator(500, seed(), &[]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    let environment = [ENVIRONMENT, &[("TMPDIR", "/missing")]].concat();
    let listed = output(&["list", &url, ACCOUNT, "--output=csv"], &environment).await;
    assert_eq!(parse_csv(&success(listed)).len(), 500);
}

#[tokio::test]
async fn failing_requests_are_retried() {
    let simulator = ServerProcess::simulator(500, seed(), &[]).await;
    simulator.set_faults("503 page=3 times=2").await;
    assert_eq!(parse_csv(&success(list(&simulator.url(), &["--output=csv"]).await)).len(), 500);
    let down = MockApi::start(|_| async { StatusCode::BAD_GATEWAY.into_response() }).await;
    let failed = list(&down.url(), &["--tryvox.retry-for=0s", "--output=json"]).await;
    let lines = stderr_lines(&failed);
    assert_eq!((failed.status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("server_error") && failed.stdout.is_empty(), "{lines:?}");
}
