"""What type checkers and editors are told: by the package as it is installed, wheel or checkout."""

import ast
import importlib.util
import inspect
import json
import os
import pathlib
import pydoc
import re
import subprocess
import sys
import typing
import venv

import programs
import pytest

import tf_roialign

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPT, MISTAKES = HERE / "typed" / "user_script.py", HERE / "typed" / "mistakes.py"
TOOLS = ("mypy", "pyright")
IS_CHECKOUT = pathlib.Path(tf_roialign.__file__).parents[1] == ROOT


@pytest.fixture(name="pythons", scope="module")
def make_pythons(tmp_path_factory):
    """By how the package is installed, a Python that has it."""
    pythons = {"as it is": pathlib.Path(sys.executable)}
    if IS_CHECKOUT:
        pythons["editable"] = install_editable(tmp_path_factory.mktemp("editable"))
    return pythons


def install_editable(folder):
    """The checkout in an environment of its own, and all else of this one."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    here = [path for path in sys.path if pathlib.Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("\n".join(here))
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--editable"]
        + [str(ROOT), "--no-deps", "--no-build-isolation", "--no-index"],
        env={**os.environ, "TF_ROIALIGN_BUILD_NATIVE": "later"},
        check=True,
    )
    return python


def mypy(python, file, folder):
    """Lines with errors, and the errors, as {line: [text, ...]}."""
    config = folder / "mypy.ini"
    # TensorFlow and Keras have no types: that is for the user to accept.
    config.write_text(
        "[mypy]\nstrict = True\n"
        + "".join(
            f"[mypy-{name}.*]\nignore_missing_imports = True\n" for name in ("tensorflow", "keras")
        )
    )
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--python-executable", python]
    command += ["--cache-dir", folder / "cache", "--no-error-summary", "--no-pretty", file]
    process = run(command, folder)
    found = re.findall(r"^(.*?):(\d+): error: (.*)$", process.stdout, re.MULTILINE)
    assert process.returncode == bool(found), process.stdout + process.stderr
    return by_line((path, int(line), text) for path, line, text in found)


def pyright(python, file, folder):
    command = [sys.executable, "-m", "pyright", "--pythonpath", python, "--outputjson", file]
    process = run(command, folder)
    report = json.loads(process.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return by_line(
        (each["file"], each["range"]["start"]["line"] + 1, each["message"])
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    )


def run(command, folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )


def by_line(errors):
    found = {}
    for path, line, text in errors:
        assert pathlib.Path(path).name in (SCRIPT.name, MISTAKES.name), (path, line, text)
        found.setdefault(line, []).append(text)
    return found


@pytest.fixture(name="check", params=TOOLS)
def find_tool(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: `make setup` does that")
    return {"mypy": mypy, "pyright": pyright}[request.param]


@pytest.mark.parametrize("how", ["as it is", "editable"])
def test_type_checkers_have_nothing_to_say(check, how, pythons, tmp_path):
    if how not in pythons:
        pytest.skip("not in a checkout: what is installed is a wheel, and tested `as it is`")
    assert check(pythons[how], SCRIPT, tmp_path) == {}


@pytest.mark.parametrize("how", ["as it is", "editable"])
def test_type_checkers_find_mistakes(check, how, pythons, tmp_path):
    """If the package were not found, everything would be right."""
    if how not in pythons:
        pytest.skip("not in a checkout: what is installed is a wheel, and tested `as it is`")
    lines = MISTAKES.read_text().splitlines()
    wrong = [i for i, line in enumerate(lines, 1) if line.endswith("# wrong")]
    found = check(pythons[how], MISTAKES, tmp_path)
    assert sorted(found) == wrong, found


def test_the_script_uses_every_public_name():
    tree = ast.parse(SCRIPT.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(tf_roialign.__all__) <= names, set(tf_roialign.__all__) - names


def test_the_script_runs(tmp_path):
    programs.run(f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')", tmp_path)


def public_functions():
    public = [getattr(tf_roialign, name) for name in tf_roialign.__all__]
    return [each for each in public if inspect.isfunction(each) or inspect.isclass(each)]


@pytest.mark.parametrize("function", public_functions(), ids=lambda each: each.__name__)
def test_help_begins_with_a_short_signature(function):
    signature = str(inspect.signature(function))
    assert len(signature) < 600
    assert "Union[" not in signature and "tensorflow.python" not in signature
    text = pydoc.plain(pydoc.render_doc(function))
    assert inspect.getdoc(function).splitlines()[0] in text[:900]


@pytest.mark.parametrize("function", public_functions(), ids=lambda each: each.__name__)
def test_annotations_can_be_evaluated(function):
    typing.get_type_hints(function)
    typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)


def test_completion_shows_what_is_public():
    shown = {name for name in dir(tf_roialign) if not name.startswith("__")}
    assert shown == {name for name in tf_roialign.__all__ if not name.startswith("__")}
    assert {"__doc__", "__file__", "__version__"} <= set(dir(tf_roialign))
