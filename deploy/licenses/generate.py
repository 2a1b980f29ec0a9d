#!/usr/bin/python3
"""Prints THIRD-PARTY.txt: the licenses of everything that is linked into the released binary. Run it with `make licenses`.

The texts are those in the sources of the crates. A crate whose licenses are alternatives is used under the MIT license if that
is one of them, and otherwise under all of them.
"""

import json
import os
import re
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TARGETS = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
LICENSE_FILE = re.compile(r"(?i)(licen[cs]e|copying|copyright|notice|unlicense)")
# Code in the sources of a crate that has a license of its own.
EMBEDDED = {
    "ring": [
        "src/polyfill/once_cell/LICENSE-APACHE",
        "src/polyfill/once_cell/LICENSE-MIT",
        "third_party/fiat/LICENSE",
    ],
    "tikv-jemalloc-sys": ["jemalloc/COPYING"],
    "zstd-sys": ["zstd/LICENSE"],
}
# Linked code that is not in a crate: name, and the file with its license.
LIBRARIES = [("musl 1.2", "musl.txt"), ("Rust's standard library", "rust.txt")]
LINE = "=" * 80


def cargo(*arguments):
    command = [os.environ.get("CARGO", "cargo"), *arguments, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked_crates():
    """Returns the folder and the license of each linked crate, by name and version."""
    crates = {}
    for target in TARGETS:
        metadata = json.loads(cargo("metadata", "--format-version=1", "--filter-platform", target))
        packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
        tree = cargo("tree", "--edges=normal,no-proc-macro", "--target", target, "--prefix=none", "--format={p}")
        for line in filter(None, tree.splitlines()):
            name, version = line.split()[:2]
            package = packages[name, version.removeprefix("v")]
            # Only the exporter itself has no source.
            if package["source"]:
                folder = os.path.dirname(package["manifest_path"])
                crates[package["name"], package["version"]] = (folder, package["license"])
    return dict(sorted(crates.items()))


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def license_files(name, folder, expression):
    """Returns the paths of the files with the licenses of a crate, relative to its folder."""
    files = sorted(file for file in os.listdir(folder) if LICENSE_FILE.match(file))
    files = [file for file in files if os.path.isfile(os.path.join(folder, file))]
    if not files:
        raise SystemExit(f"{name} has no file with its license: add its text to {__file__}")
    alternatives = re.split(r" OR |/", expression)
    if "MIT" in alternatives and " AND " not in expression and "(" not in expression:
        permission = "Permission is hereby granted, free of charge"
        files = [file for file in files if permission in read(folder, file)] or files
    return files + EMBEDDED.get(name, [])


def sqlite_blessing(folder):
    """Returns the comment at the top of SQLite's header, which dedicates it to the public domain."""
    comment = read(folder, "sqlite3", "sqlite3.h").split("****")[0]
    return "\n".join(re.sub(r"^\*\* ?", "", line) for line in comment.splitlines()[3:]).strip()


def main():
    crates = linked_crates()
    # The users of each text; texts that differ only in white space are one.
    texts, users = {}, {}
    for (name, version), (folder, expression) in crates.items():
        found = [(f"{name} {version}", read(folder, file)) for file in license_files(name, folder, expression)]
        if name == "libsqlite3-sys":
            found.append((f"SQLite, in {name} {version}", sqlite_blessing(folder)))
        for user, text in found:
            key = " ".join(text.split())
            texts.setdefault(key, text)
            users.setdefault(key, []).append(user)

    print("The binary of tryvox-exporter contains the following crates and libraries, besides its own code, which is licensed")
    print("under Apache-2.0. The texts of their licenses follow. `make licenses` in the source generates this file.\n")
    for (name, version), (_, expression) in crates.items():
        print(f"{name} {version}: {expression}")
    for name, file in LIBRARIES:
        print(f"\n{LINE}\n{name}\n{LINE}\n\n{read(os.path.dirname(__file__), file)}")
    for key, text in texts.items():
        names = "\n".join(dict.fromkeys(users[key]))
        print(f"\n{LINE}\n{names}\n{LINE}\n\n" + "\n".join(line.rstrip() for line in text.splitlines()))


main()
