//! `once --output.file`: the file for a textfile collector, and what it keeps of an earlier file when
//! accounts fail.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::process::Command;

use crate::common::accounts::{AccountBehavior, ConfigFile, config_text, expected_series, start_api};
use crate::common::api::MockApi;
use crate::common::{KEY, Scrape, TEST_TIMEOUT, expected, http, output};

/// Numbers of each account.
const NUMBERS: usize = 150;

/// The family that keeps its value of the previous file even if the inventory is stale.
const LAST_SUCCESS: &str = "tryvox_last_success_timestamp_seconds";

/// An API that refuses accounts on request, and a directory with the file.
struct Textfile {
    api: MockApi,
    /// Whether each account is refused.
    refused: &'static [AtomicBool; 3],
    directory: TempDir,
}

impl Textfile {
    async fn new() -> Self {
        let refused: &'static [AtomicBool; 3] = Box::leak(Box::default());
        let api = start_api(NUMBERS, |account| {
            if refused[account].load(Ordering::SeqCst) { AccountBehavior::Unauthorized } else { AccountBehavior::Valid }
        })
        .await;
        Self { api, refused, directory: tempfile::tempdir().unwrap() }
    }

    fn refuse(&self, refused: [bool; 3]) {
        for (account, is_refused) in self.refused.iter().zip(refused) {
            account.store(is_refused, Ordering::SeqCst);
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tryvox.prom")
    }

    /// Lists these accounts into the file; returns the exit status and stderr.
    async fn run(&self, accounts: &[usize], arguments: &[&str]) -> (Option<i32>, String) {
        let file = ConfigFile::new(&config_text(&self.api.url(), accounts.iter().copied()));
        let (config, flag) = (file.flag(), format!("--output.file={}", self.path().display()));
        let arguments = [&["once", &*config, &*flag], arguments].concat();
        let exited = output(&arguments, &[("TRYVOX_API_KEY", KEY)]).await;
        assert!(exited.stdout.is_empty(), "{exited:?}");
        (exited.status.code(), String::from_utf8(exited.stderr).unwrap())
    }

    /// Returns the content of the file, which is valid whatever happened.
    fn written(&self) -> Scrape {
        let written = Scrape(std::fs::read_to_string(self.path()).unwrap());
        written.lint();
        // No temporary file is left in the directory.
        assert_eq!(std::fs::read_dir(self.directory.path()).unwrap().count(), 1);
        written
    }
}

/// Returns the lines of an account that a failed poll does not change.
fn carried_lines(scrape: &Scrape, account: usize) -> BTreeSet<String> {
    let label = format!("{{account=\"acc_{account}\"");
    let is_carried = |line: &&str| {
        let family = line.split('{').next().unwrap();
        line.contains(&label)
            && (family == LAST_SUCCESS || family == "tryvox_invalid_records" || is_of_inventory(family))
    };
    scrape.0.lines().filter(is_carried).map(str::to_owned).collect()
}

fn is_of_inventory(family: &str) -> bool {
    tryvox_exporter::metrics::INVENTORY.iter().any(|metric| metric.family.name == family)
}

fn up(scrape: &Scrape) -> Vec<f64> {
    scrape.family("tryvox_up").into_values().collect()
}

#[tokio::test]
async fn failed_account_keeps_the_inventory_of_the_previous_file_until_it_is_stale() {
    let textfile = Textfile::new().await;
    let more = ["--collector.region", "--collector.number.statuses=active"];
    let (status, stderr) = textfile.run(&[0, 1, 2], &more).await;
    assert_eq!((status, &*stderr), (Some(0), ""));
    let first = textfile.written();
    let inventory = |accounts: &[usize]| -> expected::Series {
        accounts.iter().flat_map(|account| expected_series(*account, NUMBERS)).collect()
    };
    assert_eq!((up(&first), first.inventory()), (vec![1.0; 3], inventory(&[0, 1, 2])));

    // One account fails: its lines are those of the previous file, in the families of the others.
    textfile.refuse([false, true, false]);
    let (status, stderr) = textfile.run(&[0, 1, 2], &more).await;
    assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("1 of 3 accounts") && stderr.contains("acc_1") && stderr.contains("401"), "{stderr}");
    assert!(stderr.ends_with("; the file keeps its previous inventory\n"), "{stderr}");
    let second = textfile.written();
    assert_eq!((up(&second), second.inventory()), (vec![1.0, 0.0, 1.0], inventory(&[0, 1, 2])));
    assert_eq!(carried_lines(&second, 1), carried_lines(&first, 1));
    assert!(carried_lines(&second, 1).len() > NUMBERS, "{:?}", carried_lines(&second, 1));
    assert_eq!(second.value(r#"tryvox_poll_errors_total{account="acc_1",reason="unauthorized"}"#), Some(1.0));
    let last_success = |scrape: &Scrape, account: usize| {
        scrape.value(&format!("{LAST_SUCCESS}{{account=\"acc_{account}\"}}")).unwrap()
    };
    assert!(last_success(&second, 0) > last_success(&first, 0));

    // All accounts fail, one of them for the second time, and one account is not configured any more.
    textfile.refuse([true; 3]);
    let (status, stderr) = textfile.run(&[0, 1], &more).await;
    assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.ends_with("; the file keeps the previous inventory of 2 of them\n"), "{stderr}");
    let third = textfile.written();
    assert_eq!((up(&third), third.inventory()), (vec![0.0; 2], inventory(&[0, 1])));
    assert_eq!(carried_lines(&third, 0), carried_lines(&second, 0));
    assert_eq!(carried_lines(&third, 1), carried_lines(&first, 1));
    assert!(!third.0.contains("acc_2"));

    // The inventory becomes stale; the time of the last success stays.
    for stale_after in ["1ms", "1h"] {
        let (status, stderr) = textfile.run(&[0, 1], &[&format!("--poll.stale-after={stale_after}")]).await;
        assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(!stderr.contains("inventory"), "{stderr}");
        let stale = textfile.written();
        assert_eq!((up(&stale), stale.inventory()), (vec![0.0; 2], expected::Series::new()));
        for account in [0, 1] {
            assert_eq!(carried_lines(&stale, account).len(), 1, "{}", stale.0);
            assert_eq!(last_success(&stale, account).to_bits(), last_success(&third, account).to_bits());
        }
    }

    textfile.refuse([false; 3]);
    assert_eq!(textfile.run(&[0, 1], &[]).await, (Some(0), String::new()));
    let recovered = textfile.written();
    assert_eq!((up(&recovered), recovered.inventory()), (vec![1.0; 2], inventory(&[0, 1])));
}

#[tokio::test]
async fn account_that_never_succeeded_has_no_inventory() {
    let textfile = Textfile::new().await;
    textfile.refuse([true; 3]);
    for _ in 0..2 {
        let (status, stderr) = textfile.run(&[0, 1], &[]).await;
        assert_eq!((status, stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains("2 of 2 accounts") && !stderr.contains("inventory"), "{stderr}");
        let written = textfile.written();
        assert_eq!((up(&written), written.inventory()), (vec![0.0; 2], expected::Series::new()));
        assert!(written.family("tryvox_invalid_records").is_empty());
        assert!(written.family(LAST_SUCCESS).is_empty());
    }
}

#[tokio::test]
async fn foreign_and_damaged_files_are_replaced_with_a_warning_and_not_carried_over() {
    let textfile = Textfile::new().await;
    assert_eq!(textfile.run(&[0], &[]).await.0, Some(0));
    let valid = textfile.written().0;
    let last_line = valid.trim_end().rfind('\n').unwrap() + 1;
    textfile.refuse([true; 3]);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), "incomplete"),
        (
            "foreign",
            b"# HELP up h\n# TYPE up gauge\nup{account=\"acc_0\"} 1\n".to_vec(),
            "not written by tryvox-exporter",
        ),
        ("truncated", valid.as_bytes()[..valid.len() / 2].to_vec(), "incomplete"),
        ("truncated by one byte", valid.as_bytes()[..valid.len() - 1].to_vec(), "incomplete"),
        ("without the last line", valid.as_bytes()[..last_line].to_vec(), "incomplete"),
        ("edited", valid.replacen("country=\"US\"", "country=\"FR\"", 1).into_bytes(), "changed"),
        ("extended", [valid.as_bytes(), b"up 1\n"].concat(), "incomplete"),
        ("not UTF-8", [valid.as_bytes(), b"\xff\n"].concat(), "not UTF-8"),
        ("huge", vec![b'\n'; (64 << 20) + 1], "larger than 64 MiB"),
    ];
    for (name, content, cause) in cases {
        std::fs::write(textfile.path(), content).unwrap();
        let (status, stderr) = textfile.run(&[0], &[]).await;
        let [warning, error] = stderr.lines().collect::<Vec<_>>()[..] else { panic!("{name}: {stderr}") };
        let path = textfile.path().display().to_string();
        let expected = format!("tryvox-exporter: warning: no inventory is carried over from {path}: it ");
        assert!(warning.starts_with(&expected), "{name}: {warning}");
        assert!(warning.contains(cause) && warning.contains("change --output.file"), "{name}: {warning}");
        assert!(status == Some(1) && error.contains("401") && !error.contains("inventory"), "{name}: {error}");
        let written = textfile.written();
        assert_eq!((up(&written), written.inventory()), (vec![0.0], expected::Series::new()), "{name}");
        assert!(written.family(LAST_SUCCESS).is_empty(), "{name}");
    }
    // An untouched file is carried over, also if it was copied.
    std::fs::write(textfile.path(), &valid).unwrap();
    let (_, stderr) = textfile.run(&[0], &[]).await;
    assert!(stderr.ends_with("; the file keeps its previous inventory\n"), "{stderr}");
    assert_eq!(textfile.written().inventory(), Scrape(valid).inventory());
}

#[tokio::test]
async fn output_that_is_not_a_regular_file_or_cannot_be_written_is_refused() {
    let textfile = Textfile::new().await;
    let fifo = textfile.directory.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let file = ConfigFile::new(&config_text(&textfile.api.url(), [0]));
    for path in [&*fifo, textfile.directory.path()] {
        let flag = format!("--output.file={}", path.display());
        let refused = output(&["once", &file.flag(), &flag], &[("TRYVOX_API_KEY", KEY)]).await;
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        let expected = format!("cannot replace {}: it is not a regular file", path.display());
        assert!(stderr.contains(&expected), "{stderr}");
    }
    assert!(textfile.api.requests().is_empty(), "the path is checked first");

    let unwritable = output(&["once", &file.flag(), "--output.file=/nowhere/x"], &[("TRYVOX_API_KEY", KEY)]).await;
    let stderr = String::from_utf8(unwritable.stderr).unwrap();
    assert!(
        unwritable.status.code() == Some(1) && stderr.contains("/nowhere/x") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[tokio::test]
async fn key_file_that_cannot_be_read_fails_only_its_account() {
    let textfile = Textfile::new().await;
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("0"), KEY).unwrap();
    std::fs::write(keys.path().join("1"), KEY).unwrap();
    let key = |account: usize| keys.path().join(account.to_string()).display().to_string();
    let text = format!(
        "tryvox: {{url: '{}'}}\naccounts:\n- {{account_id: acc_0, api_key_file: '{}'}}\n- {{account_id: acc_1, \
         api_key_file: '{}'}}\n",
        textfile.api.url(),
        key(0),
        key(1)
    );
    let file = ConfigFile::new(&text);
    let flag = format!("--output.file={}", textfile.path().display());
    let run = async || output(&["once", &file.flag(), &flag], &[]).await;
    assert_eq!(run().await.status.code(), Some(0));
    let before = textfile.written();

    std::fs::remove_file(key(1)).unwrap();
    let failed = run().await;
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert_eq!((failed.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    let expected = format!("acc_1: cannot read API key file {}: ", key(1));
    assert!(stderr.contains(&expected) && stderr.contains("(api_key)"), "{stderr}");
    let written = textfile.written();
    assert_eq!((up(&written), written.inventory()), (vec![1.0, 0.0], before.inventory()));
    assert_eq!(written.value(r#"tryvox_poll_errors_total{account="acc_1",reason="api_key"}"#), Some(1.0));

    // Only a check of the configuration refuses it.
    let refused = output(&["serve", "--config.check", &*file.flag()], &[]).await;
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && stderr.contains(&key(1)), "{stderr}");

    // A single account from options.
    let (url, missing) = (format!("--tryvox.url={}", textfile.api.url()), format!("--tryvox.api-key-file={}", key(1)));
    let failed = output(&["once", &url, "--tryvox.account-id=acc_0", &missing], &[]).await;
    let (printed, stderr) = (String::from_utf8(failed.stdout).unwrap(), String::from_utf8(failed.stderr).unwrap());
    assert!(failed.status.code() == Some(1) && stderr.contains("1 of 1 account could not be listed"), "{stderr}");
    assert_eq!(up(&Scrape(printed)), [0.0]);
}

#[tokio::test]
async fn node_exporter_of_debian_serves_the_files_of_two_accounts_in_one_directory() {
    let textfile = Textfile::new().await;
    let directory = textfile.directory.path();
    // The inventory of the first account is carried over from its first run.
    for (account, is_refused) in [(0, false), (0, true), (1, false)] {
        textfile.refuse([is_refused; 3]);
        let file = ConfigFile::new(&config_text(&textfile.api.url(), [account]));
        let flag = format!("--output.file={}", directory.join(format!("acc_{account}.prom")).display());
        let written = output(&["once", &file.flag(), &flag], &[("TRYVOX_API_KEY", KEY)]).await;
        assert_eq!(written.status.code(), Some(is_refused.into()));
    }

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = tempfile::NamedTempFile::new().unwrap();
    let _node = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--collector.textfile.directory={}", directory.display()))
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .stderr(Stdio::from(log.reopen().unwrap()))
        .kill_on_drop(true)
        .spawn()
        .expect("node_exporter is missing: `make setup` installs it");
    let url = format!("http://127.0.0.1:{port}/metrics");
    let start = Instant::now();
    let scrape = loop {
        match http().get(&url).send().await {
            Ok(response) if response.status() == 200 => break Scrape(response.text().await.unwrap()),
            _ => assert!(start.elapsed() < TEST_TIMEOUT, "node_exporter does not respond"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(scrape.value("node_textfile_scrape_error"), Some(0.0));
    // It logs duplicate series and serves one of them.
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("Listening on") && !log.contains("level=error"), "{log}");
    assert_eq!(up(&scrape), [0.0, 1.0]);
    // It sorts labels by name, so series are not compared one by one.
    let expected: expected::Series = [0, 1].into_iter().flat_map(|account| expected_series(account, NUMBERS)).collect();
    for family in ["tryvox_numbers", "tryvox_listed_numbers", "tryvox_monthly_fees"] {
        let expected: f64 = expected
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(family))
            .map(|(_, value)| value)
            .sum();
        let served: f64 = scrape.family(family).values().sum();
        assert_eq!(format!("{served:.3}"), format!("{expected:.3}"), "{family}");
    }
}
