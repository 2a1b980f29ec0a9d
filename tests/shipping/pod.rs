//! A pod of rendered objects on this machine: the real exporter with the pod's arguments, environment and volumes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{run, wait_for};
use crate::manifests::{container, pod};

const BINARY: &str = env!("CARGO_BIN_EXE_tryvox-exporter");

/// The folders of the container in which volumes are mounted.
const MOUNTED_FOLDERS: [&str; 3] = ["/etc/tryvox-exporter", "/run/secrets", "/var/lib/tryvox-exporter"];

/// A pod whose volumes are folders of this machine.
pub(crate) struct Pod<'a> {
    container: &'a Value,
    /// Contains the volumes, each at the path at which the container mounts it.
    folder: TempDir,
}

impl<'a> Pod<'a> {
    /// Creates the volumes of the first pod. Their config maps and secrets are among `objects`, or in `cluster` if they
    /// exist already.
    pub(crate) fn new(objects: &'a [Value], cluster: &[Value]) -> Self {
        let pod = Self { container: container(objects), folder: tempfile::tempdir().unwrap() };
        for mount in pod.container["volumeMounts"].as_array().unwrap() {
            let folder = pod.folder.path().join(mount["mountPath"].as_str().unwrap().trim_start_matches('/'));
            std::fs::create_dir_all(&folder).unwrap();
            let mut volumes = self::pod(objects)["volumes"].as_array().unwrap().iter();
            let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap_or(&Value::Null);
            let (kind, name) = match (&volume["configMap"]["name"], &volume["secret"]["secretName"]) {
                (Value::Null, Value::Null) => continue,
                (Value::Null, name) => ("Secret", name),
                (name, _) => ("ConfigMap", name),
            };
            let is_source = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == *name;
            let source = objects.iter().chain(cluster).find(is_source).unwrap_or_else(|| panic!("no {kind} {name}"));
            for (file, text) in source["data"].as_object().unwrap() {
                let text = text.as_str().unwrap();
                let bytes = if kind == "Secret" { STANDARD.decode(text).unwrap() } else { text.into() };
                std::fs::write(folder.join(file), pod.localized(&String::from_utf8(bytes).unwrap())).unwrap();
            }
        }
        pod
    }

    /// Returns a text in which paths of the container are those of this machine.
    fn localized(&self, text: &str) -> String {
        MOUNTED_FOLDERS.iter().fold(text.to_owned(), |text, folder| {
            text.replace(folder, &format!("{}{folder}", self.folder.path().display()))
        })
    }

    /// Returns the command of the container with more arguments.
    fn command(&self, subcommand: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRYVOX_") {
                command.env_remove(name);
            }
        }
        command.args(subcommand).stdin(Stdio::null());
        for argument in self.container["args"].as_array().unwrap() {
            // This machine has another host name than the pod.
            let argument = argument.as_str().unwrap().replace("--shard=auto", "--shard=0");
            command.arg(self.localized(&argument));
        }
        for variable in self.container["env"].as_array().unwrap() {
            // Other variables come from secrets, with an API key.
            command.env(variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap_or("key"));
        }
        command.args(arguments);
        command
    }

    /// Runs `--config.check`.
    pub(crate) fn check_configuration(&self) -> Output {
        self.command(&[], &["--config.check"]).output().unwrap()
    }

    /// Starts the exporter on a free port. No API responds to it.
    pub(crate) fn start(&self) -> RunningPod<'_> {
        let arguments =
            ["--web.listen-address=127.0.0.1:0", "--tryvox.url=http://127.0.0.1:9", "--tryvox.retry-for=0s"];
        let mut command = self.command(&[], &arguments);
        let mut child =
            command.args(["--log.format=logfmt", "--log.level=info"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut printed = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            printed.push_str(&line);
            let address = line.contains("message=listening").then(|| line.split("address=").nth(1))??;
            Some(address.split(' ').next()?.to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("the exporter did not start: {printed}"));
        // Keep reading: a full pipe would block the exporter.
        std::thread::spawn(move || lines.for_each(drop));
        RunningPod { pod: self, child, address }
    }
}

/// The exporter of a [`Pod`].
pub(crate) struct RunningPod<'a> {
    pod: &'a Pod<'a>,
    child: Child,
    address: String,
}

impl RunningPod<'_> {
    /// Waits until a probe succeeds, as the kubelet runs it. Panics if the exporter rejects it.
    pub(crate) fn wait_for_probe(&self, name: &str) {
        let probe = &self.pod.container[name];
        if probe["exec"].is_null() {
            let scheme = probe["httpGet"]["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
            let path = probe["httpGet"]["path"].as_str().unwrap();
            assert_eq!(probe["httpGet"]["port"], self.pod.container["ports"][0]["name"]);
            wait_for(name, || match &*self.get(&scheme, path).0 {
                "200" => Some(()),
                "503" => None,
                status => panic!("{name}: {scheme} {path}: {status}"),
            });
        } else {
            assert_eq!(probe["exec"]["command"][0], "/usr/bin/tryvox-exporter");
            let subcommand = probe["exec"]["command"][1].as_str().unwrap();
            // In its container it finds the exporter without flags; on this machine there may be several.
            let address = format!("--web.listen-address={}", self.address);
            run(&mut self.pod.command(&[subcommand], &[&address]));
            assert!(probe["timeoutSeconds"].as_u64().unwrap() > 5);
        }
    }

    /// Requests a path without verifying the certificate. Returns the status, which is 000 without a response, and the body.
    pub(crate) fn get(&self, scheme: &str, path: &str) -> (String, String) {
        let url = format!("{scheme}://{}{path}", self.address);
        let options = ["--silent", "--insecure", "--write-out", "\n%{http_code}", &url];
        let output = Command::new("curl").args(options).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let (body, status) = printed.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }
}

impl Drop for RunningPod<'_> {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
