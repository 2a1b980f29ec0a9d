//! The Helm chart matches the program: its README, its values and their schema. `tests/shipping/helm.rs` renders it.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::{Args, Command};
use serde_json::{Map, Value};
use tryvox_exporter::cli::commands;
use tryvox_exporter::config::{ACCOUNT_FIELDS, OWNER_FIELDS, Options};

use crate::docs::assert_in_sync;

const CHART: &str = "deploy/helm/tryvox-exporter";

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{CHART}/{file}")).unwrap()
}

fn values() -> Value {
    serde_saphyr::from_str(&read("values.yaml")).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).unwrap()
}

/// Returns the paths of the values that have a comment in `values.yaml`, and the comments.
fn documented_values() -> Vec<(String, String)> {
    let (mut documented, mut path, mut comment) = (Vec::new(), Vec::<String>::new(), Vec::new());
    let text = read("values.yaml");
    for line in text.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if let Some(words) = content.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((key, _)) = content.split_once(':').filter(|(key, _)| !key.starts_with('-')) {
            path.truncate(depth);
            path.push(key.to_owned());
            if !comment.is_empty() {
                documented.push((path.join("."), comment.join(" ")));
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    documented
}

/// Returns the value at a path of keys with dots between them.
fn value_at<'a>(values: &'a Value, path: &str) -> &'a Value {
    values.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn readme_lists_every_value() {
    let values = values();
    let mut table = String::from("| value | default | description |\n| --- | --- | --- |\n");
    for (path, comment) in documented_values() {
        assert!(!comment.contains('|'), "{path}");
        writeln!(table, "| `{path}` | `{}` | {comment} |", value_at(&values, &path)).unwrap();
    }
    assert_in_sync(&format!("{CHART}/README.md"), "values", &table);
}

/// Properties of the schema that are not values: a parent chart sets them.
const OF_PARENT_CHARTS: [&str; 2] = ["enabled", "global"];

fn keys(object: &Map<String, Value>) -> BTreeSet<&str> {
    object.keys().map(String::as_str).collect()
}

/// Compares an object of the schema with the values, and adds the paths of values that are not objects of fixed
/// properties to `leaves`.
fn compare(schema: &Value, values: &Value, path: &str, leaves: &mut Vec<String>) {
    let properties = schema["properties"].as_object().unwrap();
    let known: BTreeSet<_> =
        keys(properties).into_iter().filter(|key| !path.is_empty() || !OF_PARENT_CHARTS.contains(key)).collect();
    assert_eq!(keys(values.as_object().unwrap()), known, "{path}");
    // Templates do not expect that a value was removed with `null`.
    let required: BTreeSet<_> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(required, known, "{path}");
    for key in known {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if properties[key]["required"].is_array() {
            compare(&properties[key], &values[key], &path, leaves);
        } else {
            leaves.push(path);
        }
    }
}

#[test]
fn schema_and_comments_cover_every_value() {
    let mut leaves = Vec::new();
    compare(&schema(), &values(), "", &mut leaves);
    let documented: BTreeSet<_> = documented_values().into_iter().map(|(path, _)| path).collect();
    assert_eq!(documented, leaves.into_iter().collect());
}

/// Checks that a schema and all schemas in it say of which type a value is, and which keys an object has.
fn assert_strict(schema: &Value, path: &str) {
    let object = schema.as_object().unwrap_or_else(|| panic!("{path} is not a schema"));
    if path == "/properties/global" || object.contains_key("$ref") {
        return;
    }
    let is_of_type =
        |name| schema["type"] == name || schema["type"].as_array().is_some_and(|all| all.contains(&Value::from(name)));
    assert!(!schema["type"].is_null(), "{path} has no type");
    if is_of_type("object") {
        for (pattern, schema) in schema["patternProperties"].as_object().into_iter().flatten() {
            assert_strict(schema, &format!("{path}/patternProperties/{pattern}"));
        }
        match (&schema["additionalProperties"], &schema["properties"]) {
            (Value::Bool(false), Value::Object(properties)) => {
                for (key, schema) in properties {
                    assert_strict(schema, &format!("{path}/properties/{key}"));
                }
            }
            (Value::Bool(false), Value::Null) => assert!(schema["patternProperties"].is_object(), "{path}"),
            (values @ Value::Object(_), Value::Null) => assert_strict(values, &format!("{path}/additionalProperties")),
            _ => panic!("{path} accepts any key"),
        }
    }
    if is_of_type("array") {
        assert_strict(&schema["items"], &format!("{path}/items"));
    }
}

#[test]
fn schema_is_strict_everywhere() {
    let schema = schema();
    assert_strict(&schema, "");
    let definitions = schema["definitions"].as_object().unwrap();
    for (name, definition) in definitions {
        assert_strict(definition, &format!("/definitions/{name}"));
    }
    // Every definition is used.
    let text = schema.to_string();
    let is_used = |name: &&String| text.contains(&format!("\"#/definitions/{name}\""));
    assert_eq!(definitions.keys().filter(is_used).count(), definitions.len());
}

/// Options of the file that the chart sets.
const SET_BY_THE_CHART: [&str; 8] = [
    "shard",
    "state.file",
    "total_shards",
    "tryvox.account_id",
    "tryvox.api_key_file",
    "web.config.file",
    "web.listen_address",
    "web.systemd_socket",
];

/// Adds the paths of a schema's properties, nested at dots.
fn add_options(schema: &Value, path: &str, options: &mut BTreeSet<String>) {
    match schema["properties"].as_object() {
        Some(properties) => {
            for (key, schema) in properties {
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                add_options(schema, &path, options);
            }
        }
        None => _ = options.insert(path.to_owned()),
    }
}

#[test]
fn schema_has_every_option_and_field_of_the_configuration_file() {
    let definitions = &schema()["definitions"];
    let fields = |name: &str| -> BTreeSet<String> {
        definitions[name]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(fields("account"), ACCOUNT_FIELDS.iter().map(|field| field.name.to_owned()).collect());
    assert_eq!(fields("owner"), OWNER_FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect());

    let mut options = BTreeSet::new();
    add_options(&definitions["config"], "", &mut options);
    let serve = commands().find(|command| command.name == "serve").unwrap();
    let is_in_file = |id: &str| !id.starts_with("config.") && serve.options().any(|option| option.get_id() == id);
    let all = Options::augment_args(Command::new("options"));
    let in_file: BTreeSet<_> = all
        .get_arguments()
        .map(|option| option.get_id().as_str())
        .filter(|id| is_in_file(id))
        .map(|id| id.replace('-', "_"))
        .filter(|key| !SET_BY_THE_CHART.contains(&key.as_str()))
        .collect();
    assert_eq!(options, in_file);
}
