//! The documentation matches the program: tables of options and metrics, examples, queries and links.

use std::fmt::Write;

use clap::{Arg, Args, Command};
use tryvox_exporter::config::{ACCOUNT_FIELDS, Options, Subcommand, variable};
use tryvox_exporter::metrics::{Family, Format, families};

use crate::common::prometheus::Prometheus;
use crate::common::{KEY, ServerProcess, output};

/// Asserts that a document contains `text` between the comments `<!-- mark -->` and `<!-- /mark -->`. If
/// the variable `UPDATE_DOCS` is set, updates the document instead.
pub(crate) fn assert_in_sync(path: &str, mark: &str, text: &str) {
    let document = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = document.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let updated = format!("{before}{begin}{text}{end}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &updated).unwrap();
    } else {
        assert!(document == updated, "{path} is out of date; run UPDATE_DOCS=1 cargo test docs");
    }
}

#[test]
fn readme_lists_every_option() {
    let mut table = String::from("| flag | default | |\n| --- | --- | --- |\n");
    for option in Options::augment_args(Command::new("options")).get_arguments() {
        let (id, default, help, commands) = (option.get_id(), default(option), help(option), commands(option));
        writeln!(table, "| `--{id}` | {default} | {help}{commands} |").unwrap();
    }
    assert_in_sync("README.md", "options", &table);
}

/// Every document is in the index, and every link within the repository leads to a file.
#[test]
fn documents_are_indexed_and_their_links_resolve() {
    let index = std::fs::read_to_string("docs/README.md").unwrap();
    let mut documents = vec![
        "README.md".into(),
        "ARCHITECTURE.md".into(),
        "CONTRIBUTING.md".into(),
        "SECURITY.md".into(),
        "examples/README.md".into(),
    ];
    for entry in std::fs::read_dir("docs").unwrap().chain(std::fs::read_dir("docs/runbooks").unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_indexed =
                path.starts_with("docs/runbooks") || name == "README.md" || index.contains(&format!("({name})"));
            assert!(is_indexed, "{name} is not in docs/README.md");
            documents.push(path);
        }
    }
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(document.parent().unwrap().join(path).exists(), "{}: {link}", document.display());
            }
        }
    }
}

#[test]
fn configuration_reference_lists_every_option_and_account_field() {
    let mut table = String::from("| flag | variable | in the file | default | |\n| --- | --- | --- | --- | --- |\n");
    for option in Subcommand::Serve.options() {
        let id = option.get_id().as_str();
        let (variable, default, help) = (variable(id), default(&option), help(&option));
        let key = if id.starts_with("config.") { String::new() } else { format!("`{}`", id.replace('-', "_")) };
        writeln!(table, "| `--{id}` | `{variable}` | {key} | {default} | {help} |").unwrap();
    }
    assert_in_sync("docs/configuration.md", "options", &table);

    let mut table = String::from("| field | in place of | |\n| --- | --- | --- |\n");
    for field in &ACCOUNT_FIELDS {
        let option = field.option.map(|option| format!("`{}`", option.replace('-', "_"))).unwrap_or_default();
        writeln!(table, "| `{}` | {option} | {} |", field.name, field.help).unwrap();
    }
    assert_in_sync("docs/configuration.md", "account fields", &table);
}

#[tokio::test]
async fn the_help_has_every_option() {
    for command in Subcommand::ALL {
        let name = command.name();
        let text = String::from_utf8(output(&[name, "--help"], &[]).await.stdout).unwrap();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for option in command.options() {
            let (id, help) = (option.get_id(), help(&option));
            assert!(words.contains(&format!("--{id}")), "{name} --{id}");
            assert!(words.contains(&help), "{name}: {help}");
        }
    }
}

#[tokio::test]
async fn example_file_in_configuration_reference_is_valid() {
    let reference = std::fs::read_to_string("docs/configuration.md").unwrap();
    let file = reference.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(folder.path().join("keys/production"), KEY).unwrap();
    std::fs::write(folder.path().join("tryvox.yml"), file).unwrap();
    let flag = format!("--config.file={}", folder.path().join("tryvox.yml").display());
    let output = output(&[&flag, "--config.check"], &[("TRYVOX_STAGING_KEY", KEY)]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn help(option: &Arg) -> String {
    option.get_help().unwrap().to_string()
}

/// Names the commands of an option that `serve` does not have, or that only `serve` has.
fn commands(option: &Arg) -> String {
    let has = |command: Subcommand| command.options().any(|other| other.get_id() == option.get_id());
    let commands: Vec<_> = Subcommand::ALL
        .into_iter()
        .filter(|command| *command != Subcommand::Healthcheck && has(*command))
        .map(|command| format!("`{}`", command.name()))
        .collect();
    if commands.len() > 1 && has(Subcommand::Serve) { String::new() } else { format!(" ({})", commands.join(", ")) }
}

fn default(option: &Arg) -> String {
    let default_of = |option: &Arg| option.get_default_values().first().map(|text| text.to_str().unwrap().to_owned());
    let shown = |default: Option<String>| default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
    let default = default_of(option);
    let mut text = shown(default.clone());
    for command in Subcommand::ALL {
        let own = command.options().find(|other| other.get_id() == option.get_id());
        if let Some(own) = own.map(|own| default_of(&own)).filter(|own| *own != default) {
            write!(text, ", `{}` {}", command.name(), shown(own)).unwrap();
        }
    }
    text
}

#[tokio::test]
async fn readme_excerpt_matches_a_real_scrape() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let excerpt = readme.split("<!-- excerpt").nth(1).unwrap().split("```").nth(1).unwrap().trim();
    let simulator = ServerProcess::simulator(5_000, 1, &[]).await;
    let mut exporter = ServerProcess::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.wait_for_polls(1).await;
    let scrape = exporter.scrape().await.0;
    for line in excerpt.lines() {
        assert!(scrape.lines().any(|scraped| scraped == line), "not in a scrape: {line}");
    }
}

/// The groups of families in `docs/metrics.md`, each with its first family. The others follow in the order of the
/// exposition.
const FAMILY_GROUPS: [(&str, &str); 7] = [
    ("inventory", "tryvox_numbers"),
    ("single numbers", "tryvox_number_info"),
    ("listing", "tryvox_listed_numbers"),
    ("changes", "tryvox_numbers_added_total"),
    ("polling", "tryvox_up"),
    ("requests", "tryvox_api_requests_total"),
    ("exporter", "tryvox_exporter_build_info"),
];

#[test]
fn metrics_reference_lists_every_metric() {
    let families: Vec<_> = families().collect();
    let starts = FAMILY_GROUPS.map(|(_, first)| families.iter().position(|family| family.name == first).unwrap());
    assert!(starts[0] == 0 && starts.is_sorted());
    let ends = starts.into_iter().skip(1).chain([families.len()]);
    for (((mark, _), start), end) in FAMILY_GROUPS.into_iter().zip(starts).zip(ends) {
        let mut table = String::from(
            "| Metric name | Metric type | Labels | Description | Unit | Stability |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        let mut examples = String::from("| Result | Query |\n| --- | --- |\n");
        for family in &families[start..end] {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
            let unit = if family.unit.is_empty() { "none" } else { family.unit };
            let Family { name, help, example, .. } = family;
            let (kind, stability) = (family.kind.name(Format::OpenMetrics), family.stability());
            writeln!(table, "| `{name}` | {kind} | {labels} | {help} | {unit} | {stability} |").unwrap();
            writeln!(examples, "| {} | `{}` |", example.result, example.query).unwrap();
        }
        assert!(!table.contains("||") && !examples.contains("||"), "{mark}: a cell is empty");
        assert_in_sync("docs/metrics.md", mark, &format!("{table}\nExample queries:\n\n{examples}"));
    }
}

/// Runs every example query of the reference on a real Prometheus.
#[tokio::test]
async fn example_queries_in_metrics_reference_are_valid() {
    let mut demo = ServerProcess::start(&["demo", "--log.level=debug", "--collector.region"], &[]).await;
    demo.wait_for_polls(1).await;
    let prometheus = Prometheus::scraping(&[&demo.address]).await;
    prometheus.wait_for("tryvox_up").await;
    for Family { name, example, .. } in families() {
        // Panics if Prometheus rejects the query.
        prometheus.query(example.query).await;
        assert!(example.query.contains(name) && !example.query.contains('|') && !example.result.is_empty(), "{name}");
    }
}
