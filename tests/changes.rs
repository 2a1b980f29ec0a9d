//! `changes`: what it prints in each format, what it selects, and where it can read a state file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use tryvox_exporter::state::{StateOptions, StateStore};

use crate::common::{BINARY, KEY, ServerProcess, TEST_TIMEOUT, output, output_to_closed_pipe, wrapped_command};

/// A recorded change: milliseconds since the epoch, account, number, kind, values before and after, country, type,
/// monthly fee, currency.
type Change<'a> =
    (i64, &'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>, &'a str, &'a str, &'a str, &'a str);

/// 2026-11-24T08:00:00Z, a Tuesday.
const TUESDAY: i64 = 1_795_507_200_000;
const DAY: i64 = 86_400_000;

/// One change of each kind, the earliest first.
const CHANGES: [Change<'static>; 6] = [
    (TUESDAY - 2 * DAY, "production", "+14155550100", "added", None, Some("pending"), "US", "local", "1.15", "USD"),
    (TUESDAY, "production", "+14155550101", "status", Some("active"), Some("suspended"), "US", "local", "1.10", "USD"),
    (TUESDAY + 250, "staging", "+4930555010", "fee", Some("5"), Some("12.345"), "DE", "mobile", "12.345", "EUR"),
    (
        TUESDAY + DAY,
        "staging",
        "+4930555011",
        "assignment",
        Some("none"),
        Some("trunk_id=trk_9f2c"),
        "DE",
        "mobile",
        "5",
        "EUR",
    ),
    (TUESDAY + DAY, "staging", "+4930555012", "fee", Some("5 EUR"), Some("6 USD"), "DE", "toll_free", "6", "USD"),
    (TUESDAY + 2 * DAY, "production", "+14155550101", "removed", Some("suspended"), None, "US", "local", "1.10", "USD"),
];

/// A state file with recorded changes.
struct StateFile {
    folder: TempDir,
}

impl StateFile {
    fn new<'a>(changes: impl IntoIterator<Item = Change<'a>>) -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        let options = StateOptions { file: Some(file.path()), retention: Duration::from_hours(24 * 400) };
        StateStore::open(&options, SystemTime::now).unwrap().close(TEST_TIMEOUT);
        let mut connection = Connection::open(file.path()).unwrap();
        let transaction = connection.transaction().unwrap();
        let insert = "INSERT INTO changes \
                      (time, account, e164, kind, from_value, to_value, country, type, monthly_fee, currency) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let mut statement = transaction.prepare(insert).unwrap();
        for (time, account, e164, kind, from, to, country, number_type, fee, currency) in changes {
            statement
                .execute(params![time, account, e164, kind, from, to, country, number_type, fee, currency])
                .unwrap();
        }
        drop(statement);
        transaction.commit().unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn flag(&self) -> String {
        state_flag(&self.path())
    }

    /// Runs the command on this file, since the beginning unless the arguments say otherwise. Returns stdout.
    async fn changes(&self, arguments: &[&str]) -> String {
        let flag = self.flag();
        let since =
            if arguments.iter().any(|argument| argument.starts_with("--since")) { &[][..] } else { &["--since=9y"] };
        success(&output(&[&["changes", &*flag], since, arguments].concat(), &[]).await)
    }
}

fn state_flag(path: &Path) -> String {
    format!("--state.file={}", path.display())
}

/// Returns stdout of a command that succeeded without a word on stderr.
fn success(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the exit status and the only line on stderr of a command that printed nothing to stdout.
fn one_line(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.stdout.is_empty() && stderr.lines().count() == 1, "{output:?}");
    (output.status.code(), stderr)
}

#[tokio::test]
async fn each_format_has_all_changes_in_order() {
    let file = StateFile::new(CHANGES);
    let csv = "\
time,account,e164,kind,from,to,country,type,monthly_fee,currency
2026-11-22T08:00:00.000Z,production,+14155550100,added,,pending,US,local,1.15,USD
2026-11-24T08:00:00.000Z,production,+14155550101,status,active,suspended,US,local,1.10,USD
2026-11-24T08:00:00.250Z,staging,+4930555010,fee,5,12.345,DE,mobile,12.345,EUR
2026-11-25T08:00:00.000Z,staging,+4930555011,assignment,none,trunk_id=trk_9f2c,DE,mobile,5,EUR
2026-11-25T08:00:00.000Z,staging,+4930555012,fee,5 EUR,6 USD,DE,toll_free,6,USD
2026-11-26T08:00:00.000Z,production,+14155550101,removed,suspended,,US,local,1.10,USD
";
    assert_eq!(file.changes(&["--output=csv"]).await, csv);

    let json = file.changes(&["--output=json"]).await;
    let lines: Vec<_> = json.lines().collect();
    assert_eq!(lines.len(), CHANGES.len());
    // The order of the keys and the digits of the amount are fixed.
    assert_eq!(
        lines[0],
        r#"{"time":"2026-11-22T08:00:00.000Z","account":"production","e164":"+14155550100","kind":"added","from":null,"to":"pending","country":"US","type":"local","monthly_fee":1.15,"currency":"USD"}"#
    );
    assert!(lines[5].contains(r#""from":"suspended","to":null,"#) && lines[5].contains(r#""monthly_fee":1.10,"#));
    for (line, row) in lines.iter().zip(csv.lines().skip(1)) {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let fields = csv.lines().next().unwrap().split(',');
        let values: Vec<_> = fields.map(|field| object[field].as_str().unwrap_or_default().to_owned()).collect();
        let cells: Vec<_> = row.split(',').collect();
        // The amount is the only number.
        assert_eq!(
            (&values[..8], &*values[9]),
            (&cells[..8].iter().map(ToString::to_string).collect::<Vec<_>>()[..], cells[9])
        );
        assert_eq!(object.len(), 10);
    }

    // Not on a terminal, a table has absolute times.
    let table = "\
  time                  account     number        change                                 country  type       monthly fee  currency
  2026-11-22T08:00:00Z  production  +14155550100  added (pending)                        US       local            1.150  USD
  2026-11-24T08:00:00Z  production  +14155550101  status active → suspended              US       local            1.100  USD
  2026-11-24T08:00:00Z  staging     +4930555010   fee 5 → 12.345                         DE       mobile          12.345  EUR
  2026-11-25T08:00:00Z  staging     +4930555011   assignment none → trunk_id=trk_9f2c    DE       mobile           5.000  EUR
  2026-11-25T08:00:00Z  staging     +4930555012   fee 5 EUR → 6 USD                      DE       toll_free        6.000  USD
  2026-11-26T08:00:00Z  production  +14155550101  removed (suspended)                    US       local            1.100  USD
";
    let without_padding =
        |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    let printed = file.changes(&[]).await;
    assert_eq!(without_padding(&printed), without_padding(table));
    assert_eq!(printed, file.changes(&["--output=table"]).await);
    // Columns begin at the same character, and amounts have their points below each other.
    let column = |text: &str| {
        let columns = printed
            .lines()
            .map(|line| line.chars().collect::<String>().find(text).map(|at| line[..at].chars().count()));
        columns.flatten().collect::<std::collections::BTreeSet<_>>()
    };
    for text in ["production", "+1415", "US ", ".1"] {
        assert_eq!(column(text).len(), 1, "{text}: {printed}");
    }
}

/// Runs the command on a pseudo-terminal and returns what it prints.
async fn on_terminal(arguments: &[&str]) -> String {
    let line = format!("{BINARY} {}", arguments.join(" "));
    let script = Command::new("script").args(["--quiet", "--return", "--command", &line, "/dev/null"]).output();
    let output = timeout(TEST_TIMEOUT, script).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_terminal_shows_relative_times_and_no_control_characters() {
    let ago = |hours: u64| {
        let at = SystemTime::now() - Duration::from_hours(hours) - Duration::from_secs(1);
        i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    };
    let hostile = "bo\x1b[2J\x07gus\u{9b}31m";
    let file = StateFile::new([
        (ago(50), "production", "+14155550100", "added", None, Some(hostile), hostile, "local", "1.15", "USD"),
        (ago(3), "production", "+14155550101", "status", Some("active"), Some(hostile), "US", hostile, "1.15", hostile),
    ]);
    let printed = on_terminal(&["changes", &file.flag()]).await;
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[1].contains(" 2days 2h ago  production "), "{printed}");
    assert!(lines[2].contains(" 3h ago        production "), "{printed}");
    for format in ["table", "csv", "json"] {
        let printed = on_terminal(&["changes", &file.flag(), &format!("--output={format}")]).await;
        let is_harmless = |c: char| !c.is_control() || c == '\r' || c == '\n';
        assert!(printed.contains("gus") && printed.chars().all(is_harmless), "{format}: {printed:?}");
    }
    // A file gets what the API sent, except that a table is always for people.
    assert!(file.changes(&["--output=csv"]).await.contains(hostile));
    let json = file.changes(&["--output=json"]).await;
    let object: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(object["to"], hostile);
    assert!(!file.changes(&[]).await.contains('\x1b'));
}

#[tokio::test]
async fn changes_are_selected_by_time_account_and_kind() {
    let file = StateFile::new(CHANGES);
    let numbers = async |arguments: &[&str]| {
        let csv = file.changes(&[arguments, &["--output=csv"]].concat()).await;
        let numbers = csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().rsplit("50").next().unwrap());
        numbers.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (arguments, expected) in [
        (&[][..], "100 101 10 11 12 101"),
        (&["--since=2026-11-24"], "101 10 11 12 101"),
        (&["--since=2026-11-24T08:00:00Z"], "101 10 11 12 101"),
        (&["--since=2026-11-24T10:00:00.001+02:00"], "10 11 12 101"),
        (&["--account=production"], "100 101 101"),
        (&["--account=production,staging"], "100 101 10 11 12 101"),
        (&["--account=production", "--account=staging"], "100 101 10 11 12 101"),
        (&["--account=\"staging\", \"a,b\""], "10 11 12"),
        (&["--kind=added,removed"], "100 101"),
        (&["--kind=status"], "101"),
        (&["--kind=fee", "--kind=assignment"], "10 11 12"),
        (&["--kind=fee", "--account=staging", "--since=2026-11-25"], "12"),
    ] {
        assert_eq!(numbers(arguments).await, expected, "{arguments:?}");
    }
    // A name may have a comma.
    let (at, _, e164, kind, from, to, country, number_type, fee, currency) = CHANGES[0];
    let named = StateFile::new([(at, "a, b", e164, kind, from, to, country, number_type, fee, currency), CHANGES[1]]);
    let arguments = ["changes", &named.flag(), "--since=9y", "--output=csv", "--account=\"a, b\""];
    let printed = success(&output(&arguments, &[]).await);
    assert!(printed.lines().count() == 2 && printed.contains("\"a, b\""), "{printed}");
    // As with any option, the environment applies, too.
    let variables = [
        ("TRYVOX_EXPORTER_STATE_FILE", &*file.path().display().to_string()),
        ("TRYVOX_EXPORTER_SINCE", "9y"),
        ("TRYVOX_EXPORTER_KIND", "status"),
    ];
    let printed = success(&output(&["changes", "--output=csv"], &variables).await);
    assert_eq!(printed.lines().count(), 2, "{printed}");
}

#[tokio::test]
async fn the_default_is_the_last_seven_days() {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let change = |age, e164| (now - age, "a", e164, "added", None, Some("active"), "US", "local", "1", "USD");
    let file = StateFile::new([change(7 * DAY + 600_000, "+1100"), change(7 * DAY - 600_000, "+1200")]);
    let printed = success(&output(&["changes", &file.flag(), "--output=csv"], &[]).await);
    assert!(!printed.contains("+1100") && printed.contains("+1200"), "{printed}");
}

#[tokio::test]
async fn stderr_reports_that_there_are_no_changes() {
    let file = StateFile::new(CHANGES);
    for (format, stdout) in
        [("table", ""), ("csv", "time,account,e164,kind,from,to,country,type,monthly_fee,currency\n"), ("json", "")]
    {
        let arguments = ["changes", &file.flag(), "--since=2026-11-27", &format!("--output={format}")];
        let output = output(&arguments, &[]).await;
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "tryvox-exporter: no changes since 2026-11-27T00:00:00Z\n"
        );
        assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
    }
    let output = output(&["changes", &file.flag(), "--since=2026-11-01", "--account=unknown"], &[]).await;
    let (status, line) = one_line(&output);
    assert_eq!((status, &*line), (Some(0), "tryvox-exporter: no matching changes since 2026-11-01T00:00:00Z\n"));
}

#[tokio::test]
async fn the_configuration_of_an_exporter_is_enough_without_its_keys() {
    let file = StateFile::new(CHANGES);
    let config = file.folder.path().join("tryvox.yml");
    // The path is relative to the file, and no key can be read.
    let text = "state: {file: state.db}\naccounts:\n- {account_id: acc_1, api_key_file: missing}\n- {account_id: acc_2, api_key_env: NOT_SET}\n";
    std::fs::write(&config, text).unwrap();
    let flag = format!("--config.file={}", config.display());
    let printed = success(&output(&["changes", &flag, "--since=9y", "--output=json"], &[]).await);
    assert_eq!(printed.lines().count(), CHANGES.len());
}

#[tokio::test]
async fn a_copy_in_a_read_only_folder_can_be_read_by_another_user() {
    let file = StateFile::new(CHANGES);
    let expected = file.changes(&["--output=csv"]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db");
    std::fs::copy(file.path(), &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o444)).unwrap();
    let arguments = ["changes", &state_flag(&copy), "--since=9y", "--output=csv"];
    // Root could write to the folder, so the command runs as another user, from a folder that this user can enter.
    let binary = elsewhere.path().join("tryvox-exporter");
    std::fs::copy(BINARY, &binary).unwrap();
    std::fs::set_permissions(elsewhere.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let wrapper = if is_root { &["setpriv", "--reuid=65534", "--clear-groups"][..] } else { &[] };
    let program = [wrapper, &[binary.to_str().unwrap()], &arguments].concat();
    let run = Command::new(program[0]).args(&program[1..]).output();
    assert_eq!(success(&timeout(TEST_TIMEOUT, run).await.unwrap().unwrap()), expected);
    // Nothing was written next to the copy.
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 2);
    std::fs::set_permissions(elsewhere.path(), PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn closed_pipe_is_not_an_error() {
    let change = |number: i64| format!("+1415{number:07}");
    let numbers: Vec<String> = (0..20_000).map(change).collect();
    let file = StateFile::new(
        numbers.iter().map(|e164| (TUESDAY, "a", &**e164, "added", None, Some("active"), "US", "local", "1", "USD")),
    );
    for format in ["table", "csv", "json"] {
        let arguments = ["changes", &file.flag(), "--since=9y", &format!("--output={format}")];
        let output = output_to_closed_pipe(&arguments, &[]).await;
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{format}: {output:?}");
    }
    // A full disk is one.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(BINARY);
    command.args(["changes", &file.flag(), "--since=9y"]).stdout(full).stderr(std::process::Stdio::piped());
    let output = timeout(TEST_TIMEOUT, command.spawn().unwrap().wait_with_output()).await.unwrap().unwrap();
    let (status, line) = one_line(&output);
    assert!(status == Some(1) && line.contains("cannot write the output") && line.contains("No space left"), "{line}");
}

/// Rows are not collected: a table of 300,000 changes, which would take 100 MB, fits into little address space.
#[tokio::test]
async fn memory_does_not_grow_with_the_number_of_changes() {
    const COUNT: usize = 300_000;
    let numbers: Vec<String> = (0..COUNT).map(|number| format!("+1415{number:07}")).collect();
    let status = Some("a status of 43 bytes that the API may write");
    let file = StateFile::new(
        numbers
            .iter()
            .map(|e164| (TUESDAY, "production", &**e164, "status", status, status, "US", "local", "1.15", "USD")),
    );
    for format in ["table", "csv", "json"] {
        let arguments = ["changes", &file.flag(), "--since=9y", &format!("--output={format}")];
        let mut limited = wrapped_command(&["prlimit", "--as=100000000"], &arguments);
        let printed = success(&timeout(TEST_TIMEOUT, limited.output()).await.unwrap().unwrap());
        assert_eq!(printed.lines().count(), COUNT + usize::from(format != "json"), "{format}");
        let last = format!("+1415{:07}", COUNT - 1);
        assert!(printed.lines().last().unwrap().contains(&last), "{format}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_read_are_reported_in_one_line() {
    let file = StateFile::new(CHANGES);
    let missing = file.folder.path().join("missing.db");
    let text = file.folder.path().join("text.db");
    std::fs::write(&text, "not a database\n".repeat(1000)).unwrap();
    let foreign = file.folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    for path in [missing, text, foreign, file.folder.path().to_owned()] {
        let (status, line) = one_line(&output(&["changes", &state_flag(&path)], &[]).await);
        assert!(status == Some(1) && line.contains(&path.display().to_string()), "{line}");
        assert!(!path.ends_with("missing.db") || !path.exists(), "the command created the file");
    }
}

#[tokio::test]
async fn invalid_options_are_status_2() {
    let file = StateFile::new(CHANGES);
    let flag = file.flag();
    for (arguments, words) in [
        (&["changes"][..], &["no state file", "--state.file", "state.file"][..]),
        (&["changes", &flag, "--since=Tuesday"], &["--since=Tuesday", "7d", "2026-11-24"]),
        (&["changes", &flag, "--kind=added,gone"], &["--kind=added,gone", "added, removed, status, fee, assignment"]),
        (&["changes", &flag, "--account="], &["--account=", "production"]),
        (&["changes", &flag, "--output=xml"], &["--output=xml", "table, csv, json"]),
        // CSV is only for lists.
        (&["check", "--tryvox.account-id=a", "--output=csv"], &["--output=csv", "must be one of table, json"]),
    ] {
        let (status, line) = one_line(&output(arguments, &[("TRYVOX_API_KEY", KEY)]).await);
        assert_eq!(status, Some(2), "{line}");
        for word in words {
            assert!(line.contains(word), "{arguments:?}: {word} is missing: {line}");
        }
    }
    let help = success(&output(&["check", "--help"], &[]).await);
    assert!(help.contains("[possible values: table, json]"), "{help}");
}

/// The journal has exactly what the counters count, and can be read at any time.
#[tokio::test]
async fn changes_are_read_while_an_exporter_records_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let simulator = ServerProcess::simulator(500, fastrand::u64(..), &["--life=20ms"]).await;
    let arguments = [&*state_flag(&path), "--poll.interval=200ms", "--tryvox.rate-limit=0"];
    let mut exporter = ServerProcess::exporter(&simulator.url(), &arguments).await;
    let printed = async || success(&output(&["changes", &state_flag(&path), "--output=json"], &[]).await);
    exporter.wait_for_polls(3).await;
    let mut earlier = String::new();
    for polls in 4..10 {
        exporter.wait_for_polls(polls).await;
        let later = printed().await;
        assert!(later.starts_with(&earlier), "a recorded change was changed");
        earlier = later;
    }
    // The scrape and the journal differ only by polls in between, so the source of changes stops first.
    assert_eq!(simulator.stop(Signal::TERM).await, Some(0));
    exporter.wait_for_log("poll failed", 1).await;
    let scrape = exporter.scrape().await;
    assert_eq!(exporter.stop(Signal::TERM).await, Some(0));
    let recorded = printed().await;
    let count = |kind: &str| recorded.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    let counted = |family: &str| scrape.family(family).into_values().sum::<f64>().to_string();
    for (kind, family) in [
        ("added", "tryvox_numbers_added_total"),
        ("removed", "tryvox_numbers_removed_total"),
        ("status", "tryvox_number_status_changes_total"),
        ("fee", "tryvox_number_fee_changes_total"),
    ] {
        assert_eq!(count(kind).to_string(), counted(family), "{kind}: {recorded}");
    }
    assert!(recorded.lines().count() > 10, "{recorded}");
}

/// The schema is an interface.
#[test]
fn documentation_has_the_schema_and_queries_that_run() {
    let document = std::fs::read_to_string("docs/state.md").unwrap();
    let (_, section) = document.split_once("## Query it with sqlite3\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let file = StateFile::new(CHANGES);
    let connection = Connection::open(file.path()).unwrap();
    let mut columns = connection
        .prepare(
            "SELECT schema.name, info.name FROM sqlite_schema AS schema, pragma_table_info(schema.name) AS info
             WHERE schema.type IN ('table', 'view')",
        )
        .unwrap();
    let columns = columns.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let columns: Vec<_> = columns.map(Result::unwrap).collect();
    assert!(columns.len() > 30, "{columns:?}");
    for (table, column) in columns {
        // The rows of a table are those from its name to the name of the next one.
        let rows = section.split("\n| `").find(|rows| rows.starts_with(&format!("{table}` |")));
        let rows = rows.unwrap_or_else(|| panic!("{table} is not documented"));
        let is_view_of_changes = table == "readable_changes";
        assert!(rows.contains(&format!("`{column}`")) || is_view_of_changes, "{table}.{column} is not documented");
    }
    // The text that the shell passes to sqlite3.
    let query = section.split("state.db \\\n    \"").nth(1).unwrap().split("\"\n```").next().unwrap();
    let suspended = connection.query_row(query, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)));
    assert_eq!(suspended.unwrap(), ("production".to_owned(), 1));
}
