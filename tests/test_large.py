"""More than 2^31 elements: offsets are 64-bit numbers throughout."""

import os

import cases
import numpy as np
import pytest
import reference
import tensorflow as tf

import tf_roialign

pytestmark = pytest.mark.slow

GIB = 2**30
# 256 images are 2^31 elements: the last one lies wholly beyond them.
IMAGES, HEIGHT, WIDTH, CHANNELS = 257, 512, 512, 32
CORNER = 16  # what of the last image is not zero, at the far end of each dimension


def available_memory():
    with open("/proc/meminfo") as file:
        sizes = dict(line.split(":") for line in file)
    return int(sizes["MemAvailable"].split()[0]) * 1024


def needs(gib):
    """Skip, and say why, where that much memory is not free."""
    if not os.path.exists("/proc/meminfo"):
        pytest.skip("cannot tell how much memory is free: no /proc/meminfo")
    free = available_memory() / GIB
    if free < gib:
        pytest.skip(f"needs {gib} GiB of free memory, found {free:.1f}")


def shape_in(data_format):
    if data_format == "NHWC":
        return [IMAGES, HEIGHT, WIDTH, CHANNELS]
    return [IMAGES, CHANNELS, HEIGHT, WIDTH]


def boxes_in_the_corner():
    """Boxes in the last pixels, and the same boxes relative to the corner."""
    rng = np.random.default_rng(1)
    low = rng.uniform(1, 8, (6, 2))
    local = np.concatenate([low, low + rng.uniform(1, 8, (6, 2))], axis=1)
    return local + [WIDTH - CORNER, HEIGHT - CORNER] * 2, local


def settings(data_format):
    return {
        "output_size": (3, 3),
        "spatial_scale": 1.0,
        "sampling_ratio": 2,
        "aligned": True,
        "data_format": data_format,
    }


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_features(data_format):
    """The forward op and the box gradient read beyond 2^31."""
    needs(7)
    values = np.random.default_rng(2).standard_normal((1, CORNER, CORNER, CHANNELS))
    corner, held = cases.rounded(cases.from_nhwc(values, data_format), "bfloat16")
    shape = shape_in(data_format)
    features = tf.pad(
        corner, [[whole - part, 0] for whole, part in zip(shape, corner.shape, strict=True)]
    )
    assert np.prod(features.shape) > 2**31 == np.prod(shape[1:]) * (IMAGES - 1)
    boxes, local = boxes_in_the_corner()
    boxes = tf.constant(boxes)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        output = tf_roialign.roi_align(
            features, boxes, box_indices=[IMAGES - 1] * 6, **settings(data_format)
        )
    of_boxes = tape.gradient(output, boxes)

    held = cases.to_nhwc(held, data_format)
    arguments = (held, local, np.zeros(6, int), (3, 3), 1.0, 2, True)
    expected = reference.forward(*arguments)
    rtol, atol = cases.tolerance("bfloat16", "float64", 5)
    got = cases.to_nhwc(cases.as_numpy(output), data_format)
    cases.assert_close(got, expected, rtol=rtol, atol=atol)
    expected = reference.box_gradient(np.ones(expected.shape), *arguments)
    cases.assert_close(of_boxes.numpy(), expected, rtol=0, atol=1e-3)
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_feature_gradient(data_format):
    """The feature gradient writes beyond 2^31, and zeros wherever no box is."""
    needs(8)
    boxes, local = boxes_in_the_corner()
    upstream = np.random.default_rng(3).standard_normal((6, 3, 3, CHANNELS))
    given, held = cases.rounded(cases.from_nhwc(upstream, data_format), "bfloat16")
    gradient = tf_roialign.raw_ops.roi_align_grad(
        given,
        boxes,
        [IMAGES - 1] * 6,
        tf.constant(shape_in(data_format), tf.int64),
        **settings(data_format),
    )
    assert gradient.shape == shape_in(data_format)
    got = cases.to_nhwc(cases.as_numpy(gradient[-1]), data_format)
    expected = np.zeros([HEIGHT, WIDTH, CHANNELS])
    expected[-CORNER:, -CORNER:] = reference.feature_gradient(
        cases.to_nhwc(held, data_format),
        local,
        np.zeros(6, int),
        (1, CORNER, CORNER, CHANNELS),
        (3, 3),
        1.0,
        2,
        True,
    )[0]
    assert np.abs(expected).max() > 0.5
    rtol, atol = cases.tolerance("bfloat16", "float64", 20)
    cases.assert_close(got, expected, rtol=rtol, atol=atol)
    # Nothing in any other image, where a wrapped offset would have ended up.
    others = tf.bitcast(tf.reshape(gradient[:-1], [-1, 4]), tf.int64)
    assert not tf.reduce_any(others != 0).numpy()


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_output(data_format):
    """The forward op writes beyond 2^31: a few boxes with a great many bins."""
    needs(7)
    values = np.random.default_rng(4).standard_normal((1, 6, 7, 512))
    features, held = cases.rounded(cases.from_nhwc(values, data_format), "float16")
    held = cases.to_nhwc(held, data_format)[0]
    size = (1183, 1184)
    boxes = np.array([[0, 0, 7, 6], [1, 1, 5, 4], [2, 0.5, 4.5, 5.5]])
    assert len(boxes) * size[0] * size[1] * held.shape[2] > 2**31
    output = tf_roialign.roi_align(
        features,
        boxes,
        size,
        sampling_ratio=1,
        aligned=True,
        box_indices=[0, 0, 0],
        data_format=data_format,
    )
    rows = np.linspace(0, size[0] - 1, 16).astype(int)
    columns = np.linspace(0, size[1] - 1, 16).astype(int)
    height_axis = 1 if data_format == "NHWC" else 2
    got = tf.gather(output, rows, axis=height_axis)
    del output
    got = tf.gather(got, columns, axis=height_axis + 1)
    expected = [bins_of(held, box, size, rows, columns) for box in boxes]
    rtol, atol = cases.tolerance("float16", "float64", 5)
    got = cases.to_nhwc(cases.as_numpy(got), data_format)
    cases.assert_close(got, np.stack(expected), rtol=rtol, atol=atol)


def bins_of(image, box, size, rows, columns):
    """Some bins of one aligned box with one sample a bin, by the reference's axes."""
    y, x, count = reference.axes_of_box(box, image.shape[:2], size, 1.0, 1, True, np.float64)
    assert count == 1
    return np.einsum("py,qx,yxc->pqc", y.weight[rows], x.weight[columns], image)
