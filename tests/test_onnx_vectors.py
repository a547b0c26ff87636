"""The ONNX project's conformance vectors for RoiAlign, mode avg, through the public API."""

import cases
import numpy as np
import pytest

import tf_roialign

roialign = pytest.importorskip(
    "onnx.backend.test.case.node.roialign", reason="the `onnx` package is not installed"
)

MODES = {"half_pixel": True, "output_half_pixel": False}  # which of them is aligned


def vectors():
    """{name: (attributes, inputs, output)} as the onnx package generates them."""
    found = {}

    def expect(node, inputs, outputs, name):
        attributes = {a.name: getattr(a, {1: "f", 2: "i", 3: "s"}[a.type]) for a in node.attribute}
        found[name] = (attributes, inputs, outputs[0])

    original, roialign.expect = roialign.expect, expect
    try:
        for name in dir(roialign.RoiAlign):
            if name.startswith("export"):
                getattr(roialign.RoiAlign, name)()
    finally:
        roialign.expect = original
    return {
        name: vector for name, vector in found.items() if vector[0].get("mode", b"avg") == b"avg"
    }


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("name", ["test_roialign_aligned_false", "test_roialign_aligned_true"])
def test_vector(name, data_format):
    attributes, (features, rois, batch_indices), expected = vectors()[name]
    output = tf_roialign.roi_align(
        cases.from_nhwc(features.transpose(0, 2, 3, 1), data_format),
        rois,
        (attributes["output_height"], attributes["output_width"]),
        attributes["spatial_scale"],
        attributes["sampling_ratio"],
        MODES[attributes["coordinate_transformation_mode"].decode()],
        box_indices=batch_indices,
        data_format=data_format,
    )
    got = cases.to_nhwc(output.numpy(), data_format).transpose(0, 3, 1, 2)
    assert got.dtype == expected.dtype
    # The tolerance of ONNX's own test runner; inputs and outputs are given with 4 decimals.
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-7)


def test_there_is_no_other_vector_of_this_mode():
    """A new one, in a later onnx, should be run as well."""
    assert sorted(vectors()) == ["test_roialign_aligned_false", "test_roialign_aligned_true"]


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_against_the_onnx_reference_implementation(mode, ratio):
    """Random cases through onnx's own evaluator, whose RoiAlign is not derived from ours."""
    import onnx
    import onnx.reference

    rng = np.random.default_rng(cases.seed_of("onnx", mode, ratio))
    node = onnx.helper.make_node(
        "RoiAlign",
        ["X", "rois", "batch_indices"],
        ["Y"],
        coordinate_transformation_mode=mode,
        output_height=3,
        output_width=4,
        sampling_ratio=ratio,
        spatial_scale=0.5,
    )
    features = rng.standard_normal((2, 3, 9, 11))  # NCHW, float64
    boxes = cases.random_boxes(rng, 20, 9, 11, 0.5, "float64")
    extent = boxes[:, 2:] - boxes[:, :2]
    if ratio == 0 and MODES[mode]:
        boxes = boxes[(extent > 0).all(axis=1)]  # its evaluator fails where there is no sample
    boxes = boxes[np.abs(boxes).max(axis=1) < 200]  # it visits every sample, in Python
    indices = rng.integers(0, 2, len(boxes))
    (expected,) = onnx.reference.ReferenceEvaluator(node).run(
        None, {"X": features, "rois": boxes, "batch_indices": indices}
    )
    output = tf_roialign.roi_align(
        features,
        boxes,
        (3, 4),
        0.5,
        ratio,
        MODES[mode],
        box_indices=indices,
        data_format="NCHW",
    )
    np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-12)
    assert len(boxes) >= 10
