"""What a call with few boxes costs around the kernel, for each form of boxes.

    .venv/bin/python benchmarks/small_calls.py [--threads 2] [--rounds 60] [--boxes 1,20,100]

Batch 1, features [1, 200, 272, 256] float32 NHWC (`one`), or P2 to P5 (`pyramid`), 7x7 bins. All
cases run in turns in one process, each in a burst of a few calls; times are medians over the
rounds, ratios medians of the quotients within a round: to `tf.identity` of the same output in the
same mode, and to the `[K, 5]` form. `raw op` is the op alone, with its inputs made beforehand:
what no Python can take away. `layer` is the Keras layer with `[K, 5]`.

Modes: `eager`; `function`, traced for the arguments at hand; `saved`, with numbers of boxes and
sizes of maps unknown, saved as a SavedModel and loaded again; `graph`, what was saved, called with
its tensors and no Python that sorts arguments, as a server does. Ops are those in the graph of a
mode, without placeholders and identities. `/passing`: to a function, or a Keras layer, with the
same arguments that does nothing, for TensorFlow takes longer to pass lists, and ragged tensors
above all.
"""

import argparse
import functools
import gc
import random
import statistics
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
import workloads

import tf_roialign
from tf_roialign import library

CHANNELS = 256
STRIDES = (4, 8, 16, 32)
SIZES = ((200, 272), (100, 136), (50, 68), (25, 34))
SCALES = [1 / stride for stride in STRIDES]
POOLING = {"output_size": (7, 7), "sampling_ratio": 2, "aligned": True}

MODES = ("eager", "function", "saved", "graph")
REFERENCE = "[K, 5]"
FORMS = (REFERENCE, "box_indices", "list", "ragged", "dense")
OTHERS = ("identity", "raw op", "layer")
PASSING = "passing "
NOT_COUNTED = ("Placeholder", "Identity", "IdentityN", "NoOp")


def boxes_in(form, rois):
    """The arguments after the features."""
    boxes = tf.constant(rois[:, 1:])
    return {
        "box_indices": lambda: (boxes, tf.constant(rois[:, 0].astype(np.int32))),
        "list": lambda: ([boxes],),
        "ragged": lambda: (tf.RaggedTensor.from_row_lengths(boxes, [len(rois)]),),
        "dense": lambda: (boxes[tf.newaxis],),
    }.get(form, lambda: (tf.constant(rois),))()


def public(levels, form):
    """The function that users call, of (features, boxes), or of the indices as well."""
    # No defaults: a tf.function takes longer to bind them.
    if levels == "one":
        call, scales = tf_roialign.roi_align, {"spatial_scale": SCALES[0]}
    else:
        call, scales = tf_roialign.multiscale_roi_align, {"spatial_scales": SCALES}
    if form == "box_indices":
        return lambda f, boxes, indices: call(f, boxes, box_indices=indices, **scales, **POOLING)
    return lambda features, boxes: call(features, boxes, **scales, **POOLING)


def raw(levels):
    """(the op of (features, boxes, *inputs), these inputs)."""
    no_indices = tf.zeros([0], tf.int32)
    attributes = {**POOLING, "data_format": "NHWC", "mode": "avg"}
    if levels == "one":
        attributes["spatial_scale"] = SCALES[0]
        return lambda *inputs: tf_roialign.raw_ops.roi_align(*inputs, **attributes), (no_indices,)
    attributes.update(canonical_scale=224.0, canonical_level=4)
    pairs = tf.constant([(scale, scale) for scale in SCALES], tf.float64)
    return (
        lambda *inputs: tf_roialign.raw_ops.multi_scale_roi_align(*inputs, **attributes),
        (no_indices, no_indices, pairs),
    )


def layer(levels):
    if levels == "one":
        return tf_roialign.RoIAlign(spatial_scale=SCALES[0], data_format="channels_last", **POOLING)
    return tf_roialign.MultiScaleRoIAlign(
        ["0", "1", "2", "3"], spatial_scales=SCALES, data_format="channels_last", **POOLING
    )


def without_sizes(argument):
    """What a server knows of an argument when it loads a model."""
    if isinstance(argument, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None, 4], argument.dtype, ragged_rank=1)
    known = {4: argument.shape[-1:], 3: [4], 2: argument.shape[-1:], 1: []}[argument.shape.rank]
    unknown = [None] * (argument.shape.rank - len(known))
    return tf.TensorSpec([*unknown, *known], argument.dtype)


def in_modes(function, arguments):
    """({mode: a call}, {mode: ops in its graph})."""
    traced = tf.function(function, autograph=False)
    specs = [
        [without_sizes(each) for each in argument]
        if isinstance(argument, list)
        else without_sizes(argument)
        for argument in arguments
    ]
    module = tf.Module()
    module.call = tf.function(function, autograph=False, input_signature=specs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        loaded = tf.saved_model.load(folder)
    concrete = module.call.get_concrete_function()
    saved_ops = count_ops(concrete)
    ops = {
        "function": count_ops(traced.get_concrete_function(*arguments)),
        "saved": saved_ops,
        "graph": saved_ops,
    }

    def graph(*arguments):
        flat = tf.nest.flatten(arguments, expand_composites=True)
        return functools.partial(concrete._call_flat, flat, concrete.captured_inputs)

    runs = {
        "eager": functools.partial(functools.partial, function),
        "function": functools.partial(functools.partial, traced),
        "saved": functools.partial(functools.partial, loaded.call),
        "graph": graph,
    }
    return {mode: run(*arguments) for mode, run in runs.items()}, ops


def passing(*arguments):
    return tf.identity(tf.nest.flatten(arguments, expand_composites=True)[-1])


class KerasPassing(keras.layers.Layer):
    """The same as a Keras layer."""

    def call(self, features, boxes):
        return passing(features, boxes)


def count_ops(concrete):
    return sum(op.type not in NOT_COUNTED for op in concrete.graph.get_operations())


def burst(run, calls):
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def make_cases(levels, rois, forms):
    """({(mode, what): a call}, {(mode, what): ops}); calls of `passing` have a prefix."""
    maps = [tf.random.stateless_normal([1, *size, CHANNELS], [4, size[0]]) for size in SIZES]
    features = maps[0] if levels == "one" else maps
    raw_op, rest = raw(levels)
    output = public(levels, REFERENCE)(features, *boxes_in(REFERENCE, rois))
    sources = {
        "identity": (tf.identity, (output,)),
        "raw op": (raw_op, (features, *boxes_in("raw op", rois), *rest)),
        **{form: (public(levels, form), (features, *boxes_in(form, rois))) for form in forms},
        "layer": (layer(levels), (features, *boxes_in("layer", rois))),
    }
    cases, ops = {}, {}
    for what, (run, arguments) in sources.items():
        in_mode, counts = in_modes(run, arguments)
        got = tf.reshape(run(*arguments), output.shape)
        np.testing.assert_array_equal(got, output)
        for mode in MODES:
            cases[mode, what] = in_mode[mode]
            ops[mode, what] = counts.get(mode)
        passes = KerasPassing() if what == "layer" else passing
        for mode, run in in_modes(passes, arguments)[0].items():
            cases[mode, PASSING + what] = run
    return cases, ops


def measure(cases, rounds, seconds):
    """{case: seconds of a call in each round}."""
    calls = {}
    for case, run in cases.items():
        burst(run, 3)
        calls[case] = max(1, min(50, round(seconds / burst(run, 3))))
    times = {case: [] for case in cases}
    order, rng = list(cases), random.Random(5)
    for _ in range(rounds):
        rng.shuffle(order)
        for case in order:
            times[case].append(burst(cases[case], calls[case]))
    return times


def ratio(times, over):
    return statistics.median(a / b for a, b in zip(times, over, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of one op (intra_op)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--boxes", default="1,20,100")
    parser.add_argument("--levels", default="one,pyramid")
    parser.add_argument("--forms", default=";".join(FORMS), help="separated by semicolons")
    parser.add_argument("--burst", type=float, default=1e-3, help="seconds of calls in a row")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gc.disable()
    print(f"tf_roialign {tf_roialign.__version__}, TensorFlow {tf.__version__}, ", end="")
    print(f"{library.simd_level()}, {options.threads} threads, microseconds of a call")
    forms = [REFERENCE, *(form for form in options.forms.split(";") if form != REFERENCE)]
    for levels in options.levels.split(","):
        for count in map(int, options.boxes.split(",")):
            rois = workloads.serving(count).rois
            cases, ops = make_cases(levels, rois, forms)
            times = measure(cases, options.rounds, options.burst)
            print(f"\n{levels}, {count} boxes")
            for mode in MODES:
                print(
                    f"{mode:14}{'median':>9}{'/identity':>11}{'/[K, 5]':>9}{'/raw op':>9}"
                    f"{'/passing':>10}{'ops':>5}"
                )
                of_mode = {what: times[mode, what] for m, what in cases if m == mode}
                for what, seconds in of_mode.items():
                    if what.startswith(PASSING):
                        continue
                    over = ("identity", REFERENCE, "raw op", PASSING + what)
                    ratios = [ratio(seconds, of_mode[each]) for each in over]
                    number = "" if ops[mode, what] is None else ops[mode, what]
                    print(
                        f"  {what:12}{1e6 * statistics.median(seconds):9.1f}"
                        f"{ratios[0]:11.2f}{ratios[1]:9.2f}{ratios[2]:9.2f}"
                        f"{ratios[3]:10.2f}{number:>5}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
