//! What the documents say is what the program does.

use std::fmt::Write;

use tryvox_exporter::config::{CommandOptions, OPTIONS, OptionSpec};

use crate::common::Running;

/// The README's table of options. `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_readme_has_every_option() {
    let mut table = String::from("<!-- options -->\n| flag | default | |\n| --- | --- | --- |\n");
    for option in OPTIONS {
        let default = default(option);
        let commands = match option.commands {
            [CommandOptions::Serve] => " (`serve`)",
            [CommandOptions::Simulate] => " (`simulate`)",
            [CommandOptions::Demo, CommandOptions::Simulate] => " (`demo`, `simulate`)",
            _ => "",
        };
        writeln!(table, "| `--{}` | {default} | {}{commands} |", option.name, option.help).unwrap();
    }
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (before, rest) = readme.split_once("<!-- options -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /options -->").unwrap();
    let updated = format!("{before}{table}<!-- /options -->{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write("README.md", &updated).unwrap();
    }
    assert!(
        std::fs::read_to_string("README.md").unwrap() == updated,
        "README.md is stale: UPDATE_DOCS=1 cargo test docs"
    );
}

fn default(option: &OptionSpec) -> String {
    let mut default = option.default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
    for (command, other) in option.other_defaults {
        write!(default, ", {command:?} `{other}`").unwrap();
    }
    default.replace("Demo", "`demo`").replace("Simulate", "`simulate`")
}

#[tokio::test]
async fn the_excerpt_in_the_readme_is_real() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let excerpt = readme.split("<!-- excerpt").nth(1).unwrap().split("```").nth(1).unwrap().trim();
    let simulator = Running::simulator(5_000, 1, &[]).await;
    let mut exporter = Running::exporter(&simulator.url(), &["--tryvox.rate-limit=0"]).await;
    exporter.polled(1).await;
    let scrape = exporter.scrape().await.0;
    for line in excerpt.lines() {
        assert!(scrape.lines().any(|scraped| scraped == line), "not in a scrape: {line}");
    }
}
