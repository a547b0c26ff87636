"""The reference itself: against torchvision's results, and its gradients against differences."""

import cases
import golden_data
import numpy as np
import pytest
import reference


@pytest.mark.parametrize("name", golden_data.names())
def test_agrees_with_torchvision(name):
    case = golden_data.load(name)
    exact = case.rois.dtype == np.float64
    features = case.input.transpose(0, 2, 3, 1)
    settings = {
        "output_size": case.output_size,
        "scale": case.spatial_scale,
        "ratio": case.sampling_ratio,
        "aligned": case.aligned,
        "geometry": case.rois.dtype.type,
    }
    boxes, indices = case.rois[:, 1:], case.rois[:, 0].astype(int)

    output = reference.forward(features, boxes, indices, **settings)
    assert output.shape == case.output.transpose(0, 2, 3, 1).shape
    error = np.abs(output - case.output.transpose(0, 2, 3, 1)).max(initial=0)
    assert error <= (1e-14 if exact else 1e-6) * np.abs(case.output).max(initial=0)

    upstream = case.grad_output.transpose(0, 2, 3, 1)
    gradient = reference.feature_gradient(upstream, boxes, indices, features.shape, **settings)
    error = np.abs(gradient - case.grad_input.transpose(0, 2, 3, 1)).max(initial=0)
    assert error <= (1e-14 if exact else 5e-6) * case.grad_abs_max


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 1, 2, 3])
def test_gradients_match_finite_differences(ratio, aligned):
    rng = np.random.default_rng(cases.seed_of("reference", ratio, aligned))
    problem = cases.Problem(
        rng, box_dtype="float64", ratio=ratio, aligned=aligned, scale=0.3, smooth=True
    )
    features, upstream = problem.feature_values, problem.upstream_values

    def loss(features, boxes):
        output = reference.forward(features, boxes, problem.indices, **problem.geometry)
        return (output * upstream).sum()

    # Linear in the features: one difference along a random direction says it all.
    direction = rng.standard_normal(features.shape)
    slope = loss(direction, problem.box_values)
    assert abs(slope - (problem.expected_feature_gradient() * direction).sum()) < 1e-10

    step = 1e-4
    expected = np.zeros_like(problem.box_values)
    for k, c in np.ndindex(expected.shape):
        moved = np.zeros_like(expected)
        moved[k, c] = step
        expected[k, c] = (
            loss(features, problem.box_values + moved) - loss(features, problem.box_values - moved)
        ) / (2 * step)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(problem.expected_box_gradient(), expected, atol=1e-9)


def test_a_giant_box_takes_the_samples_that_a_plain_loop_takes():
    """The range of samples is solved for; here it is compared with visiting all of them."""
    for c1, c2 in ((-3000.25, 2000.5), (-5.0, 9000.0), (0.1, 4.7)):
        for geometry in (np.float32, np.float64):
            axis = reference.axis_of_box(c1, c2, 6, 3, 1.0, 0, True, geometry)
            t_ = geometry
            start = t_(c1) - t_(0.5)
            size = ((t_(c2) - t_(0.5)) - start) / t_(3)
            every = [
                start + t_(p) * size + (t_(t) + t_(0.5)) * size / t_(axis.grid)
                for p in range(3)
                for t in range(axis.grid)
            ]
            assert axis.samples == [float(v) for v in every if -1 <= v <= 6]
            assert 0 < len(axis.samples) < 30


@pytest.mark.parametrize("count", [1, 4, len(cases.BOX_KINDS), len(cases.BOX_KINDS) + 3])
def test_random_boxes_are_of_every_kind(count):
    """A few boxes may be of any kind, and as many as there are kinds are of all."""
    rng = np.random.default_rng(count)
    draws = [set(cases.random_kinds(rng, count)) for _ in range(200)]
    assert set.union(*draws) == set(cases.BOX_KINDS)
    assert all(len(kinds) == min(count, len(cases.BOX_KINDS)) for kinds in draws)
