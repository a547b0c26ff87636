"""Applies each patch of tests/mutations to a copy of the tree, and runs the test that it names.

A patch plants one fault, so its test has to fail: one that passes has not looked. A patch begins
with a sentence that says what is broken, and `test:` with what is to notice it, one of

    test: //cc/core/geometry:axis_test Interpolate.*
    test: tests/test_box_forms.py::test_same_bits

a target of Bazel with a filter of GoogleTest's, or a node of pytest. The first build in the copy
takes as long as any first build; later ones compile what a patch has touched. Exit status: 0 if
every fault was noticed, 1 if one was not or something else went wrong.
"""

import argparse
import dataclasses
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATCHES = ROOT / "tests" / "mutations"
WORK = ROOT / "build" / "mutations"
TREE = WORK / "tree"
# What a checkout has and git does not: the environment, what belongs to this machine, and the
# libraries that were built.
LINKED = (".venv",)
COPIED = (".bazelrc.local", ".bazeliskrc")
NATIVE = ("_tf_roialign*.so", "_build_info.py")

# Of Bazel: what it says when all was built and a test failed.
TESTS_FAILED = 3
# A fault may make a test wait forever. Bazel has limits of its own for its tests.
_MOST_SECONDS = 1800
PASSED, FAILED, NO_TEST, BROKEN = "passed", "failed", "not run", "error"


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A patch of the list."""

    name: str
    fault: str
    test: str
    files: tuple[str, ...]

    @property
    def is_native(self):
        """Whether libraries have to be built for a test of Python to see it."""
        return any(file.startswith(("cc/", "build_deps/")) for file in self.files)

    @property
    def path(self):
        return PATCHES / f"{self.name}.patch"


def read(path):
    """A mutation from its file; ValueError where the head is not as it must be."""
    text = path.read_text()
    head, separator, diff = text.partition("\ndiff --git ")
    fields = re.fullmatch(r"(?s)(?P<fault>.+?)\n\s*test: (?P<test>[^\n]+)\s*", head)
    if not separator or not fields:
        raise ValueError(f"{path.name} must begin with a sentence, `test:` and a diff of git's")
    files = re.findall(r"(?m)^\+\+\+ b/(\S+)$", diff)
    return Mutation(path.stem, " ".join(fields["fault"].split()), fields["test"], tuple(files))


def read_all(patterns=()):
    """All mutations by name, or those that match a pattern; SystemExit for one that none does."""
    mutations = [read(path) for path in sorted(PATCHES.glob("*.patch"))]
    for pattern in patterns:
        if not any(fnmatch.fnmatch(each.name, pattern) for each in mutations):
            sys.exit(f"error: No mutation is named {pattern}.")
    return [
        each
        for each in mutations
        if not patterns or any(fnmatch.fnmatch(each.name, pattern) for pattern in patterns)
    ]


def git_apply(patch, tree, *options):
    """Applies a patch to a folder that is no repository, though one may be around it."""
    return subprocess.run(
        ["git", "apply", *options, str(patch)],
        cwd=tree,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Copy:
    """The tree as it is in the checkout, uncommitted changes too, and tests of it."""

    def __init__(self, log, jobs):
        self._log = log
        self._python = str(TREE / ".venv" / "bin" / "python")
        self._bazelisk = str(TREE / ".venv" / "bin" / "bazelisk")
        # As setup.py names it: Bazel looks for TensorFlow anew where this changes.
        self._options = [f"--repo_env=TF_ROIALIGN_PYTHON={self._python}", "--config=log"]
        if jobs is not None:
            self._options.append(f"--jobs={jobs}")
        self._natives = WORK / "natives"
        self._natives_are_mutated = False
        self._update()

    def _update(self):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
        names = {name for name in names if (ROOT / name).is_file()}
        names |= {name for name in COPIED if (ROOT / name).exists()}
        TREE.mkdir(parents=True, exist_ok=True)
        listing = WORK / "files"
        before = set(listing.read_text().splitlines()) if listing.exists() else set()
        for name in before - names:
            (TREE / name).unlink(missing_ok=True)
        for name in names:
            copy_changed(ROOT / name, TREE / name)
        listing.write_text("".join(f"{name}\n" for name in sorted(names)))
        for name in LINKED:
            if not (TREE / name).exists():
                (TREE / name).symlink_to((ROOT / name).resolve())
        self._natives.mkdir(exist_ok=True)
        for pattern in NATIVE:
            for file in (ROOT / "tf_roialign").glob(pattern):
                copy_changed(file, self._natives / file.name)
        self._restore_natives()

    def _restore_natives(self):
        for file in self._natives.iterdir():
            copy_changed(file, TREE / "tf_roialign" / file.name)
        self._natives_are_mutated = False

    def check(self, tests):
        """Whether all tests pass as the tree is."""
        targets = sorted({test.split()[0] for test in tests if test.startswith("//")})
        nodes = sorted({test for test in tests if not test.startswith("//")})
        if nodes and not any(self._natives.glob("*.so")):
            sys.exit("error: There are no libraries in the checkout: run `make build`.")
        status = 0
        if targets:
            status |= self._run(self._bazel("test"), *targets)
        if nodes:
            status |= self._run(self._pytest(), *nodes)
        return status == 0

    def answer(self, mutation):
        """What the test says with the mutation in place, which is taken back."""
        applied = git_apply(mutation.path, TREE)
        self._log.write(applied.stdout)
        if applied.returncode != 0:
            return BROKEN
        try:
            return self._answer(mutation)
        finally:
            for file in mutation.files:
                copy_changed(ROOT / file, TREE / file)

    def _answer(self, mutation):
        test, *filters = mutation.test.split(maxsplit=1)
        if test.startswith("//"):
            options = [f"--test_filter={filters[0]}"] if filters else []
            status = self._run(self._bazel("test"), *options, test)
            return {0: PASSED, TESTS_FAILED: FAILED}.get(status, BROKEN)
        if mutation.is_native:
            self._natives_are_mutated = True
            if self._run([self._python, "setup.py", "--quiet", "build_native"]) != 0:
                return BROKEN
        elif self._natives_are_mutated:
            self._restore_natives()
        before = self._log.tell()
        status = self._run(self._pytest(), test)
        self._log.seek(before)
        said = self._log.read()
        if status == 0 and not re.search(r"\b\d+ passed\b", said):
            return NO_TEST  # it was skipped
        return {0: PASSED, 1: FAILED}.get(status, BROKEN)

    def stop(self):
        """Leaves no server of Bazel's behind."""
        self._run([self._bazelisk, "shutdown"])

    def _bazel(self, command):
        return [self._bazelisk, command, *self._options]

    def _pytest(self):
        return [self._python, "-m", "pytest", "-p", "no:cacheprovider", "--maxfail=1"]

    def _run(self, command, *more):
        command = [*command, *more]
        self._log.write(f"\n$ {shlex.join(command)}\n")
        self._log.flush()
        environment = {**os.environ, "PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1"}
        # The kernels for GPUs are tested as they are emulated: nvcc would take minutes.
        environment.setdefault("TF_ROIALIGN_CUDA", "none")
        try:
            return subprocess.run(
                command,
                cwd=TREE,
                env=environment,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                timeout=_MOST_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            self._log.write(f"\nStopped after {_MOST_SECONDS} seconds.\n")
            return 1  # of pytest: a test that failed; of others: an error


def copy_changed(source, destination):
    """Copies a file unless it is the same, so that only what changed is compiled again."""
    content = source.read_bytes()
    if destination.exists() and destination.read_bytes() == content:
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(content)
    shutil.copymode(source, destination)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="patterns are taken too")
    parser.add_argument("--unchecked", action="store_true", help="do not run the tests before")
    parser.add_argument("--jobs", type=int, help="of Bazel")
    arguments = parser.parse_args()
    mutations = read_all(arguments.names)
    WORK.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    counts = dict.fromkeys((FAILED, PASSED, NO_TEST, BROKEN), 0)
    with open(WORK / "log", "w+", errors="replace") as log:
        copy = Copy(log, arguments.jobs)
        try:
            if not arguments.unchecked and not copy.check({each.test for each in mutations}):
                sys.exit(f"error: The tests fail without a mutation: see {WORK / 'log'}.")
            print(f"The tests pass without a mutation ({time.monotonic() - begin:.0f} s).")
            for each in mutations:
                log.write(f"\n==== {each.name}\n")
                start = time.monotonic()
                answer = copy.answer(each)
                counts[answer] += 1
                verdict = {FAILED: "noticed", PASSED: "SURVIVED", BROKEN: "ERROR"}.get(
                    answer, answer
                )
                seconds = time.monotonic() - start
                print(f"{verdict:<9}{seconds:>5.0f} s  {each.name:<34} {each.test}", flush=True)
        finally:
            copy.stop()
    print(
        f"{len(mutations)} mutations in {time.monotonic() - begin:.0f} s: "
        f"{counts[FAILED]} noticed, {counts[PASSED]} survived, {counts[BROKEN]} errors, "
        f"{counts[NO_TEST]} not run."
    )
    if counts[PASSED] or counts[BROKEN]:
        sys.exit(f"What was run and said is in {WORK / 'log'}.")


if __name__ == "__main__":
    main()
