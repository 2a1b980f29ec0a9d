//! Reads the shipped Grafana dashboards and runs the tools in `tools/dashboards`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

/// A dashboard file.
pub(crate) struct Dashboard {
    /// The path relative to the repository.
    pub(crate) path: String,
    pub(crate) json: Value,
}

/// A panel other than a row.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) json: &'a Value,
    /// The variable that the row of this panel is repeated for.
    pub(crate) repeat_variable: Option<&'a str>,
}

/// Values of template variables by name; a regular expression if several values are selected.
pub(crate) type Variables = BTreeMap<String, String>;

/// Returns the text of each dashboard file in a folder, by file name.
pub(crate) fn read_files(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let dashboards = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    dashboards.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// Returns all dashboards that are shipped.
pub(crate) fn shipped() -> Vec<Dashboard> {
    let dashboard = |(name, text): (String, String)| {
        let path = format!("dashboards/{name}");
        Dashboard { json: serde_json::from_str(&text).unwrap(), path }
    };
    let dashboards: Vec<_> = read_files(Path::new("dashboards")).into_iter().map(dashboard).collect();
    assert_eq!(dashboards.len(), 3);
    dashboards
}

/// The code that generates, checks and draws the dashboards.
const TOOLS_FOLDER: &str = "tools/dashboards";

/// Runs one of the tools and waits for it; bundles all of them first.
pub(crate) fn run_tool(name: &str, arguments: &[&str]) -> Output {
    static BUNDLED: Once = Once::new();
    BUNDLED.call_once(|| {
        for script in ["bundle", "bundle-page"] {
            let output = Command::new("npm").args(["run", "--silent", script]).current_dir(TOOLS_FOLDER).output();
            let output = output.expect("npm is not installed; run `make setup`");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    });
    let output = Command::new("node").arg(format!("built/{name}")).args(arguments).current_dir(TOOLS_FOLDER).output();
    output.expect("node is not installed; run `make setup`")
}

/// Returns the elements of a JSON array; none if it is missing.
fn elements(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// Returns a string field.
///
/// # Panics
/// If the field is missing or not a string.
pub(crate) fn string_field<'a>(json: &'a Value, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_else(|| panic!("no {key} in {json}"))
}

impl Dashboard {
    /// Returns every panel, including those in collapsed rows.
    pub(crate) fn panels(&self) -> Vec<Panel<'_>> {
        let (mut panels, mut repeat_variable) = (Vec::new(), None);
        for json in elements(&self.json["panels"]) {
            if json["type"] == "row" {
                repeat_variable = json["repeat"].as_str();
                panels.extend(elements(&json["panels"]).iter().map(|json| Panel { json, repeat_variable }));
            } else {
                panels.push(Panel { json, repeat_variable });
            }
        }
        panels
    }

    /// Returns the template variables that are filled by a query, in their order.
    pub(crate) fn query_variables(&self) -> Vec<&Value> {
        elements(&self.json["templating"]["list"]).iter().filter(|variable| variable["type"] == "query").collect()
    }

    /// Returns the template variable of this name.
    pub(crate) fn variable(&self, name: &str) -> Option<&Value> {
        elements(&self.json["templating"]["list"]).iter().find(|variable| variable["name"] == name)
    }

    /// Returns the annotations.
    pub(crate) fn annotations(&self) -> &[Value] {
        elements(&self.json["annotations"]["list"])
    }

    /// Returns how far back its time range reaches from now.
    pub(crate) fn range(&self) -> Duration {
        humantime::parse_duration(string_field(&self.json["time"], "from").strip_prefix("now-").unwrap()).unwrap()
    }

    /// Returns the query expressions of all panels and annotations.
    pub(crate) fn queries(&self) -> Vec<&str> {
        let panels = self.panels();
        let targets = panels.iter().flat_map(Panel::targets).map(|target| string_field(target, "expr"));
        targets.chain(self.annotations().iter().map(|annotation| string_field(annotation, "expr"))).collect()
    }
}

impl<'a> Panel<'a> {
    /// Returns its title.
    pub(crate) fn title(&self) -> &'a str {
        string_field(self.json, "title")
    }

    /// Returns its queries, which Grafana calls targets.
    pub(crate) fn targets(&self) -> &'a [Value] {
        elements(&self.json["targets"])
    }

    /// Returns id and value of the properties that it overrides for some of its fields.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let properties =
            elements(&self.json["fieldConfig"]["overrides"]).iter().flat_map(|rule| elements(&rule["properties"]));
        properties.map(|property| (string_field(property, "id"), &property["value"]))
    }

    /// Returns its data links: those of all values, or in a table those of its columns.
    pub(crate) fn data_links(&self) -> Vec<DataLink<'a>> {
        let of_all_values = elements(&self.json["fieldConfig"]["defaults"]["links"]);
        let of_columns = self.overrides().filter(|(id, _)| *id == "links").flat_map(|(_, links)| elements(links));
        of_all_values.iter().chain(of_columns).map(|link| DataLink::parse(string_field(link, "url"))).collect()
    }

    /// Returns the labels in the legends of its queries.
    pub(crate) fn legend_labels(&self) -> BTreeSet<&'a str> {
        let legends = self.targets().iter().map(|target| string_field(target, "legendFormat"));
        legends.flat_map(|legend| legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap())).collect()
    }

    /// Returns the fields that the transformations of a table keep as columns.
    pub(crate) fn columns(&self) -> BTreeSet<&'a str> {
        let transformations = elements(&self.json["transformations"]).iter();
        let names = transformations.flat_map(|transformation| elements(&transformation["options"]["include"]["names"]));
        names.map(|name| name.as_str().unwrap()).collect()
    }

    /// Returns its own time range, if it differs from the dashboard's.
    pub(crate) fn range(&self) -> Option<Duration> {
        self.json["timeFrom"].as_str().map(|range| humantime::parse_duration(range).unwrap())
    }

    /// Returns its minimum query step, if it has one.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.json["interval"].as_str().map(|step| humantime::parse_duration(step).unwrap())
    }
}

/// A data link: it leads from a value on a panel to a dashboard or to the status page of an exporter.
pub(crate) struct DataLink<'a> {
    pub(crate) url: &'a str,
    /// The labels of the value, or the columns of its row, that the URL contains.
    pub(crate) labels: BTreeSet<&'a str>,
    /// The dashboard that it opens; none for a status page.
    pub(crate) uid: Option<&'a str>,
    /// The variables that it passes on.
    pub(crate) kept: BTreeSet<&'a str>,
    /// The variables that it sets, each with the label of the value that it is set to.
    pub(crate) selected: BTreeMap<&'a str, &'a str>,
}

impl<'a> DataLink<'a> {
    fn parse(url: &'a str) -> Self {
        let references = ["${__field.labels.", "${__data.fields."];
        let label = |text: &'a str| {
            let reference = references.iter().find_map(|prefix| text.strip_prefix(prefix));
            reference.map(|rest| rest.split([':', '}']).next().unwrap())
        };
        let mut link = Self {
            url,
            labels: url.match_indices("${").filter_map(|(start, _)| label(&url[start..])).collect(),
            uid: None,
            kept: BTreeSet::new(),
            selected: BTreeMap::new(),
        };
        let Some((uid, query)) = url.strip_prefix("/d/").and_then(|rest| rest.split_once('?')) else {
            assert!(references.iter().any(|prefix| url.starts_with(&format!("http://{prefix}instance}}/"))), "{url}");
            return link;
        };
        link.uid = Some(uid);
        for parameter in query.split('&') {
            if let Some(name) = parameter.strip_prefix("${").and_then(|rest| rest.strip_suffix(":queryparam}")) {
                link.kept.insert(name);
            } else if let Some((name, value)) = parameter.strip_prefix("var-").and_then(|rest| rest.split_once('=')) {
                // Other formats leave characters such as `+` and `&` as they are.
                assert!(value.ends_with(":percentencode}"), "{url}");
                link.selected.insert(name, label(value).unwrap());
            } else {
                assert_eq!(parameter, "${__url_time_range}", "{url}");
            }
        }
        link
    }
}

/// Returns the arguments of `label_values(FAMILY{…}, LABEL)`, the query of a template variable.
pub(crate) fn label_values(variable: &Value) -> (&str, &str) {
    let arguments =
        string_field(variable, "query").strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    arguments.and_then(|arguments| arguments.rsplit_once(", ")).unwrap_or_else(|| panic!("{variable}"))
}

/// Returns values for the variables of a dashboard that occur nowhere else in a query, so that a value can
/// be traced back to its variable after interpolation.
pub(crate) fn placeholders(dashboard: &Dashboard) -> Variables {
    let mut variables: Variables = [("__rate_interval", "7777s"), ("__range", "9999s"), ("__to:date:seconds", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    variables.extend(dashboard.query_variables().iter().map(|variable| {
        let name = string_field(variable, "name");
        (name.to_owned(), format!("any-{name}"))
    }));
    variables
}

/// Replaces the template variables in a query by their values.
///
/// # Panics
/// If a variable has no value.
pub(crate) fn interpolate(query: &str, variables: &Variables) -> String {
    // Longest names first: `$__range` is a prefix of `$__range_s`.
    let mut names: Vec<_> = variables.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let interpolated = names.into_iter().fold(query.to_owned(), |text, name| {
        text.replace(&format!("${{{name}}}"), &variables[name]).replace(&format!("${name}"), &variables[name])
    });
    assert!(!interpolated.contains('$'), "{interpolated}");
    interpolated
}
