//! `--output.file` of `once` and `list`: which file is replaced, by whom it can be read, and what stays behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Output;

use rustix::process::geteuid;
use tokio::time::timeout;

use crate::common::accounts::{AccountBehavior, start_api};
use crate::common::{KEY, TEST_TIMEOUT, wrapped_command};

/// The commands that have the option.
const COMMANDS: [&str; 2] = ["once", "list"];

/// Lists an account into a file, under this umask.
async fn write(command: &str, url: &str, umask: &str, path: &Path) -> Output {
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let (url, file) = (format!("--tryvox.url={url}"), format!("--output.file={}", path.display()));
    let arguments = [command, &url, "--tryvox.account-id=acc_0", &file];
    let mut command = wrapped_command(&["sh", "-c", &script], &arguments);
    timeout(TEST_TIMEOUT, command.env("TRYVOX_API_KEY", KEY).output()).await.unwrap().unwrap()
}

fn assert_success(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Asserts that a file has the content that the command writes.
fn assert_written(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("acc_0") && text.ends_with('\n') && text.lines().count() > 10, "{text}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn new_file_has_the_mode_that_the_umask_allows_and_an_existing_one_keeps_its_own() {
    let api = start_api(20, |_| AccountBehavior::Valid).await;
    for command in COMMANDS {
        let folder = tempfile::tempdir().unwrap();
        for (umask, expected) in [("022", 0o644), ("002", 0o664), ("077", 0o600), ("0", 0o666)] {
            let path = folder.path().join(umask);
            assert_success(&write(command, &api.url(), umask, &path).await);
            assert_eq!(mode(&path), expected, "{command}, umask {umask}: {:o}", mode(&path));
            assert_written(&path);
        }
        let path = folder.path().join("existing");
        for (before, umask) in [(0o600, "022"), (0o640, "077"), (0o666, "077"), (0o444, "0"), (0o755, "027")] {
            std::fs::write(&path, "old").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(before)).unwrap();
            let inode = std::fs::metadata(&path).unwrap().ino();
            assert_success(&write(command, &api.url(), umask, &path).await);
            assert_eq!(mode(&path), before, "{command}, umask {umask}: {:o}", mode(&path));
            assert_written(&path);
            assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode, "it is replaced, not written in place");
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(names(folder.path()).len(), 4, "{:?}", names(folder.path()));
    }
}

/// Only root may give files away.
#[tokio::test]
async fn existing_file_keeps_its_owner_and_group_if_the_process_may_set_them() {
    if !geteuid().is_root() {
        return;
    }
    let api = start_api(20, |_| AccountBehavior::Valid).await;
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let path = folder.path().join(command);
        std::fs::write(&path, "old").unwrap();
        chown(&path, Some(12), Some(34)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert_success(&write(command, &api.url(), "077", &path).await);
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (12, 34, 0o640), "{command}");
        assert_written(&path);
    }
}

#[tokio::test]
async fn symbolic_links_are_followed() {
    let api = start_api(20, |_| AccountBehavior::Valid).await;
    for command in COMMANDS {
        let root = tempfile::tempdir().unwrap();
        let [links, files] = ["links", "files"].map(|name| root.path().join(name));
        std::fs::create_dir(&links).unwrap();
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("old"), "old").unwrap();
        std::fs::set_permissions(files.join("old"), PermissionsExt::from_mode(0o604)).unwrap();
        symlink("../files/old", links.join("relative")).unwrap();
        symlink(links.join("relative"), links.join("chain")).unwrap();
        // As with a shell's redirection, the file that a link names is created.
        symlink("../files/new", links.join("dangling")).unwrap();
        for (link, file, expected) in [("chain", "old", 0o604), ("dangling", "new", 0o640)] {
            for _ in 0..2 {
                assert_success(&write(command, &api.url(), "027", &links.join(link)).await);
                assert_eq!(mode(&files.join(file)), expected, "{command} {link}: {:o}", mode(&files.join(file)));
                assert_written(&files.join(file));
            }
        }
        assert_eq!(std::fs::read_link(links.join("relative")).unwrap(), Path::new("../files/old"));
        assert_eq!(names(&links), ["chain", "dangling", "relative"]);
        assert!(std::fs::symlink_metadata(links.join("chain")).unwrap().is_symlink());
        assert_eq!(names(&files), ["new", "old"]);

        // What a link names must be a file that can be created.
        let requests = api.requests().len();
        symlink("loop", links.join("loop")).unwrap();
        symlink("/nowhere/file", links.join("nowhere")).unwrap();
        symlink("/dev/null", links.join("device")).unwrap();
        for link in ["loop", "nowhere", "device"] {
            let refused = write(command, &api.url(), "022", &links.join(link)).await;
            let stderr = String::from_utf8(refused.stderr).unwrap();
            assert_eq!((refused.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
            assert!(stderr.contains(&links.join(link).display().to_string()), "{stderr}");
        }
        assert!(command == "once" || api.requests().len() == requests, "the path is checked first");
        assert_eq!(names(&links).len(), 6);
    }
}

/// The content may be secret, and the list may take long.
#[tokio::test]
async fn unfinished_content_is_not_readable_by_more_users_than_the_file() {
    let api = start_api(20, |_| AccountBehavior::Hanging).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let (url, file) = (format!("--tryvox.url={}", api.url()), format!("--output.file={}", path.display()));
    let arguments = ["list", &url, "--tryvox.account-id=acc_0", &file];
    let mut child = wrapped_command(&[], &arguments).env("TRYVOX_API_KEY", KEY).spawn().unwrap();
    let requested = async {
        while api.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, requested).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    let names = names(folder.path());
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        assert_eq!(mode(&folder.path().join(&name)), 0o600, "{name}");
    }
    child.kill().await.unwrap();
}
