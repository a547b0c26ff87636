"""A great many boxes in one call, and a great many calls in one process."""

import cases
import numpy as np
import programs
import pytest
import tensorflow as tf

from tf_roialign import raw_ops

pytestmark = pytest.mark.slow

BOXES = 10**6
IMAGES, HEIGHT, WIDTH, CHANNELS = 4, 60, 80, 3


class Call:
    """`BOXES` boxes on small maps. Image 0 has `SAMPLE` of them alone, spread over the call."""

    SAMPLE = 500

    def __init__(self, data_format):
        rng = np.random.default_rng(5)
        self.attributes = {
            "output_size": (2, 2),
            "spatial_scale": 0.5,
            "sampling_ratio": 2,
            "aligned": True,
            "data_format": data_format,
        }
        values = rng.standard_normal((IMAGES, HEIGHT, WIDTH, CHANNELS), np.float32)
        self.features = tf.constant(cases.from_nhwc(values, data_format))
        corner = rng.uniform(-10, 150, (BOXES, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (BOXES, 2))], axis=1)
        self.boxes = boxes.astype(np.float32)
        self.sample = np.sort(rng.choice(BOXES, self.SAMPLE, replace=False))
        self.sample[[0, -1]] = 0, BOXES - 1
        self.indices = rng.integers(1, IMAGES, BOXES).astype(np.int32)
        self.indices[self.sample] = 0
        upstream = rng.standard_normal((BOXES, 2, 2, CHANNELS), np.float32)
        self.upstream = cases.from_nhwc(upstream, data_format)

    def boxes_at(self, places):
        return tf.constant(self.boxes[places]), tf.constant(self.indices[places])

    def forward(self, places):
        return raw_ops.roi_align(self.features, *self.boxes_at(places), **self.attributes)

    def feature_gradient(self, places):
        shape = tf.constant(self.features.shape.as_list())
        return raw_ops.roi_align_grad(
            self.upstream[places], *self.boxes_at(places), shape, **self.attributes
        )

    def box_gradient(self, places):
        return raw_ops.roi_align_boxes_grad(
            self.upstream[places], self.features, *self.boxes_at(places), **self.attributes
        )


@pytest.fixture(scope="module", params=cases.LAYOUTS)
def call(request):
    return Call(request.param)


ALL = slice(None)


@pytest.mark.parametrize("op", ["forward", "box_gradient"])
def test_each_box_as_if_alone(call, op):
    of_all = getattr(call, op)(ALL).numpy()
    assert len(of_all) == BOXES
    of_sample = getattr(call, op)(call.sample).numpy()
    assert np.abs(of_sample).max() > 0.5
    assert of_all[call.sample].tobytes() == of_sample.tobytes()
    for place in call.sample[:: call.SAMPLE // 10]:
        alone = getattr(call, op)(slice(place, place + 1)).numpy()
        assert of_all[place].tobytes() == alone[0].tobytes()


def test_feature_gradient_as_if_alone(call):
    """Image 0 has the boxes of the sample only; the others must not add to it."""
    of_all = call.feature_gradient(ALL).numpy()
    of_sample = call.feature_gradient(call.sample).numpy()
    assert of_all[0].tobytes() == of_sample[0].tobytes()
    assert not of_sample[1:].any()
    assert np.abs(of_all).reshape(IMAGES, -1).max(axis=1).min() > 1
    # The gradient is the forward the other way round, for all boxes together.
    forward = call.forward(ALL).numpy().astype(np.float64)
    difference = np.vdot(of_all, call.features.numpy().astype(np.float64)) - np.vdot(
        call.upstream, forward
    )
    assert abs(difference) < 1e-6 * np.linalg.norm(call.upstream) * np.linalg.norm(forward)


CALLS = 10**5
# What the resident memory may grow by in so many calls, after the warm-up.
BOUND_MB = 4

MANY_CALLS = """
import sys
import numpy as np
import tensorflow as tf
from tf_roialign import raw_ops

calls, bound = map(int, sys.argv[1:])

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

rng = np.random.default_rng(0)
attributes = {"output_size": (2, 2), "sampling_ratio": 2, "aligned": True}
ops = []
# Up to 20 boxes, and a few hundred, whose outputs are of those that are kept (256 KB).
for count in (0, 1, 2, 5, 20, 600):
    for data_format in ("NHWC", "NCHW"):
        sized = {**attributes, "data_format": data_format}
        shape = [2, 8, 9, 30] if data_format == "NHWC" else [2, 30, 8, 9]
        pooled = [count, 2, 2, 30] if data_format == "NHWC" else [count, 30, 2, 2]
        features = tf.constant(rng.standard_normal(shape), tf.float32)
        upstream = tf.constant(rng.standard_normal(pooled), tf.float32)
        corner = rng.uniform(0, 6, [count, 2])
        boxes = tf.constant(np.concatenate([corner, corner + 2], axis=1), tf.float32)
        indices = tf.constant(rng.integers(0, 2, count), tf.int32)
        sizes = tf.constant(shape)
        ops += [
            lambda f=features, b=boxes, i=indices, a=sized: raw_ops.roi_align(f, b, i, **a),
            lambda u=upstream, b=boxes, i=indices, s=sizes, a=sized:
                raw_ops.roi_align_grad(u, b, i, s, **a),
            lambda u=upstream, f=features, b=boxes, i=indices, a=sized:
                raw_ops.roi_align_boxes_grad(u, f, b, i, **a),
        ]
small, large = ops[:-6], ops[-6:]

def run(times):
    for i in range(times):
        (large[i // 50 % 6] if i % 50 == 0 else small[i % 30])()

run(calls // 10)
after_warm_up = resident()
run(calls)
grown = resident() - after_warm_up
print(f"{calls} calls: {after_warm_up:.1f} MB after the warm-up, then {grown:+.1f} MB")
assert grown < bound
"""


def test_memory_of_many_calls_is_flat():
    print(programs.run(MANY_CALLS, CALLS, BOUND_MB).stdout)
