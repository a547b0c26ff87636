"""Every instruction set of this processor gives right results, not only the best one."""

import os
import pathlib
import subprocess
import sys

import programs
import pytest

LEVELS = ["baseline", "avx2", "avx512"]
# What exercises whole vectors, their tails, and single elements of every dtype and layout.
TESTS = [
    "test_golden.py",
    "test_forward.py::test_every_channel_count",
    "test_feature_gradient.py::test_every_channel_count",
    "test_box_gradient.py::test_every_channel_count",
    "test_dtypes.py",
    "test_max.py",
    "test_quantized.py::test_exact_codes",
    "test_quantized.py::test_is_torchvision_where_float32_is_exact",
    "test_quantized.py::test_ties",
    "test_quantized.py::test_codes_of_32_bits_are_kept",
    "test_quantized.py::test_a_sum_of_many_codes_saturates",
]


def level_in_use(wanted=None):
    environment = {} if wanted is None else {"TF_ROIALIGN_SIMD": wanted}
    report = programs.run(
        "import runpy; runpy.run_module('tf_roialign', run_name='__main__')", **environment
    ).stdout
    (line,) = [line for line in report.splitlines() if line.lower().startswith("simd")]
    return line.split()[-1]


@pytest.fixture(scope="module")
def best():
    return level_in_use(os.environ.get("TF_ROIALIGN_SIMD"))


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_lower_level(level, best):
    if LEVELS.index(level) >= LEVELS.index(best):
        pytest.skip(f"all other tests ran with {best}: {level} is not lower")
    assert level_in_use(level) == level
    folder = pathlib.Path(__file__).parent
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
        + [str(folder / test) for test in TESTS],
        env=programs.environment(TF_ROIALIGN_SIMD=level),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-5000:]
    assert "passed" in process.stdout


def test_a_level_that_the_processor_lacks_is_not_used(best):
    for level in LEVELS[LEVELS.index(best) :]:
        assert level_in_use(level) == best
