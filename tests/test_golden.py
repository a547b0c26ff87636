"""roi_align and its feature gradient give what torchvision gives: 180 cases, both layouts."""

import collections

import cases
import golden_data
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign


def error(got, expected):
    assert got.shape == expected.shape
    return np.abs(got - expected).max(initial=0)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("name", golden_data.names())
def test_forward_and_feature_gradient(name, data_format):
    case = golden_data.load(name)
    exact = case.input.dtype == np.float64

    def layout(array):
        return cases.from_nhwc(array.transpose(0, 2, 3, 1), data_format)

    features = tf.constant(layout(case.input))
    with tf.GradientTape() as tape:
        tape.watch(features)
        output = tf_roialign.roi_align(
            features,
            tf.constant(case.rois),
            case.output_size,
            case.spatial_scale,
            case.sampling_ratio,
            case.aligned,
            data_format=data_format,
        )
    gradient = tape.gradient(output, features, tf.constant(layout(case.grad_output)))

    assert output.dtype == gradient.dtype == case.input.dtype
    largest = np.abs(case.output).max(initial=0)
    assert error(output.numpy(), layout(case.output)) <= (1e-10 if exact else 2e-5) * largest
    largest = np.abs(case.grad_input).max(initial=0) if exact else case.grad_abs_max
    assert error(gradient.numpy(), layout(case.grad_input)) <= (1e-10 if exact else 2e-5) * largest


def test_the_cases_cover_every_kind():
    """A golden file that lost its interesting cases must not pass as one that has them."""
    seen = collections.Counter()
    for name in golden_data.names():
        case = golden_data.load(name)
        assert len(case.box_kind) == len(case.rois) == len(case.output)
        seen.update(set(case.box_kind))
        seen[case.input.dtype.name] += 1
        seen["aligned", case.aligned] += 1
        seen["ratio", case.sampling_ratio] += 1
        seen["scale", case.spatial_scale] += 1
        seen["no boxes"] += len(case.rois) == 0
        seen["one pixel"] += case.input.shape[2:] == (1, 1)
    kinds = [
        "inside",
        "border",
        "partly_outside",
        "outside",
        "rim",
        "edge_exact",
        "negative",
        "integer",
        "fractional",
        "full",
        "tiny",
        "degenerate_x",
        "degenerate_y",
        "degenerate_point",
        "malformed_x",
        "malformed_y",
        "malformed_both",
        "huge",
        "very_huge",
    ]
    expected = (
        kinds
        + ["float32", "float64", "no boxes", "one pixel"]
        + [("aligned", False), ("aligned", True)]
        + [("ratio", ratio) for ratio in (-1, 0, 1, 2, 3, 5)]
        + [("scale", scale) for scale in (0.0625, 0.25, 0.5, 1.0, 1.7)]
    )
    assert [key for key in expected if not seen[key]] == []
    assert len(golden_data.names()) == 180
