"""The source distribution has what a build reads."""

import pathlib
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
if not (ROOT / "setup.py").exists():
    pytest.skip("sources are only in the checkout", allow_module_level=True)

# What the build makes itself, and what Python does.
MADE = {"_build_info.py", "__pycache__"}
FOLDERS = ("build_deps", "cc", "tf_roialign", "tools")


def sources():
    """Every file that is not made, relative to the checkout."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix not in (".so", ".new") and not MADE & set(parts):
                yield "/".join(parts)
    yield from ("BUILD", "WORKSPACE", ".bazelrc", ".bazelversion", "setup.py", "pyproject.toml")


def test_it_has_every_source(tmp_path):
    subprocess.run(
        [
            *(sys.executable, "setup.py", "--quiet"),
            *("egg_info", "--egg-base", tmp_path),
            *("sdist", "--dist-dir", tmp_path, "--formats", "gztar"),
        ],
        cwd=ROOT,
        check=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        there = {name.partition("/")[2] for name in files.getnames()}
    assert set(sources()) - there == set()
