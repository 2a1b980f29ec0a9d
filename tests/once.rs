//! `once` and `check`: every account listed once, for files, scripts and people.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::common::accounts::{File, Kind, api, text, truth as truth_of};
use crate::common::{BINARY, KEY, PATIENCE, Running, Scrape, command, expected, http, output, seed};

async fn simulated(numbers: usize) -> (Running, String) {
    let simulator = Running::simulator(numbers, seed(), &[]).await;
    let url = format!("--tryvox.url={}", simulator.url());
    (simulator, url)
}

const ID: &str = "--tryvox.account-id=acc_demo";

#[tokio::test]
async fn once_prints_what_a_scrape_has() {
    let (simulator, url) = simulated(700).await;
    let printed = output(&["once", &url, ID], &[("TRYVOX_API_KEY", KEY)]).await;
    assert!(printed.status.success() && printed.stderr.is_empty(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = Scrape(String::from_utf8(printed.stdout).unwrap());
    printed.lint();
    assert_eq!(printed.inventory(), expected::from_simulator(&simulator).await);
    assert_eq!(printed.of("tryvox_up", ""), 1.0);
    // The families are those of a scrape, but for the process.
    let mut exporter = Running::exporter(&simulator.url(), &[]).await;
    exporter.polled(1).await;
    let names = |scrape: &Scrape| -> Vec<String> {
        let lines = scrape.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.filter(|line| !line.starts_with("process_")).map(str::to_owned).collect()
    };
    assert_eq!(names(&printed), names(&exporter.scrape().await));
}

#[tokio::test]
async fn a_file_is_replaced_in_one_step_and_only_by_something_good() {
    let api = api(150, |account| if account == 1 { Kind::Refused } else { Kind::Good }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tryvox.prom");
    let flag = format!("--output.file={}", path.display());
    let run = async |accounts: &[usize]| {
        let file = File::new(&text(&api.url(), accounts.iter().copied()));
        let ended = output(&["once", &file.flag(), &flag], &[("TRYVOX_API_KEY", KEY)]).await;
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };

    // One account fails: the others are written, and tryvox_up says which.
    let (status, said) = run(&[0, 1, 2]).await;
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("1 of 3 account(s)") && said.contains("acc_1") && said.contains("401"), "{said}");
    let written = Scrape(std::fs::read_to_string(&path).unwrap());
    written.lint();
    let up: Vec<_> = (0..3).map(|n| written.value(&format!(r#"tryvox_up{{account="acc_{n}"}}"#)).unwrap()).collect();
    assert_eq!(up, [1.0, 0.0, 1.0]);
    let expected: expected::Series = [0, 2].into_iter().flat_map(|account| truth_of(account, 150)).collect();
    assert_eq!(written.inventory(), expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);

    // None is good: the file is left as it was.
    assert_eq!(run(&[1]).await.0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written.0);
    // And nothing else is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = output(
        &["once", &File::new(&text(&api.url(), [0])).flag(), "--output.file=/nowhere/x"],
        &[("TRYVOX_API_KEY", KEY)],
    )
    .await;
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(nowhere.status.code() == Some(1) && said.contains("/nowhere/x") && said.lines().count() == 1, "{said}");
}

/// `node_exporter`, Debian's, reads the file and serves what is in it.
#[tokio::test]
async fn node_exporter_serves_the_file() {
    let (simulator, url) = simulated(300).await;
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--output.file={}", folder.path().join("tryvox.prom").display());
    let written = output(&["once", &url, ID, &flag], &[("TRYVOX_API_KEY", KEY)]).await;
    assert!(written.status.success());

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _node = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--collector.textfile.directory={}", folder.path().display()))
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("node_exporter is there: `make setup` installs it");
    let url = format!("http://127.0.0.1:{port}/metrics");
    let start = std::time::Instant::now();
    let scrape = loop {
        match http().get(&url).send().await {
            Ok(answer) if answer.status() == 200 => break Scrape(answer.text().await.unwrap()),
            _ => assert!(start.elapsed() < PATIENCE, "node_exporter does not answer"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(scrape.value("node_textfile_scrape_error"), Some(0.0));
    // It orders labels by name.
    let sum = |family: &str| scrape.family(family).values().sum::<f64>();
    assert_eq!((sum("tryvox_numbers"), sum("tryvox_listed_numbers"), sum("tryvox_up")), (300.0, 300.0, 1.0));
    let fees: f64 = expected::from_simulator(&simulator)
        .await
        .iter()
        .filter(|(series, _)| series.starts_with("tryvox_monthly_fees"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(format!("{:.3}", sum("tryvox_monthly_fees")), format!("{fees:.3}"));
}

#[tokio::test]
async fn check_says_what_is_there() {
    let (simulator, url) = simulated(1_234).await;
    simulator.set_faults("bad-records page=2 times=1").await;
    let checked = output(&["check", &url, ID, "--output=json"], &[("TRYVOX_API_KEY", KEY)]).await;
    assert!(checked.status.success() && checked.stderr.is_empty());
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let account = &report["accounts"][0];
    assert_eq!(
        (account["ok"].as_bool(), account["numbers"].as_u64(), account["reported"].as_u64()),
        (Some(true), Some(1_224), Some(1_234))
    );
    let groups = account["groups"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["numbers"].as_u64().unwrap()).sum::<u64>(), 1_224);
    assert!(account["problems"].to_string().contains("could not be read"), "{report}");
    assert!(account["advice"].to_string().contains("13 pages"), "{report}");

    let checked = output(&["check", &url, ID], &[("TRYVOX_API_KEY", KEY)]).await;
    let table = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty());
    // Not a terminal: no bar and no colour.
    assert!(!table.contains('\x1b'), "{table}");
    for (series, value) in expected::from_simulator(&simulator)
        .await
        .iter()
        .filter(|(series, value)| series.starts_with("tryvox_numbers{") && **value > 0.0)
    {
        let label =
            |name: &str| series.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let row = [label("country"), label("type"), label("status"), value.to_string()];
        let has = |line: &str| line.split_whitespace().take(4).eq(row.iter());
        assert!(table.lines().any(has), "{row:?} is not in\n{table}");
    }
    assert!(table.contains("13 pages in ") && table.contains("of an interval of 300 s"), "{table}");
}

#[tokio::test]
async fn check_says_what_is_wrong() {
    let api = api(10, |account| if account == 1 { Kind::Refused } else { Kind::Good }).await;
    let file = File::new(&text(&api.url(), [0, 1]));
    let checked = output(&["check", &file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let (table, said) = (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
    assert_eq!((checked.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        table.contains("acc_0  listed") && table.contains("acc_1  failed") && table.contains("unauthorized"),
        "{table}"
    );
    assert!(table.contains("all accounts  10 numbers"), "{table}");
    // A reader that goes away is no error.
    let script = format!(
        "'{BINARY}' check --tryvox.url={} --tryvox.account-id=acc_0 | true; exit ${{PIPESTATUS[0]}}",
        api.url()
    );
    let piped = Command::new("bash").args(["-c", &script]).env("TRYVOX_API_KEY", KEY).output().await.unwrap();
    assert_eq!((piped.status.code(), piped.stderr.len()), (Some(0), 0), "{}", String::from_utf8_lossy(&piped.stderr));
}

#[tokio::test]
async fn a_signal_ends_them_with_status_1() {
    let api = api(10, |_| Kind::Hanging).await;
    let url = format!("--tryvox.url={}", api.url());
    for name in ["once", "check"] {
        let asked = api.asked().len();
        let child = command(&[name, &url, "--tryvox.account-id=acc_0"]).env("TRYVOX_API_KEY", KEY).spawn().unwrap();
        while api.asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::INT).unwrap();
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(1) && said.contains("interrupted"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_health_check_asks_the_running_exporter() {
    let exporter = Running::start(&["demo", "--numbers=1"], &[]).await;
    let flag = format!("--web.listen-address={}", exporter.address);
    let checked = output(&["healthcheck", &flag], &[]).await;
    assert_eq!((checked.status.code(), &*checked.stdout), (Some(0), &b"healthy\n"[..]));
    let port = exporter.address.rsplit(':').next().unwrap().to_owned();
    let checked = output(&["healthcheck"], &[("TRYVOX_EXPORTER_WEB_LISTEN_ADDRESS", &format!(":{port}"))]).await;
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(exporter.end(Signal::TERM).await, Some(0));
    let checked = output(&["healthcheck", &flag], &[]).await;
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.code() == Some(1) && said.lines().count() == 1 && said.contains(&port), "{said}");
}

#[tokio::test]
async fn completions_and_the_manual_page_have_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = output(&["completions", shell], &[]).await;
        let text = String::from_utf8(printed.stdout).unwrap();
        assert!(printed.status.success() && text.contains("healthcheck") && text.contains("poll.interval"), "{shell}");
    }
    let script = format!("source <('{BINARY}' completions bash) && complete -p tryvox-exporter");
    assert!(Command::new("bash").args(["-c", &script]).output().await.unwrap().status.success());
    let printed = output(&["man"], &[]).await;
    let page = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.status.success() && page.starts_with(".ie") && page.contains("poll.interval"), "{page}");
}
