"""Which CUDA kernels a build has: what is asked for by name, or what the machine's GPUs run."""

import os
import pathlib
import shutil
import subprocess

import pytest

BUILD_DEPS = pathlib.Path(__file__).resolve().parents[1] / "build_deps"
if not BUILD_DEPS.exists():
    pytest.skip("the build is only in the checkout", allow_module_level=True)

NO_GPU = "none: no NVIDIA GPU was found"
KNOWN = [75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121]


@pytest.fixture(name="choose")
def make_choose(tmp_path):
    """Runs the script on a machine with only this nvidia-smi (the text of a shell script)."""
    for tool in ("sh", "sed", "sort", "paste", "timeout"):
        (tmp_path / tool).symlink_to(shutil.which(tool))

    def choose(nvidia_smi=None, **variables):
        if nvidia_smi is not None:
            program = tmp_path / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
            program.chmod(0o755)
        others = {k: v for k, v in os.environ.items() if not k.startswith("TF_ROIALIGN_")}
        return subprocess.run(
            ["sh", BUILD_DEPS / "cuda_architectures.sh"],
            env={**others, "PATH": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rstrip("\n")

    return choose


@pytest.mark.parametrize(
    ("nvidia_smi", "expected"),
    [
        ("printf '8.6\\n9.0\\n'", "native: 86,90"),
        ("printf '12.0\\n7.5\\n12.0\\n10.3\\n'", "native: 75,103,120"),
        ('[ "$*" = "--query-gpu=compute_cap --format=csv,noheader" ] && echo 9.0', "native: 90"),
        ("printf '[N/A]\\n8.9\\n'", "native: 89"),
        ("echo '[N/A]'", f"{NO_GPU} (nvidia-smi lists none)"),
        ("echo No devices were found", f"{NO_GPU} (nvidia-smi lists none)"),
        (":", f"{NO_GPU} (nvidia-smi lists none)"),
        ("echo 9.0; exit 9", f"{NO_GPU} (nvidia-smi fails)"),
        (None, f"{NO_GPU} (there is no nvidia-smi)"),
    ],
)
def test_the_gpus_of_the_machine(choose, nvidia_smi, expected):
    assert choose(nvidia_smi) == expected
    assert choose(nvidia_smi, TF_ROIALIGN_CUDA_ARCHITECTURES="native") == expected
    assert choose(nvidia_smi, TF_ROIALIGN_CUDA_ARCHITECTURES="") == expected


def test_what_is_asked_for_by_name(choose):
    for name in ("default", "all", "90", "80, 90"):
        assert choose("echo 8.6", TF_ROIALIGN_CUDA_ARCHITECTURES=name) == name
        left_out = choose(TF_ROIALIGN_CUDA_ARCHITECTURES=name, TF_ROIALIGN_CUDA="none")
        assert left_out.startswith("none: ") and "TF_ROIALIGN_CUDA=none" in left_out


@pytest.mark.parametrize("cuda", ["required", "/usr/local/cuda"])
def test_cuda_is_asked_for(choose, cuda):
    """For the GPUs if there are any; a machine without a GPU builds what a wheel has."""
    assert choose(TF_ROIALIGN_CUDA=cuda) == "default"
    assert choose(":", TF_ROIALIGN_CUDA=cuda) == "default"
    assert choose("echo 8.6", TF_ROIALIGN_CUDA=cuda) == "native: 86"
    assert choose(TF_ROIALIGN_CUDA=cuda, TF_ROIALIGN_CUDA_ARCHITECTURES="90") == "90"


@pytest.fixture(name="rules", scope="module")
def load_rules():
    """The functions of cuda.bzl: Starlark is Python as far as they go."""

    def fail(message):
        raise ValueError(message)

    rules = {"fail": fail, "repository_rule": lambda **_: None}
    exec((BUILD_DEPS / "cuda.bzl").read_text(), rules)
    return rules


@pytest.mark.parametrize(
    ("gpus", "architectures", "too_old"),
    [
        ([86, 90], [86, 90], []),
        ([75], [75], []),
        ([101], [100], []),  # runs code of 10.0
        ([89, 130], [89, 121], []),  # newer than nvcc: the PTX of the newest
        ([130, 140], [121], []),
        ([61, 70, 80], [80], [61, 70]),
        ([70], [], [70]),
    ],
)
def test_architectures_for_gpus(rules, gpus, architectures, too_old):
    assert rules["_architectures_for_gpus"](gpus, [60, 70, *KNOWN]) == (architectures, too_old)


def test_named_architectures(rules):
    named = rules["_named_architectures"]
    assert named("default", [50, *KNOWN], "nvcc") == [75, 80, 86, 89, 90, 100, 120]
    assert named("default", [75, 80, 90], "nvcc") == [75, 80, 90]
    assert named("all", [50, *KNOWN], "nvcc") == KNOWN
    assert named("90, 80", KNOWN, "nvcc") == [80, 90]
    for wrong in ("91", "8.6", "natve", "80,,90"):
        with pytest.raises(ValueError, match='must be "native", "default", "all" or numbers'):
            named(wrong, KNOWN, "nvcc")
