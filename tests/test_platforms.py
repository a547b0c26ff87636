"""Where the ops run: docs/platforms.md against what is registered, and every op under XLA."""

import pathlib
import re

import cases
import every_op
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from tf_roialign.library import build_info

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "platforms.md"
# The columns of the page, and what TensorFlow calls the devices.
DEVICES = {"CPU": "CPU", "GPU": "GPU", "XLA:CPU": "XLA_CPU_JIT", "XLA:GPU": "XLA_GPU_JIT"}
ON_GPU = ("GPU", "XLA:GPU")

in_checkout = pytest.mark.skipif(not PAGE.exists(), reason="the pages are only in the checkout")


def table():
    """{op: {column: text of the cell}} of the page."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if "|" in line]
    header, _, *rows = rows
    assert header == ["op", *DEVICES]
    return {row[0].strip("`"): dict(zip(DEVICES, row[1:], strict=True)) for row in rows}


def registered(name):
    """{device: the dtypes of features of an op's kernels}; of XLA's there is one for all."""
    dtypes = {}
    for kernel in kernels.get_registered_kernels_for_op("TfRoialign>" + name).kernel:
        constraints = {each.name: each.allowed_values.list.type for each in kernel.constraint}
        names = {tf.as_dtype(number).name for number in constraints.get("T", [])}
        dtypes.setdefault(kernel.device_type, set()).update(names)
    return dtypes


@in_checkout
def test_the_page_has_every_op():
    assert sorted(table()) == list(every_op.NAMES)


@in_checkout
@pytest.mark.parametrize("name", every_op.NAMES)
def test_what_the_page_says_is_registered(name):
    """A cell with tests is a kernel, and one without is none."""
    devices = registered(name)
    for column, cell in table()[name].items():
        if column in ON_GPU and build_info.CUDA is None:
            assert DEVICES[column] not in devices
        else:
            assert (DEVICES[column] in devices) == (cell != "-"), column


@pytest.mark.parametrize("name", every_op.NAMES)
def test_kernels_are_there_for_every_dtype(name):
    for device, dtypes in registered(name).items():
        if not device.startswith("XLA_"):
            assert dtypes == set(every_op.dtypes_of(name)), device


@in_checkout
def test_ops_have_cuda_kernels():
    """By the core's own list, for builds without CUDA: what is on the page is in it."""
    source = (ROOT / "cc" / "core" / "call" / "op.h").read_text()
    lists = re.findall(r"#define TF_ROIALIGN_FOR_EACH_\w+_OP\(X\)((?:.*\\\n)*.*\n)", source)
    ops = set(re.findall(r"X\((k\w+)\)", "".join(lists)))
    cases_of_table = re.findall(r'case Op::(k\w+):\n\s*return "TfRoialign>', source)
    assert ops == {*cases_of_table, "kForwardQuantized"}
    assert 2 * len(ops) == len(every_op.NAMES)
    registering = {
        "GPU": ROOT / "cc" / "kernels" / "cuda_ops.cc",
        "XLA:GPU": ROOT / "cc" / "xla" / "cuda_handlers.cc",
    }
    for column, file in registering.items():
        text = file.read_text()
        everything = "RegisterAllOps<CudaDevice>" in text or (
            "FOR_EACH_FLOAT_OP(TF_ROIALIGN_REGISTER)" in text
            and "FOR_EACH_CODE_OP(TF_ROIALIGN_REGISTER)" in text
        )
        assert everything, column
        assert all(row[column] != "-" for row in table().values())


@in_checkout
def test_the_tests_that_the_page_names_are_there():
    named = set()
    for row in table().values():
        for cell in row.values():
            tests = re.findall(r"`([\w.]+)::(\w+)`", cell)
            assert tests or cell == "-", cell
            named.update(tests)
    assert len(named) > 15
    folders = ("tests", "cc/core/cuda", "cc/xla")
    for file, test in named:
        (path,) = [path for folder in folders for path in (ROOT / folder).glob(file)]
        pattern = rf"^def {test}\(" if path.suffix == ".py" else rf"^TEST(_P)?\({test},"
        assert re.search(pattern, path.read_text(), re.M), f"{file}::{test}"


@in_checkout
def test_gpu_cells_name_a_test_without_a_gpu_and_one_with_it():
    gpu_tests = (ROOT / "tests" / "test_gpu.py").read_text()
    assert "pytestmark = pytest.mark.gpu" in gpu_tests
    for name, row in table().items():
        for column in ON_GPU:
            assert "_test.cc::" in row[column] and "test_gpu.py::" in row[column], name


@pytest.mark.parametrize("name, dtype, data_format, mode", every_op.parameters())
def test_every_op_under_xla(name, dtype, data_format, mode):
    """The bits of the same call outside."""
    call = every_op.Call(name, dtype, data_format, mode)
    expected = call.run(*call.inputs)
    got = tf.function(call.run, jit_compile=True, autograph=False)(*call.inputs)
    for a, b in zip(got, expected, strict=True):
        assert cases.as_bytes(a) == cases.as_bytes(b)
    assert any(tensor.numpy().any() for tensor in expected)
