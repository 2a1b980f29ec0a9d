//! The dashboards as Grafana reads them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

/// A dashboard's file.
pub(crate) struct Dashboard {
    pub(crate) path: String,
    pub(crate) json: Value,
}

/// A panel that is no row.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) json: &'a Value,
    /// The variable that it is repeated for, as the row that it is in is.
    pub(crate) repeated: Option<&'a str>,
}

/// What the variables stand for, by name; a regular expression where there are several values.
pub(crate) type Values = BTreeMap<String, String>;

/// The dashboards of a folder: the text of each file, by name.
pub(crate) fn read(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let dashboards = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    dashboards.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// All that are shipped.
pub(crate) fn all() -> Vec<Dashboard> {
    let dashboard = |(name, text): (String, String)| {
        let path = format!("dashboards/{name}");
        Dashboard { json: serde_json::from_str(&text).unwrap(), path }
    };
    let all: Vec<_> = read(Path::new("dashboards")).into_iter().map(dashboard).collect();
    assert_eq!(all.len(), 3);
    all
}

/// Where the code is that writes, checks and draws them.
const TOOLS: &str = "tools/dashboards";

/// Runs a part of that code to its end.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> Output {
    static BUNDLED: Once = Once::new();
    BUNDLED.call_once(|| {
        for script in ["bundle", "bundle-page"] {
            let output = Command::new("npm").args(["run", "--silent", script]).current_dir(TOOLS).output();
            let output = output.expect("npm is there: `make setup` installs it");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
    let output = Command::new("node").arg(format!("built/{name}")).args(arguments).current_dir(TOOLS).output();
    output.expect("node is there: `make setup` installs it")
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_else(|| panic!("no {key} in {json}"))
}

impl Dashboard {
    /// Every panel, also those in rows that are closed.
    pub(crate) fn panels(&self) -> Vec<Panel<'_>> {
        let (mut panels, mut repeated) = (Vec::new(), None);
        for json in list(&self.json["panels"]) {
            if json["type"] == "row" {
                repeated = json["repeat"].as_str();
                panels.extend(list(&json["panels"]).iter().map(|json| Panel { json, repeated }));
            } else {
                panels.push(Panel { json, repeated });
            }
        }
        panels
    }

    /// The variables that a query fills, in their order.
    pub(crate) fn query_variables(&self) -> Vec<&Value> {
        list(&self.json["templating"]["list"]).iter().filter(|variable| variable["type"] == "query").collect()
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Value> {
        list(&self.json["templating"]["list"]).iter().find(|variable| variable["name"] == name)
    }

    pub(crate) fn annotations(&self) -> &[Value] {
        list(&self.json["annotations"]["list"])
    }

    /// The time up to now that it shows.
    pub(crate) fn range(&self) -> Duration {
        humantime::parse_duration(text(&self.json["time"], "from").strip_prefix("now-").unwrap()).unwrap()
    }

    /// Every expression in it.
    pub(crate) fn queries(&self) -> Vec<&str> {
        let panels = self.panels();
        let targets = panels.iter().flat_map(Panel::targets).map(|target| text(target, "expr"));
        targets.chain(self.annotations().iter().map(|annotation| text(annotation, "expr"))).collect()
    }
}

impl<'a> Panel<'a> {
    pub(crate) fn title(&self) -> &'a str {
        text(self.json, "title")
    }

    pub(crate) fn targets(&self) -> &'a [Value] {
        list(&self.json["targets"])
    }

    /// The settings of one of its fields, or of all.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let properties = list(&self.json["fieldConfig"]["overrides"]).iter().flat_map(|one| list(&one["properties"]));
        properties.map(|property| (text(property, "id"), &property["value"]))
    }

    /// The range that it shows, where that is not the dashboard's.
    pub(crate) fn range(&self) -> Option<Duration> {
        self.json["timeFrom"].as_str().map(|range| humantime::parse_duration(range).unwrap())
    }

    /// Its shortest step.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.json["interval"].as_str().map(|step| humantime::parse_duration(step).unwrap())
    }
}

/// The arguments of `label_values(FAMILY{…}, LABEL)`.
pub(crate) fn label_values(variable: &Value) -> (&str, &str) {
    let inside = text(variable, "query").strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    inside.and_then(|inside| inside.rsplit_once(", ")).unwrap_or_else(|| panic!("{variable}"))
}

/// A query with its variables filled in.
pub(crate) fn fill(query: &str, values: &Values) -> String {
    // The longest names first: `$__range` would else be found in `$__range_s`.
    let mut names: Vec<_> = values.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let filled = names.into_iter().fold(query.to_owned(), |text, name| {
        text.replace(&format!("${{{name}}}"), &values[name]).replace(&format!("${name}"), &values[name])
    });
    assert!(!filled.contains('$'), "{filled}");
    filled
}
