"""The patches of tests/mutations fit the tree; `make mutations` shows that each is noticed."""

import fnmatch
import importlib.util
import pathlib
import re
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "mutate.py"
if not TOOL.exists() or not (ROOT / "cc").exists():
    pytest.skip("the patches are for the checkout", allow_module_level=True)


def load_tool():
    spec = importlib.util.spec_from_file_location("mutate", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


mutate = load_tool()
MUTATIONS = mutate.read_all()


def by_name(mutation):
    return mutation.name


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
@pytest.mark.parametrize("mutation", MUTATIONS, ids=by_name)
def test_patch_applies(mutation):
    applied = mutate.git_apply(mutation.path, ROOT, "--check")
    assert applied.returncode == 0, applied.stdout
    assert mutation.files
    for file in mutation.files:
        assert (ROOT / file).exists()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=by_name)
def test_named_test_is_there(mutation):
    if not mutation.test.startswith("//"):
        file, _, function = mutation.test.partition("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text()
        return
    target, wanted = mutation.test.split()
    folder, name = target[2:].split(":")
    assert f'"{name}"' in (ROOT / folder / "BUILD").read_text()
    program = (ROOT / folder / f"{name}.cc").read_text()
    tests = re.findall(r"(?m)^\s*TEST\w*\((\w+),\s*(\w+)\)", program)
    # Of what a parameter makes several of, names have more at both ends.
    assert any(fnmatch.fnmatch(f"{suite}.{test}", wanted) for suite, test in tests)


@pytest.mark.parametrize(
    "text",
    [
        "No test.\n\ndiff --git a/x b/x\n",
        "test: //no:sentence\n\ndiff --git a/x b/x\n",
        "No diff.\ntest: tests/test_x.py::test_y\n",
    ],
)
def test_a_head_that_is_not_as_it_must_be(text, tmp_path):
    patch = tmp_path / "some.patch"
    patch.write_text(text)
    with pytest.raises(ValueError, match=r"some\.patch must begin with a sentence"):
        mutate.read(patch)
