//! What is under `.github/`, the scripts, the Dockerfile and the licences of what the exporter is built of.

use std::process::Command;

use crate::machine::{good, repository, said};
use crate::tools::{checked, files, tool, yaml_file};

#[test]
fn workflows_and_templates_are_what_github_takes() {
    let workflows = files(".github/workflows", ".yml");
    assert!(workflows.len() >= 2);
    for workflow in &workflows {
        let output = checked("actions", workflow);
        assert!(output.status.success(), "{}", said(&output));
        good(tool("check-jsonschema").args(["--builtin-schema", "vendor.github-workflows"]).arg(workflow));
    }
    good(tool("zizmor").args(["--offline", "--quiet", "--config", ".github/zizmor.yml", ".github"]));
    good(tool("check-jsonschema").args(["--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"]));
    for template in files(".github/ISSUE_TEMPLATE", ".yml") {
        let schema =
            if template.ends_with("config.yml") { "vendor.github-issue-config" } else { "vendor.github-issue-forms" };
        good(tool("check-jsonschema").args(["--builtin-schema", schema]).arg(template));
    }
    // What is wrong is found out.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yml");
    let text = std::fs::read_to_string(&workflows[0]).unwrap();
    std::fs::write(&file, text.replace("${{ github.ref }}", "${{ github.reff }}")).unwrap();
    assert!(!checked("actions", &file).status.success());
}

/// What is done on GitHub is what is done here: the Makefile's targets.
#[test]
fn workflows_call_the_makefile() {
    let text = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    assert!(text(".github/workflows/ci.yml").contains("- run: make test\n"));
    assert!(text(".github/workflows/release.yml").contains("- run: make package\n"));
    let help = good(Command::new("make").current_dir(repository()).arg("help"));
    let makefile = text("Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in targets.split_whitespace() {
        assert!(help.contains(&format!("make {target} ")), "{target} is not in `make help`");
    }
}

/// Every folder that Dependabot looks into has what it looks for.
#[test]
fn dependencies_are_kept_where_they_are() {
    let dependabot = yaml_file(".github/dependabot.yml");
    for update in dependabot["updates"].as_array().unwrap() {
        let wanted = match update["package-ecosystem"].as_str().unwrap() {
            "cargo" => "Cargo.toml",
            "npm" => "package.json",
            "pip" => "requirements.txt",
            "docker" => "Dockerfile",
            "docker-compose" => "compose.yaml",
            "github-actions" => ".github/workflows",
            other => panic!("{other}"),
        };
        let folders = update["directories"].as_array().cloned().unwrap_or_else(|| vec![update["directory"].clone()]);
        for folder in folders {
            let path = repository().join(folder.as_str().unwrap().trim_start_matches('/')).join(wanted);
            assert!(path.exists(), "{}", path.display());
        }
    }
}

/// Licences, bans and sources; advisories need the network, and are looked up by `make audit` and on GitHub.
#[test]
fn dependencies_are_allowed() {
    let output =
        tool("cargo-deny").args(["--log-level=error", "check", "licenses", "bans", "sources"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn scripts_and_the_dockerfile_are_clean() {
    let maintainer = ["postinst", "prerm", "postrm"].map(|name| repository().join("deploy/debian").join(name));
    good(Command::new("shellcheck").args(files("scripts", "")).args(maintainer));
    good(tool("hadolint").arg("Dockerfile"));
}
