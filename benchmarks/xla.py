"""What XLA costs: the ops in a `tf.function` with and without `jit_compile=True`.

    .venv/bin/python benchmarks/xla.py [--threads 2] [--rounds 15] [--layouts NHWC,NCHW]

Both functions run in turns in one process; the ratio is the median of the quotients of
neighbouring runs. Above 1, XLA is slower.
"""

import argparse
import gc
import statistics
import time

import numpy as np
import tensorflow as tf
import workloads
from peers import base
from peers.tf_roialign import op_attributes

import tf_roialign
from tf_roialign import library

OPS = (base.FORWARD, base.GRADIENT, base.BOX_GRADIENT)


def function(workload, op, layout):
    """(a Python function of tensors, its arguments)."""
    features = tf.constant(workload.features(layout))
    upstream = tf.constant(workload.upstream(layout))
    boxes = tf.constant(workload.rois)
    box_indices = tf.zeros([0], tf.int32)  # they are in the boxes
    attributes = op_attributes(workload, layout)
    raw = tf_roialign.raw_ops
    if op == base.FORWARD:
        return lambda f, b: raw.roi_align(f, b, box_indices, **attributes), (features, boxes)
    if op == base.GRADIENT:
        shape = features.shape.as_list()
        return (
            lambda u, b: raw.roi_align_grad(u, b, box_indices, shape, **attributes),
            (upstream, boxes),
        )
    return (
        lambda u, f, b: raw.roi_align_boxes_grad(u, f, b, box_indices, **attributes),
        (upstream, features, boxes),
    )


def seconds(run, arguments):
    start = time.perf_counter()
    run(*arguments).device  # noqa: B018  (a function that XLA compiled has run when it returns)
    return time.perf_counter() - start


def compare(workload, op, layout, rounds):
    """(median seconds outside XLA, inside, median ratio, its quartiles)."""
    python_function, arguments = function(workload, op, layout)
    plain = tf.function(python_function, autograph=False)
    jit = tf.function(python_function, autograph=False, jit_compile=True)
    np.testing.assert_array_equal(plain(*arguments), jit(*arguments))
    pairs = []
    for number in range(rounds):
        order = (plain, jit) if number % 2 else (jit, plain)
        times = {run: seconds(run, arguments) for run in order}
        pairs.append((times[plain], times[jit]))
    ratios = [jit_time / plain_time for plain_time, jit_time in pairs]
    low, _, high = statistics.quantiles(ratios, n=4)
    plain_times, jit_times = zip(*pairs, strict=True)
    median = statistics.median
    return median(plain_times), median(jit_times), median(ratios), low, high


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layouts", default="NHWC,NCHW")
    parser.add_argument("--workloads", default=",".join((*workloads.STORED, *workloads.SERVING)))
    options = parser.parse_args()
    if library.xla_problem:
        raise SystemExit(f"XLA cannot compile the ops: {library.xla_problem}")
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gc.disable()
    print(f"tf_roialign {tf_roialign.__version__}, TensorFlow {tf.__version__}, ", end="")
    print(f"{library.simd_level()}, {options.threads} threads, float32, milliseconds")
    print(f"{'':20}{'outside':>10}{'in XLA':>10}{'ratio':>8}  quartiles")
    for name in options.workloads.split(","):
        workload = workloads.by_name(name)
        for layout in options.layouts.split(","):
            for op in OPS:
                plain, jit, ratio, low, high = compare(workload, op, layout, options.rounds)
                print(
                    f"{name} {layout} {op:12}{1e3 * plain:10.2f}{1e3 * jit:10.2f}"
                    f"{ratio:8.2f}  {low:.2f}..{high:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
