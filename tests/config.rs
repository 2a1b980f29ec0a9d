//! Options from flags, environment variables and the configuration file: precedence, validation, messages.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use clap::Arg;
use tryvox_exporter::cli::commands;
use tryvox_exporter::config::{CommandSpec, Config, ConfigSource, Flags, Options, variable};

use crate::common::accounts::ConfigFile;
use crate::common::{KEY, ServerProcess, output};

/// Returns three valid values of an option, none of them its default.
fn samples(option: &Arg) -> [&'static str; 3] {
    let value_name = option.get_value_names().unwrap()[0].as_str();
    match (option.get_id().as_str(), value_name) {
        ("tryvox.per-page" | "collector.label-limit" | "total-shards", _) => ["11", "22", "33"],
        // A shard that exists whatever the total is.
        ("shard", _) => ["0", "0", "0"],
        (_, "URL") => ["http://a", "http://b", "http://c"],
        (_, "ID") => ["acc_a", "acc_b", "acc_c"],
        (id, "PATH") if id.starts_with("web.") || id.starts_with("state.") => ["/a", "/b", "/c"],
        (_, "DURATION") => ["11s", "22s", "33s"],
        (_, "N") => ["5", "6", "7"],
        (_, "RATE") => ["5.5", "6.5", "7.5"],
        (_, "SHARE") => ["0.1", "0.2", "0.3"],
        (_, "ADDRESS") => [":1", ":2", ":3"],
        (_, "CODES") => ["US", "CA,GB", "NO"],
        (_, "STATUSES") => ["active", "suspended", "active,pending"],
        (_, "BOOL") => ["true", "false", "true"],
        (_, "LEVEL") => ["debug", "warn", "error"],
        (_, "FORMAT") => ["json", "logfmt", "json"],
        other => panic!("no samples for {other:?}"),
    }
}

/// Returns a file that sets one option.
fn file(id: &str, value: &str) -> String {
    let keys: Vec<_> = id.split('.').map(|key| key.replace('-', "_")).collect();
    let mut text = String::new();
    for (depth, key) in keys.iter().enumerate() {
        write!(text, "{}{key}:{}", " ".repeat(depth), if depth + 1 < keys.len() { "\n" } else { " " }).unwrap();
    }
    writeln!(text, "'{value}'").unwrap();
    text
}

fn serve() -> &'static CommandSpec {
    commands().find(|command| command.name == "serve").unwrap()
}

fn read(flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Config {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags: Flags = flags.iter().map(owned).collect();
    let environment: BTreeMap<_, _> = variables.iter().chain(&[("TRYVOX_API_KEY", KEY)]).map(owned).collect();
    let source = ConfigSource { command: serve(), flags, environment, check_files: |_| Vec::new() };
    source.read().unwrap_or_else(|error| panic!("{:?}: {error}", source.flags))
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let path_text = path.display().to_string();
    let options = |id: &str, flag: Option<&str>, environment: Option<&str>, text: &str| -> Options {
        std::fs::write(&path, text).unwrap();
        let mut flags = vec![("config.file", &*path_text)];
        if id != "tryvox.account-id" {
            flags.push(("tryvox.account-id", "acc"));
        }
        flags.extend(flag.map(|value| (id, value)));
        let name = variable(id);
        let variables: Vec<_> = environment.map(|value| (&*name, value)).into_iter().collect();
        read(&flags, &variables).options
    };

    let mut tested = 0;
    for option in serve().options() {
        let id = option.get_id().as_str();
        if id.starts_with("config.") || id == "tryvox.api-key-file" {
            continue;
        }
        let [a, b, c] = samples(&option);
        let by_flag = |value| options(id, Some(value), None, "");
        assert_eq!(options(id, None, None, &file(id, a)), by_flag(a), "{id} from the file");
        assert_eq!(options(id, None, Some(b), ""), by_flag(b), "{id} from the environment");
        assert_eq!(options(id, None, Some(b), &file(id, a)), by_flag(b), "{id}: environment beats file");
        assert_eq!(options(id, Some(c), Some(b), &file(id, a)), by_flag(c), "{id}: flag beats everything");
        if let [default] = option.get_default_values() {
            let default = default.to_str().unwrap();
            assert_eq!(options(id, Some(default), None, ""), options(id, None, None, ""), "default of {id}");
        }
        tested += 1;
    }
    assert!(tested > 20);
}

#[test]
fn account_field_beats_option_of_the_file_and_flag_or_environment_beats_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let text = "poll: {interval: 1m}\naccounts: [{account_id: a, interval: 2m}, {account_id: b}]\n";
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    let intervals = |flags: &[(&str, &str)], variables: &[(&str, &str)]| -> Vec<u64> {
        let config = read(&[flags, &[("config.file", &*path)]].concat(), variables);
        config.accounts.iter().map(|account| account.poll.interval.as_secs()).collect()
    };
    let environment = [("TRYVOX_EXPORTER_POLL_INTERVAL", "3m")];
    assert_eq!(intervals(&[], &[]), [120, 60]);
    assert_eq!(intervals(&[], &environment), [180, 180]);
    assert_eq!(intervals(&[("poll.interval", "4m")], &environment), [240, 240]);
}

#[test]
fn anchors_and_merge_keys_share_settings_between_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let text = "accounts:\n- &first {account_id: a, interval: 2m, countries: [NO]}\n- {<<: *first, account_id: b}\n";
    std::fs::write(&path, text).unwrap();
    let config = read(&[("config.file", &path.display().to_string())], &[]);
    for (account, name) in config.accounts.iter().zip(["a", "b"]) {
        assert_eq!((&*account.name, account.poll.interval.as_secs()), (name, 120));
        assert_eq!(account.tryvox.countries.as_deref(), Some(&["NO".to_owned()][..]));
    }
}

/// Runs `--config.check` on a file with the file `key` next to it. Returns the exit status and the printed
/// lines, with paths relative to the folder.
async fn check(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
    let path = folder.path().join("c.yml");
    std::fs::write(&path, text).unwrap();
    let path = format!("--config.file={}", path.display());
    let mut all = vec!["serve", &*path, "--config.check"];
    all.extend(arguments);
    let output = output(&all, environment).await;
    let prefix = format!("{}/", folder.path().display());
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), printed.lines().map(|line| line.replace(&prefix, "")).collect())
}

#[tokio::test]
async fn valid_file_passes_the_check() {
    let text = "
poll: {interval: 1m, timeout: 50s}
tryvox:
  rate_limit: 5
accounts:
  - name: production     # the account label
    account_id: acc_1
    api_key_file: key
    countries: [US, CA]
    statuses: suspended
    monthly_budget: {USD: 500, EUR: 99.95}
  - account_id: acc_2
    api_key_env: OTHER
    url: http://127.0.0.1:1
    interval: 10s
    concurrency: 2
    rate_limit: 0
  - account_id: acc_3
";
    let environment = [("OTHER", KEY), ("TRYVOX_API_KEY", KEY)];
    let (status, lines) = check(text, &[], &environment).await;
    assert_eq!((status, &*lines[lines.len() - 1]), (0, "The configuration is valid: 3 accounts"));
    // The key file has the usual mode of a new file, which is readable by everybody.
    assert_eq!(lines[0], "warning: API key file key is readable by all users; run `chmod o= key`");
    let (status, lines) = check(text, &["--total-shards=2", "--shard=1"], &environment).await;
    assert!(
        status == 0
            && lines[lines.len() - 1].contains("3 accounts, ")
            && lines[lines.len() - 1].contains("shard 1 of 2")
    );
}

#[tokio::test]
async fn check_reports_every_problem_with_its_line_and_column() {
    let text = "
poll: {interval: 5m, stale_aftr: 3m}
tryvox:
  url: nonsense
  per_page: 0
accounts:
  - name: production
    account_id: acc_1
    api_key_file: missing
    countries: [US, ca]
    monthly_budget: {USD: 500, eur: 1}
  - name: production
    account_id: acc_2
    api_key_env: NOT_SET
  - interval: 0s
    api_key_file: key
    colour: red
  - account_id: acc_3
    name: \"\"
  - account_id: acc_4
    api_key_file: key
    api_key_env: OTHER
";
    let (status, lines) = check(text, &[], &[("OTHER", KEY)]).await;
    assert_eq!(status, 2);
    let expected = [
        "c.yml:2:22: poll.stale_aftr is not known; did you mean stale_after?",
        "c.yml:17:5: accounts.colour is not known; did you mean countries?",
        "c.yml:5:13: tryvox.per_page: 0: must be a whole number from 1 to 100",
        "c.yml:4:8: tryvox.url: nonsense: is not a URL",
        "c.yml:10:16: countries: US,ca: \"ca\" is not a country code",
        "c.yml:11:37: monthly_budget.eur: 1: the currency must be an ISO 4217 code",
        "c.yml:9:19: api_key_file: cannot read API key file missing",
        "c.yml:14:18: api_key_env: NOT_SET: the environment variable is not set; set it and restart the exporter, or use api_key_file",
        "c.yml:12:5: the name \"production\" is already used at c.yml:7:5",
        "c.yml:15:15: interval: 0s: must be longer than 0",
        "c.yml:15:5: the account has no account_id",
        "c.yml:19:11: name: : must be 1 to 256 bytes",
        "c.yml:18:5: the account has no API key; set api_key_file, api_key_env, or the environment variable TRYVOX_API_KEY",
        "c.yml:21:19: api_key_file: api_key_env is set, too; remove one of them",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{expected}\nis not in\n{line}");
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    assert!(!lines.join("").contains(KEY));
}

#[tokio::test]
async fn owners_and_watched_numbers_keep_their_texts() {
    let text = "
accounts:
  - account_id: acc_1
    watch:
      - {number: +18005550100, name: support hotline}
      - number: \"+18005550101\"
  - account_id: acc_2
owners:
  - name: support
    numbers: [+18005550100, \"+1415555*\", +0123*]
    trunks: [trk_9f2c, 0x10]
    applications: [yes]
    accounts: [acc_1]
    countries: [NO, US]
    monthly_budget: {USD: 200, EUR: 0.5}
  - name: 7
";
    let (status, lines) = check(text, &[], &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!((status, lines), (0, vec!["The configuration is valid: 2 accounts".to_owned()]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    std::fs::write(&path, text).unwrap();
    let config = read(&[("config.file", &path.display().to_string())], &[]);
    let owner_of = |account: usize, e164: &str, country: &str, trunk: &str, application: &str| {
        let mut owners = config.accounts[account].owners.lookup();
        let owner = owners.owner_of(e164.parse().unwrap(), country, Some(trunk), Some(application));
        owner.map(ToString::to_string)
    };
    let support = Some("support".to_owned());
    for (e164, country, trunk, application, expected) in [
        ("+18005550100", "US", "", "", true),
        ("+14155559999", "NO", "", "", true),
        ("+0123", "NO", "", "", true),
        ("+123", "NO", "", "", false),
        ("+18005550100", "DE", "", "", false),
        ("+44", "US", "0x10", "", true),
        ("+44", "US", "", "yes", true),
        ("+44", "US", "yes", "0x10", false),
    ] {
        let other = Some("7".to_owned());
        let owner = owner_of(0, e164, country, trunk, application);
        assert_eq!(owner, if expected { support.clone() } else { other.clone() }, "{e164} {country}");
        assert_eq!(owner_of(1, e164, country, trunk, application), other, "the owner has one account");
    }
    let watch: Vec<_> =
        config.accounts[0].watch.iter().map(|number| format!("{} {}", number.e164, number.name)).collect();
    assert_eq!(watch, ["+18005550100 support hotline", "+18005550101 +18005550101"]);
    assert!(config.accounts[1].watch.is_empty());
    assert_eq!(config.owner_budgets["support"]["EUR"], "0.5".parse().unwrap());
    assert_eq!(config.owner_budgets.len(), 1);
}

#[tokio::test]
async fn check_reports_every_problem_of_owners_and_watched_numbers() {
    let text = "
accounts:
  - account_id: acc_1
    watch:
      - {number: 18005550100, name: hotline}
      - {name: hotline}
      - {number: +18005550100, nam: hotline}
      - {number: +18005550100}
      - {number: +1, name: \"a\\nb\"}
      - +1
  - account_id: acc_2
    watch: []
  - account_id: acc_3
    statuses: active
    watch: [{number: +12}]
  - account_id: acc_4
    watch: {number: +12}
owners:
  - name: support
    numbers: [\"1415*\", +1*5, \"+1234567890123456\", [+1]]
    trunks: []
    applications: \"\"
    accounts: [acc_1, acc_9]
    countries: [us, USA]
    monthly_budget: {USD: -1, usd: 1, EUR: [1]}
  - name: support
    trunk: [trk_1]
    applications: [\"\"]
  - numbers: [+1]
  - {name: \" \"}
  - {name: }
  - {name: a, trunks: ~, monthly_budget: 5}
  - other
";
    let (status, lines) = check(text, &[], &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!(status, 2);
    let expected = [
        "c.yml:5:18: watch.number: 18005550100: must be a number like +18005550100: a plus sign and 1 to 15 digits",
        "c.yml:6:9: the watched number has no number; write it like `{number: +18005550100, name: support hotline}`",
        "c.yml:7:32: watch.nam is not known; did you mean name?",
        "c.yml:8:9: watch.number: +18005550100: is watched twice in this account; remove one",
        "c.yml:9:28: watch.name: a\\nb: must be 1 to 256 bytes without control characters",
        "c.yml:10:9: watch must be a list of mappings, like `{number: +18005550100, name: support hotline}`",
        "c.yml:12:12: watch is empty; add one like",
        "c.yml:17:12: watch must be a list, each begun with `- `",
        "c.yml:20:15: owners.numbers: 1415*: must be a number like +18005550100 or a prefix like +1415555*",
        "c.yml:20:24: owners.numbers: +1*5: must be a number",
        "c.yml:20:30: owners.numbers: +1234567890123456: must be a number",
        "c.yml:20:51: owners.numbers must be a single value",
        "c.yml:21:13: owners.trunks has no value; set one or remove the key",
        "c.yml:22:19: owners.applications must be a list, in brackets and separated by commas",
        "c.yml:24:17: owners.countries: us: is not a country code; write it like US",
        "c.yml:24:21: owners.countries: USA: is not a country code",
        "c.yml:25:27: owners.monthly_budget.USD: -1: must be an amount of at least 0",
        "c.yml:25:36: owners.monthly_budget.usd: 1: the currency must be an ISO 4217 code",
        "c.yml:25:44: owners.monthly_budget.EUR must be a single value",
        "c.yml:27:5: owners.trunk is not known; did you mean trunks?",
        "c.yml:28:20: owners.applications: : must be 1 to 256 bytes",
        "c.yml:26:5: owners.name: support: is already the name of the owner at c.yml:19:5; choose another name",
        "c.yml:29:5: the owner has no name; set one, like `name: support`",
        "c.yml:30:12: owners.name:  : must be 1 to 256 bytes without control characters",
        "c.yml:31:10: owners.name has no value; set one or remove the key",
        "c.yml:32:23: owners.trunks has no value; set one or remove the key",
        "c.yml:32:42: owners.monthly_budget must be like {USD: 200}",
        "c.yml:33:5: owners must be a list of mappings, like `name: support`",
        "c.yml:15:12: watch needs an account that lists all statuses, because a watched number with another status would \
         seem to be missing, but c.yml:14:15: statuses is set; remove one of them",
        "c.yml:23:23: owners.accounts: acc_9: is not the name of an account in this file; correct or remove it",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{expected}\nis not in\n{line}");
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (text, arguments, words) in [
        ("owners: []\naccounts: [{account_id: a}]", &[][..], "c.yml:1:9: owners is empty; add one like"),
        ("owners: {name: a}\naccounts: [{account_id: a}]", &[], "c.yml:1:9: owners must be a list"),
        ("owner: []\naccounts: [{account_id: a}]", &[], "did you mean owners?"),
        (
            "accounts: [{account_id: a, watch: [{number: +1}]}]",
            &["--tryvox.statuses=active"],
            "c.yml:1:35: watch needs an account that lists all statuses",
        ),
        (
            "accounts: [{account_id: a, name: x}]\nowners: [{name: o, accounts: [a]}]",
            &[],
            "a: is not the name of an account",
        ),
    ] {
        let (status, lines) = check(text, arguments, &[("TRYVOX_API_KEY", KEY)]).await;
        assert!(status == 2 && lines.len() == 1 && lines[0].contains(words), "{text} {arguments:?}: {lines:?}");
    }
}

#[tokio::test]
async fn owners_can_name_accounts_of_all_shards() {
    let text =
        "accounts: [{account_id: a}, {account_id: b}, {account_id: c}]\nowners: [{name: o, accounts: [a, b, c]}]\n";
    for shard in 0..3 {
        let shard = format!("--shard={shard}");
        let (status, lines) = check(text, &["--total-shards=3", &shard], &[("TRYVOX_API_KEY", KEY)]).await;
        assert_eq!((status, lines.len()), (0, 1), "{lines:?}");
    }
}

#[tokio::test]
async fn check_warns_of_matchers_that_never_match() {
    let text = "
accounts: [{account_id: a}, {account_id: b}]
owners:
  - {name: support, numbers: [\"+1415*\", +1800], trunks: [t1], countries: [US, CA]}
  - name: sales
    numbers: [+14155550100, +1416, \"+14*\", \"+1800*\"]
    trunks: [t1, t2]
    applications: [t1]
    countries: [US]
  - {name: everywhere, numbers: [+14155550100]}
  - {name: rest of a, accounts: [a]}
  - {name: late, numbers: [+49], accounts: [a], countries: [DE]}
  - {name: both, trunks: [t9], accounts: [b, a]}
  - {name: last, trunks: [t9]}
";
    let (status, lines) = check(text, &[], &[("TRYVOX_API_KEY", KEY)]).await;
    let cause = r#"because the owner "support" at c.yml:4:5 comes before it and has"#;
    let expected = [
        format!("warning: c.yml:6:15: +14155550100 of the owner \"sales\" never matches, {cause} +1415*; move it up or remove it"),
        format!("warning: c.yml:7:14: t1 of the owner \"sales\" never matches, {cause} t1; move it up or remove it"),
        "warning: c.yml:12:5: the owner \"late\" never has a number, because the owner \"rest of a\" at c.yml:11:5 comes \
         before it and has every number of the same accounts and countries; move it up or remove it"
            .to_owned(),
        "warning: c.yml:14:27: t9 of the owner \"last\" never matches, because the owner \"both\" at c.yml:13:5 comes before \
         it and has t9; move it up or remove it"
            .to_owned(),
        "The configuration is valid: 2 accounts".to_owned(),
    ];
    assert_eq!((status, lines), (0, expected.to_vec()));
}

#[tokio::test]
async fn warnings_of_matchers_that_never_match_are_limited_in_the_check_and_at_the_start() {
    let numbers: Vec<_> = (1_000..11_000).map(|number| format!("+1{number}")).collect();
    let owners =
        format!("owners:\n- {{name: all, numbers: [+1*]}}\n- {{name: late, numbers: [{}]}}\n", numbers.join(", "));
    let text = format!("accounts: [{{account_id: a}}]\n{owners}");
    let (status, lines) = check(&text, &[], &[("TRYVOX_API_KEY", KEY)]).await;
    assert_eq!((status, lines.len()), (0, 22), "{lines:?}");
    assert!(lines[0].contains("+11000 of the owner") && lines[19].contains("+11019 of the owner"), "{lines:?}");
    assert!(lines[20].starts_with("warning: c.yml: 9980 more owners or matchers can never match"), "{lines:?}");

    let file = ConfigFile::new(&format!("tryvox: {{url: 'http://127.0.0.1:9'}}\n{text}"));
    let exporter = ServerProcess::start(&[&file.flag()], &[("TRYVOX_API_KEY", KEY)]).await;
    let log = exporter.output_so_far();
    let warnings = log.lines().filter(|line| line.contains("level=warn") && line.contains("never match")).count();
    assert_eq!(warnings, 21, "{log}");
}

#[tokio::test]
async fn check_reports_invalid_flags_variables_and_files_together() {
    let text = "poll: {interval: soon}\nshard: 5\nweb: {config: {file: missing.yml}}\naccounts: [{account_id: a}]\n";
    let flags = ["--poll.timeout=x", "--tryvox.per-page=0"];
    let environment = [("TRYVOX_API_KEY", KEY), ("TRYVOX_EXPORTER_TRYVOX_CONCURRENCY", "0")];
    let (status, lines) = check(text, &flags, &environment).await;
    assert_eq!(status, 2);
    let expected = [
        "c.yml:1:18: poll.interval: soon: is not a duration",
        "--poll.timeout=x: is not a duration",
        "TRYVOX_EXPORTER_TRYVOX_CONCURRENCY=0: must be a whole number from 1 to 1000",
        "--tryvox.per-page=0: must be a whole number from 1 to 100",
        "--web.config.file: missing.yml: cannot be read",
        "--shard: is 5, but --total-shards is 1",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{expected}\nis not in\n{line}");
    }
}

#[tokio::test]
async fn secrets_in_the_wrong_option_are_not_printed() {
    let text = "tryvox: {url: 'https://user:s3cret@host'}\naccounts: [{account_id: a, api_key_env: s3cret-key}]\n";
    let (status, lines) = check(text, &["--log.level=https://s3cret@host"], &[]).await;
    assert_eq!((status, lines.len()), (2, 3), "{lines:#?}");
    assert!(!lines.join("").contains("s3cret"), "{lines:#?}");
}

#[test]
fn relative_paths_in_the_file_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let text = "web: {telemetry_path: /m, listen_address: ['unix:x.sock', ':1'], config: {file: web.yml}}\n\
                tryvox: {account_id: a}\n";
    std::fs::write(&path, text).unwrap();
    let web = read(&[("config.file", &path.display().to_string())], &[]).options.web;
    assert_eq!(web.telemetry_path, "/m");
    assert_eq!(web.config_file(), Some(&*folder.path().join("web.yml")));
    let addresses: Vec<_> = web.listen_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, [format!("unix:{}", folder.path().join("x.sock").display()), ":1".to_owned()]);
}

#[tokio::test]
async fn invalid_configurations_are_rejected() {
    let key = [("TRYVOX_API_KEY", KEY)];
    for (text, arguments, words) in [
        ("accounts: [{account_id: a}]", &["--tryvox.account-id=b"][..], "both --tryvox.account-id and accounts in"),
        ("accounts: []", &[], "accounts is empty"),
        ("poll: {interval: 1m}", &[], "no account"),
        ("accounts: [{account_id: a}]", &["--shard=1"], "--total-shards is 1"),
        ("accounts: [{account_id: a}]", &["--shard=auto", "--total-shards=0"], "--total-shards=0"),
        ("accounts: {a: b}", &[], "c.yml:1:11: accounts must be a list"),
        ("accounts: [{account_id: a, account_id: b}]", &[], "appears twice"),
        ("accounts:\n\t- a", &[], "is not valid YAML"),
        ("tryvox: {account-id: a}", &[], "did you mean account_id?"),
        ("poll.interval: 5m", &[], "poll.interval is not known"),
        ("accounts: [{account_id: [a, b]}]", &[], "c.yml:1:25: account_id must be a single value"),
        ("poll: {interval: [1m, 2m]}", &[], "c.yml:1:18: poll.interval must be a single value"),
        ("tryvox: {countries: []}", &[], "tryvox.countries has no value"),
    ] {
        let (status, lines) = check(text, arguments, &key).await;
        assert!(status == 2 && lines[0].contains(words), "{text} {arguments:?}: {lines:?}");
    }
    // Without `--config.check` only the first problem is printed, with the number of the others.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yml");
    std::fs::write(&path, "pol: 1\ntryvo: 2\n").unwrap();
    let path = format!("--config.file={}", path.display());
    let output = output(&[&path], &key).await;
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), printed.lines().count()), (Some(2), 1), "{printed}");
    assert!(printed.contains("(and 2 more; --config.check reports all)"), "{printed}");
}

#[tokio::test]
async fn automatic_shard_is_the_ordinal_in_the_host_name() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let ordinal = host.trim().rsplit_once('-').and_then(|(_, end)| end.parse::<u32>().ok());
    let (status, lines) =
        check("accounts: [{account_id: a}]", &["--shard=auto", "--total-shards=10000"], &[("TRYVOX_API_KEY", KEY)])
            .await;
    match ordinal {
        Some(ordinal) => assert!(lines[0].contains(&format!("shard {ordinal} of 10000")), "{lines:?}"),
        None => assert!(status == 2 && lines[0].contains("does not end in a number"), "{lines:?}"),
    }
}
