//! Name resolution of the static binary, which uses musl's resolver.

use std::process::Command;

use crate::command::{as_root, run};
use crate::repository::root;

#[test]
fn search_domain_that_fails_does_not_prevent_polls() {
    let folder = tempfile::tempdir().unwrap();
    let architecture = run(Command::new("dpkg").arg("--print-architecture"));
    let archive = root().join(format!("dist/tryvox-exporter-linux-{}.tar.gz", architecture.trim()));
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder.path()));
    let unpacked = folder.path().join("tryvox-exporter/tryvox-exporter");
    for binary in [unpacked.as_path(), env!("CARGO_BIN_EXE_tryvox-exporter").as_ref()] {
        let script = root().join("tests/shipping/resolver.py");
        let output = run(as_root("unshare").args(["--net", "--mount", "python3"]).arg(script).arg(binary));
        assert!(output.contains("\ntryvox_up{account=\"acc_demo\"} 1\n"), "{output}");
        assert!(output.contains("\nquery: api.tryvox.test.svc.cluster.local\n"), "{output}");
    }
}
