//! Static checks of the workflows, the scripts, the Dockerfile and the dependencies.

use std::process::Command;

use crate::command::{output_text, run};
use crate::repository::{files, read, root};
use crate::tools::{parse_yaml_file, tool, validate};

#[test]
fn workflows_and_templates_are_valid() {
    let workflows = files(".github/workflows", ".yml");
    assert!(workflows.len() >= 2);
    for workflow in &workflows {
        let output = validate("actions", workflow);
        assert!(output.status.success(), "{}", output_text(&output));
        run(tool("check-jsonschema").args(["--builtin-schema", "vendor.github-workflows"]).arg(workflow));
    }
    run(tool("zizmor").args(["--offline", "--quiet", "--config", ".github/zizmor.yml", ".github"]));
    run(tool("check-jsonschema").args(["--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"]));
    for template in files(".github/ISSUE_TEMPLATE", ".yml") {
        let schema =
            if template.ends_with("config.yml") { "vendor.github-issue-config" } else { "vendor.github-issue-forms" };
        run(tool("check-jsonschema").args(["--builtin-schema", schema]).arg(template));
    }
    // The validation detects an invalid workflow.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("invalid.yml");
    let text = std::fs::read_to_string(&workflows[0]).unwrap();
    std::fs::write(&file, text.replace("${{ github.ref }}", "${{ github.reff }}")).unwrap();
    assert!(!validate("actions", &file).status.success());
}

#[test]
fn workflows_run_makefile_targets() {
    assert!(read(".github/workflows/ci.yml").contains("- run: make test\n"));
    assert!(read(".github/workflows/release.yml").contains("- run: make package\n"));
}

#[test]
fn make_help_lists_every_target() {
    let help = run(Command::new("make").current_dir(root()).arg("help"));
    let makefile = read("Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in targets.split_whitespace() {
        assert!(help.contains(&format!("make {target} ")), "{target} is not in `make help`");
    }
}

#[test]
fn dependabot_folders_contain_what_it_updates() {
    let dependabot = parse_yaml_file(".github/dependabot.yml");
    for update in dependabot["updates"].as_array().unwrap() {
        let manifest = match update["package-ecosystem"].as_str().unwrap() {
            "cargo" => "Cargo.toml",
            "npm" => "package.json",
            "pip" => "requirements.txt",
            "docker" => "Dockerfile",
            "docker-compose" => "compose.yaml",
            "github-actions" => ".github/workflows",
            other => panic!("unknown ecosystem {other}"),
        };
        let folders = update["directories"].as_array().cloned().unwrap_or_else(|| vec![update["directory"].clone()]);
        for folder in folders {
            let path = root().join(folder.as_str().unwrap().trim_start_matches('/')).join(manifest);
            assert!(path.exists(), "{}", path.display());
        }
    }
}

/// Advisories need the network, so only `make audit` and the CI workflow check them.
#[test]
fn dependencies_have_allowed_licenses_and_sources() {
    let output =
        tool("cargo-deny").args(["--log-level=error", "check", "licenses", "bans", "sources"]).output().unwrap();
    assert!(output.status.success(), "{}", output_text(&output));
}

#[test]
fn scripts_and_dockerfile_pass_their_linters() {
    let maintainer_scripts = ["postinst", "prerm", "postrm"].map(|name| root().join("deploy/debian").join(name));
    run(Command::new("shellcheck").args(files("scripts", "")).args(maintainer_scripts));
    run(tool("hadolint").arg("Dockerfile"));
}
