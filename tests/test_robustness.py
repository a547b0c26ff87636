"""No input ends the process or keeps it busy: memory runs out, buffers are unaligned."""

import os
import time

import cases
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import raw_ops

NO_INDICES = np.zeros(0, "int32")


# Leaves a call 512 MiB of address space beyond what the process has mapped by then.
MEMORY = """
import resource, sys
import numpy as np, tensorflow as tf
from tf_roialign import raw_ops

op, bins, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
features = tf.ones([1, 8, 8, 1], tf.float16)
boxes = tf.constant([[0.0, 1.0, 1.0, 5.0, 5.0]] * count)

def call(bins, upstream):
    attributes = {"output_size": [bins, 1], "sampling_ratio": 1}
    arguments = [boxes, tf.zeros([0], tf.int32)]
    if op == "roi_align":
        return raw_ops.roi_align(features, *arguments, **attributes)
    if op == "roi_align_grad":
        return raw_ops.roi_align_grad(upstream, *arguments, [1, 8, 8, 1], **attributes)
    return raw_ops.roi_align_boxes_grad(upstream, features, *arguments, **attributes)

few = tf.ones([count, 3, 1, 1], tf.float16)
expected = call(3, few).numpy()
many = None if op == "roi_align" else tf.ones([count, bins, 1, 1], tf.float16)

with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, before[1]))
try:
    call(bins, many)
    print("done")
except tf.errors.ResourceExhaustedError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, before)
assert (call(3, few).numpy() == expected).all()
print("lives")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux' /proc")
@pytest.mark.parametrize(
    "bins, count", [(6 * 10**7, 1), (2 * 10**7, 4)], ids=["one-box", "in-the-thread-pool"]
)
@pytest.mark.parametrize("op", ["roi_align", "roi_align_grad", "roi_align_boxes_grad"])
def test_scratch_memory_that_is_not_there(op, bins, count):
    """An error that tells of it, and right results afterwards."""
    lines = programs.run(MEMORY, op, bins, count).stdout.splitlines()
    assert lines[-1] == "lives"
    assert any(f"`output_size` [{bins}, 1]" in line for line in lines), lines


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux' /proc")
def test_an_output_that_memory_cannot_hold():
    """TensorFlow says that itself."""
    lines = programs.run(MEMORY, "roi_align", 10**9, 1).stdout.splitlines()
    assert lines[-1] == "lives"
    assert any("OOM when allocating tensor" in line for line in lines), lines


def unaligned(array):
    """A tensor of the values at an address that is no multiple of 64, shared by DLPack."""
    array = np.ascontiguousarray(array)
    buffer = np.zeros(array.nbytes + 128, "uint8")
    start = -buffer.ctypes.data % 64 + array.itemsize
    view = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    tensor = tf.experimental.dlpack.from_dlpack(view.__dlpack__())
    assert np.frombuffer(memoryview(tensor), "uint8").ctypes.data % 64 == array.itemsize
    return tensor


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_unaligned_tensors(dtype, box_dtype, data_format):
    """Memory of another library is read as it lies: the same bits as from aligned copies."""
    rng = np.random.default_rng(cases.seed_of("unaligned", dtype, box_dtype, data_format))
    shape = [2, 8, 8, 3] if data_format == "NHWC" else [2, 3, 8, 8]
    bins = [3, 2, 3] if data_format == "NHWC" else [3, 3, 2]
    attributes = {"output_size": [3, 2], "sampling_ratio": 2, "data_format": data_format}
    features = rng.standard_normal(shape).astype(dtype)
    upstream = rng.standard_normal([7, *bins]).astype(dtype)
    boxes = cases.random_boxes(rng, 7, 8, 8, dtype=box_dtype)
    column = rng.integers(0, 2, [7, 1])
    for boxes_given, indices in (
        (np.concatenate([column, boxes], axis=1).astype(box_dtype), NO_INDICES),
        (boxes, column[:, 0].astype("int32")),
        (boxes, column[:, 0]),
    ):
        arrays = [features, upstream, boxes_given, np.array(shape, "int64")]

        def compute(f, g, b, sizes, i):
            return [
                raw_ops.roi_align(f, b, i, **attributes),
                raw_ops.roi_align_grad(g, b, i, sizes, **attributes),
                raw_ops.roi_align_boxes_grad(g, f, b, i, **attributes),
            ]

        expected = compute(*map(tf.constant, [*arrays, indices]))
        place = unaligned if len(indices) else tf.constant
        tensors = [*map(unaligned, arrays), place(indices)]
        for function in (compute, tf.function(compute)):
            got = function(*tensors)
            assert list(map(cases.as_bytes, got)) == list(map(cases.as_bytes, expected))


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("aligned", [False, True], ids=["plain", "aligned"])
@pytest.mark.parametrize("box_dtype", ["float32", "float64"])
def test_as_many_samples_as_an_int32_counts(box_dtype, aligned, data_format):
    """They cost what the pixels cost, and give the limit of many samples."""
    rng = np.random.default_rng(9)
    features = tf.constant(cases.from_nhwc(rng.standard_normal((1, 20, 30, 3)), data_format))
    boxes = tf.constant(
        [[2.3, 3.4, 17.7, 12.9], [5, 5, 5.1, 5.2], [17, 12, 3, 2], [-5, -4, 40, 33]], box_dtype
    )
    upstream = tf.constant(cases.from_nhwc(rng.standard_normal((4, 3, 2, 3)), data_format))

    def results(ratio):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(
                features,
                boxes,
                (3, 2),
                0.7,
                ratio,
                aligned,
                box_indices=[0] * 4,
                data_format=data_format,
            )
        return [output, *tape.gradient(output, [features, boxes], upstream)]

    expected = results(4096)
    start = time.monotonic()
    got = results(2**31 - 1)
    assert time.monotonic() - start < 5
    for name, a, b in zip(("output", "by features", "by boxes"), got, expected, strict=True):
        assert np.abs(b.numpy()).max() > 0.01
        cases.assert_close(a.numpy(), b.numpy(), rtol=0, atol=1e-3, what=name)
