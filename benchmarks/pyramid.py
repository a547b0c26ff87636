"""Pyramids in one op against what people write around an op for one map; and mode "max".

    .venv/bin/python benchmarks/pyramid.py [--rounds 15] [--threads 2]

All run in turns in one process, as `tf.function`s; ratios are medians of the quotients of
neighbouring runs, with their quartiles. Above 1, the fused op is faster. `max / avg`: the time
of `mode="max"` over that of "avg". torchvision takes part if the Python of
`--peer-python` has it (NCHW, one call with as many threads as it can use).
"""

import argparse
import functools
import gc
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from workloads import pyramid

import tf_roialign
from tf_roialign import library


def pool_one(workload, features, boxes, images, level):
    return tf_roialign.roi_align(
        features[level],
        boxes,
        workload.output_size,
        workload.scales[level],
        workload.sampling_ratio,
        workload.aligned,
        box_indices=images,
    )


def fused(workload, features, mode="avg"):
    return tf_roialign.multiscale_roi_align(
        features,
        workload.boxes,
        workload.output_size,
        workload.scales,
        workload.sampling_ratio,
        workload.aligned,
        box_indices=workload.images,
        mode=mode,
    )


def grouped(workload, features):
    """Boxes grouped by level beforehand, outputs put in order."""
    order = np.argsort(workload.levels, kind="stable")
    parts = []
    for level in range(len(features)):
        rows = np.nonzero(workload.levels == level)[0]
        parts.append(
            pool_one(workload, features, workload.boxes[rows], workload.images[rows], level)
        )
    return tf.gather(tf.concat(parts, 0), np.argsort(order))


def looped(workload, features):
    """What is written by hand: a mask and a scatter for each level."""
    boxes, images = tf.constant(workload.boxes), tf.constant(workload.images)
    levels = tf.constant(workload.levels)
    size, channels = workload.output_size, features[0].shape[-1]
    output = tf.zeros([len(workload.boxes), size, size, channels])
    for level in range(len(features)):
        mask = tf.equal(levels, level)
        pooled = pool_one(
            workload, features, tf.boolean_mask(boxes, mask), tf.boolean_mask(images, mask), level
        )
        output = tf.tensor_scatter_nd_update(output, tf.where(mask), pooled)
    return output


def largest(workload, features):
    return fused(workload, features, mode="max")


CALLS = {"fused": fused, "grouped": grouped, "looped": looped, "max": largest}


def make_runs(workload):
    """{(name, op): function without arguments}."""
    features = [tf.constant(each) for each in workload.features()]
    upstream = tf.constant(workload.upstream())
    runs = {}
    for name, call in CALLS.items():
        forward = tf.function(lambda *maps, call=call: call(workload, list(maps)), autograph=False)

        @tf.function(autograph=False)
        def gradient(upstream, *maps, call=call):
            with tf.GradientTape() as tape:
                tape.watch(maps)
                output = call(workload, list(maps))
            # The forward is pruned where the gradient does not read it.
            return [tf.convert_to_tensor(g) for g in tape.gradient(output, maps, upstream)]

        runs[name, "forward"] = lambda f=forward: f(*features)
        runs[name, "gradient"] = lambda g=gradient: g(upstream, *features)
    return runs


class Torchvision:
    """`pyramid_torchvision.py`, which does one run at a time."""

    def __init__(self, python, name, threads):
        program = pathlib.Path(__file__).with_name("pyramid_torchvision.py")
        self._process = subprocess.Popen(
            [python, str(program), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.version = self._process.stdout.readline().strip()  # empty: it is not installed

    def seconds(self, op):
        self._process.stdin.write(op + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def check(runs):
    expected = runs["fused", "forward"]().numpy()
    for name in ("grouped", "looped"):
        np.testing.assert_array_equal(runs[name, "forward"]().numpy(), expected)
    expected = runs["fused", "gradient"]()
    for got, wanted in zip(runs["grouped", "gradient"](), expected, strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(runs, op, rounds, peer):
    timers = {name: functools.partial(seconds, run) for (name, of), run in runs.items() if of == op}
    if peer.version:
        timers["torchvision"] = functools.partial(peer.seconds, op)
    names = list(timers)
    times = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name == "torchvision" and number > max(3, rounds // 4):
                continue
            took = timers[name]()
            if number:  # the first is a warm-up
                times[name].append(took)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workloads", default="P7,P14")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="one that has torchvision (default: this)"
    )
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gc.disable()
    print(f"tf_roialign {tf_roialign.__version__}, TensorFlow {tf.__version__}, ", end="")
    print(f"{library.simd_level()}, {options.threads} threads, float32, NHWC")
    for name in options.workloads.split(","):
        runs = make_runs(pyramid.by_name(name))
        check(runs)
        peer = Torchvision(options.peer_python, name, options.threads)
        print(peer.version or "torchvision is not installed")
        for op in ("forward", "gradient"):
            times = measure(runs, op, options.rounds, peer)
            ours = times["fused"]
            print(f"{name} {op:9} fused {1e3 * statistics.median(ours):8.2f} ms")
            for other, theirs in times.items():
                if other == "fused":
                    continue
                ratios = [b / a for a, b in zip(ours, theirs, strict=False)]
                low, middle, high = statistics.quantiles(ratios, n=4)
                label = "max / avg" if other == "max" else f"{other} / fused"
                print(f"    {label:20}{middle:8.2f}  ({low:.2f}..{high:.2f})", flush=True)
        peer.close()


if __name__ == "__main__":
    main()
