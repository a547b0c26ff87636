"""Feature pyramids converted by tf2onnx: standard ops only, TensorFlow's results."""

import cases
import numpy as np
import pyramids
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign.library import level_rule

WHY_SKIPPED = "the `onnx` extra is not installed: `make setup-onnx` installs it"
onnx = pytest.importorskip("onnx", reason=WHY_SKIPPED)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY_SKIPPED)
tf2onnx = pytest.importorskip("tf2onnx", reason=WHY_SKIPPED)
import tf_roialign.onnx  # noqa: E402  (needs the extra)


def run(function, specs, inputs):
    model, _ = tf2onnx.convert.from_function(tf.function(function), specs, opset=16)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}, "no custom op"
    assert [node.op_type for node in model.graph.node].count("RoiAlign") == 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))[0]


@pytest.mark.parametrize("given_levels", [False, True])
@pytest.mark.parametrize(("aligned", "ratio"), [(False, 2), (True, -1)])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("form", ["box_indices", "dense"])
def test_pyramid(form, data_format, aligned, ratio, given_levels):
    rng = np.random.default_rng(cases.seed_of("onnx", form, data_format, aligned, given_levels))
    pyramid = pyramids.Pyramid(
        rng, form=form, data_format=data_format, aligned=aligned, ratio=ratio
    )
    arguments = pyramid.arguments()
    names = sorted(arguments)
    inputs = [*pyramid.features, *(tf.constant(arguments[name]) for name in names)]
    specs = [
        tf.TensorSpec(
            [None, None, None, 5] if data_format == "NHWC" else [None, 5, None, None],
            tf.float32,
            f"p{i}",
        )
        for i in range(3)
    ]
    for name, value in zip(names, inputs[3:], strict=True):
        shape = [None] * (value.shape.rank - 1) + [4] if name == "boxes" else [None]
        specs.append(tf.TensorSpec(shape, value.dtype, name))
    if given_levels:
        inputs.append(tf.constant(pyramid.levels, tf.int32))
        specs.append(tf.TensorSpec([None], tf.int32, "levels"))

    def pool(*tensors):
        more = {"levels": tensors[-1]} if given_levels else {}
        boxes = dict(zip(names, tensors[3:], strict=False))
        return tf_roialign.multiscale_roi_align(
            list(tensors[:3]),
            output_size=pyramid.output_size,
            spatial_scales=pyramids.SCALES,
            **{**boxes, **pyramid.attributes, **pyramids.RULE, **more},
        )

    got = run(pool, specs, inputs)
    np.testing.assert_allclose(got, pool(*inputs), rtol=1e-5, atol=1e-5)


def test_levels_at_their_bounds():
    """A box whose area is the bound itself, to the last bit, and one below it."""
    scales = [1 / 4, 1 / 8, 1 / 16]
    _, bounds = level_rule(40.0, 3, [(scale, scale) for scale in scales], False)
    sides = [
        side
        for area in np.array([area for area, _ in bounds], np.float32)
        for side in (np.nextafter(area, np.float32(0)), area)
    ]
    boxes = np.array([[0, 0, side, 1] for side in sides], np.float32)
    maps = [tf.fill([1, 2, 900, 1], float(i)) for i in range(3)]

    def pool(*tensors):
        *maps, boxes, indices = tensors
        return tf_roialign.multiscale_roi_align(
            maps,
            boxes,
            1,
            scales,
            1,
            box_indices=indices,
            canonical_scale=40,
            canonical_level=3,
        )

    inputs = [*maps, tf.constant(boxes), tf.zeros([len(boxes)], tf.int32)]
    specs = [tf.TensorSpec([None, None, None, 1], tf.float32, f"p{i}") for i in range(3)]
    specs += [tf.TensorSpec([None, 4], tf.float32, "b"), tf.TensorSpec([None], tf.int32, "i")]
    assert pool(*inputs).numpy().ravel().tolist() == [0, 1, 1, 2]
    assert run(pool, specs, inputs).ravel().tolist() == [0, 1, 1, 2]


def test_mode_max_is_refused(caplog):
    """tf2onnx logs the error and leaves the node."""
    specs = [tf.TensorSpec([1, 8, 8, 3]), tf.TensorSpec([None, 5])]
    function = tf.function(lambda f, b: tf_roialign.roi_align(f, b, 2, mode="max"))
    with caplog.at_level("ERROR", logger="tf2onnx"):
        model, _ = tf2onnx.convert.from_function(function, specs, opset=16)
    assert "TfRoialign>RoiAlign" in {node.op_type for node in model.graph.node}
    assert 'with `mode` "max" cannot be converted to ONNX' in caplog.text
