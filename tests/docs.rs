//! The documentation matches the program: tables of options and metrics, examples, queries and links.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use tryvox_exporter::cli::commands;
use tryvox_exporter::config::{ACCOUNT_FIELDS, CommandSpec, Options, variable};
use tryvox_exporter::metrics::{Family, Format, families};

use crate::common::prometheus::Prometheus;
use crate::common::release::Release;
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

/// Returns every document: those of the root directory and everything below `docs` and `examples`.
fn documents() -> Vec<PathBuf> {
    let paths_in = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<PathBuf> = paths_in(Path::new(".")).collect();
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("examples")];
    while let Some(folder) = folders.pop() {
        let (subfolders, files): (Vec<_>, Vec<_>) = paths_in(&folder).partition(|path| path.is_dir());
        folders.extend(subfolders);
        documents.extend(files);
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents
}

/// Returns the lines of a document outside code blocks, without code spans.
fn prose(document: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(document).iter().filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let slug_characters = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let slug: String = slug_characters.map(|c| if c == ' ' { '-' } else { c }).collect();
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let anchor = std::iter::once(slug.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
        anchors.extend(anchor);
    }
    anchors
}

/// Returns the targets of a document's links to this repository, relative to the document.
fn relative_links(document: &str) -> Vec<String> {
    let text = prose(document).join("\n");
    // Every second part is a code span.
    let text: String = text.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).map(|rest| rest.split([')', ' ']).next().unwrap().to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

#[test]
fn every_document_is_in_the_index() {
    let index = std::fs::read_to_string("docs/README.md").unwrap();
    for document in documents() {
        if document.parent() == Some(Path::new("docs")) && !document.ends_with("README.md") {
            let name = document.file_name().unwrap().to_str().unwrap();
            assert!(index.contains(&format!("({name})")), "{name} is not in docs/README.md");
        }
    }
}

#[test]
fn every_relative_link_and_anchor_resolves() {
    let mut broken = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in relative_links(&text) {
            count += 1;
            let (path, anchor) = link.split_once('#').map_or((&*link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let has_anchor =
                |anchor| std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor));
            if !target.exists() || anchor.is_some_and(|anchor| !has_anchor(anchor)) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(count > 100, "only {count} links were found");
}

#[test]
fn anchors_are_those_of_github() {
    let document = "# One `two`, three\n\n## A-b_c & d\n```\n# code\n```\n# One two three\n";
    let expected = ["a-b_c--d", "one-two-three", "one-two-three-1"].map(str::to_owned);
    assert_eq!(anchors(document), BTreeSet::from(expected));
    assert_eq!(relative_links("[a](b.md#c) `[d](e)` [f](https://g) ![h](i.png)"), ["b.md#c", "i.png"]);
}

#[test]
fn readme_fits_a_front_page() {
    let lines = std::fs::read_to_string("README.md").unwrap().lines().count();
    assert!(lines <= 220, "README.md has {lines} lines");
}

#[test]
fn configuration_reference_lists_every_option_and_account_field() {
    let mut table = String::from(
        "| flag | environment variable | file key | default | commands | description |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let in_file = |id: &str| !id.starts_with("config.") && command("serve").options().any(|other| other.get_id() == id);
    for option in Options::augment_args(Command::new("options")).get_arguments() {
        let id = option.get_id().as_str();
        let key = if in_file(id) { format!("`{}`", id.replace('-', "_")) } else { String::new() };
        let (variable, default, commands, help) = (variable(id), default(option), commands_of(option), help(option));
        writeln!(table, "| `--{id}` | `{variable}` | {key} | {default} | {commands} | {help} |").unwrap();
    }
    assert_in_sync("docs/configuration.md", "options", &table);

    let mut table = String::from("| field | overrides | description |\n| --- | --- | --- |\n");
    for field in &ACCOUNT_FIELDS {
        let option = field.option.map(|option| format!("`{}`", option.replace('-', "_"))).unwrap_or_default();
        writeln!(table, "| `{}` | {option} | {} |", field.name, field.help).unwrap();
    }
    assert_in_sync("docs/configuration.md", "account fields", &table);
}

#[tokio::test]
async fn the_help_has_every_option() {
    for command in commands() {
        let name = command.name;
        let text = String::from_utf8(output(&[name, "--help"], &[]).await.stdout).unwrap();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for option in command.options() {
            let (id, help) = (option.get_id(), help(&option));
            assert!(words.contains(&format!("--{id}")), "{name} --{id}");
            assert!(words.contains(&help), "{name}: {help}");
        }
    }
}

/// Every YAML block that lists accounts is a complete file.
#[tokio::test]
async fn configuration_examples_are_valid() {
    let mut examples = 0;
    for document in ["README.md", "docs/configuration.md", "docs/scaling.md", "docs/troubleshooting.md"] {
        let text = std::fs::read_to_string(document).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for file in blocks.filter(|block| block.contains("accounts:")) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("keys")).unwrap();
            for key in ["keys/production", "keys/staging"] {
                std::fs::write(folder.path().join(key), KEY).unwrap();
            }
            std::fs::write(folder.path().join("tryvox.yml"), file).unwrap();
            let flag = format!("--config.file={}", folder.path().join("tryvox.yml").display());
            let output = output(&[&flag, "--config.check"], &[("TRYVOX_STAGING_KEY", KEY)]).await;
            assert!(output.status.success(), "{document}: {}", String::from_utf8_lossy(&output.stderr));
            examples += 1;
        }
    }
    assert!(examples >= 4, "only {examples} examples were found");
}

fn command(name: &str) -> &'static CommandSpec {
    commands().find(|command| command.name == name).unwrap()
}

fn help(option: &Arg) -> String {
    option.get_help().unwrap().to_string()
}

/// Names the commands that have an option, unless all that poll accounts have it.
fn commands_of(option: &Arg) -> String {
    let has = |command: &CommandSpec| command.options().any(|other| other.get_id() == option.get_id());
    if ["serve", "demo", "check", "once", "list"].map(command).into_iter().all(has) {
        return String::new();
    }
    commands()
        .filter(|command| has(command))
        .map(|command| format!("`{}`", command.name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn default(option: &Arg) -> String {
    let default_of = |option: &Arg| option.get_default_values().first().map(|text| text.to_str().unwrap().to_owned());
    let shown = |default: Option<String>| default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
    let default = default_of(option);
    let mut text = shown(default.clone());
    for command in commands() {
        let own = command.options().find(|other| other.get_id() == option.get_id());
        if let Some(own) = own.map(|own| default_of(&own)).filter(|own| *own != default) {
            write!(text, ", `{}` {}", command.name, shown(own)).unwrap();
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
    let position = |families: &[&Family], name| families.iter().position(|family| family.name == name).unwrap();
    let starts = FAMILY_GROUPS.map(|(_, first)| position(&families, first));
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
    for release in Release::ALL {
        let prometheus = Prometheus::scraping(release, &[&demo.address]).await;
        prometheus.wait_for("tryvox_up").await;
        for Family { name, example, .. } in families() {
            // Panics if Prometheus rejects the query.
            prometheus.query(example.query).await;
            let is_complete =
                example.query.contains(name) && !example.query.contains('|') && !example.result.is_empty();
            assert!(is_complete, "{name}");
        }
    }
}
