"""The ops compiled by XLA: what they give outside it, to the bit; errors; clusters; threads."""

import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil

import cases
import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign import library, raw_ops


def test_the_library_for_xla_is_there():
    assert library.xla_problem is None
    assert pathlib.Path(library.xla_library_path()).is_file()


def everything(problem, features, boxes, box_indices, upstream, weights):
    """Forward, both gradients, and both gradients of the feature gradient."""
    arguments = {"boxes": boxes}
    if box_indices is not None:
        arguments["box_indices"] = box_indices
    # Of ragged boxes, a list or a tensor: what can be watched.
    coordinates = tf.nest.flatten(boxes, expand_composites=True)
    coordinates = [tensor for tensor in coordinates if tensor.dtype.is_floating]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([*coordinates, upstream])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([features, *coordinates])
            output = problem.run(features, **arguments)
        by_features = tape.gradient(output, features, upstream)
        by_boxes = tape.gradient(output, coordinates, upstream)
    twice = outer.gradient(by_features, [upstream, *coordinates], weights)
    return [output, by_features, *by_boxes, *twice]


def inputs_of(problem, index_dtype="int32"):
    """The arguments of `everything` after the problem."""
    arguments = problem.arguments(index_dtype)
    rng = np.random.default_rng(9)
    weights = tf.cast(
        tf.constant(rng.standard_normal(problem.features.shape)), problem.features.dtype
    )
    return (
        problem.features,
        arguments["boxes"],
        arguments.get("box_indices"),
        problem.upstream,
        weights,
    )


def jit(problem, **options):
    return tf.function(
        lambda *inputs: everything(problem, *inputs), autograph=False, jit_compile=True, **options
    )


def assert_same(got, expected):
    got, expected = tf.nest.flatten(got), tf.nest.flatten(expected)
    assert len(got) == len(expected) >= 5
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert cases.as_bytes(a) == cases.as_bytes(b), f"result {number}"


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", cases.FEATURE_DTYPES)
def test_as_outside_xla(dtype, data_format, aligned, ratio, form):
    seed = cases.seed_of(dtype, data_format, aligned, ratio, form)
    problem = cases.Problem(
        np.random.default_rng(seed),
        form=form,
        feature_dtype=dtype,
        box_dtype="float64" if aligned else "float32",
        data_format=data_format,
        scale=0.7,
        ratio=ratio,
        aligned=aligned,
    )
    inputs = inputs_of(problem, "int64" if ratio > 0 else "int32")
    expected = everything(problem, *inputs)
    assert_same(jit(problem)(*inputs), expected)
    # That this is RoIAlign at all:
    rtol, atol = cases.tolerance(dtype, problem.box_dtype, np.abs(problem.feature_values).max())
    cases.assert_close(problem.values(expected[0]), problem.expected(), rtol=rtol, atol=atol)


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_other_numbers_of_boxes(data_format, count):
    """None, one, and enough for several blocks of work."""
    problem = cases.Problem(
        np.random.default_rng(count), count=count, data_format=data_format, channels=37
    )
    inputs = inputs_of(problem)
    assert_same(jit(problem)(*inputs), everything(problem, *inputs))


@pytest.mark.parametrize("shape", [(2, 5, 6, 0), (0, 5, 6, 3)])
def test_no_channels_or_no_images(shape):
    features, boxes = tf.zeros(shape), tf.zeros([0 if shape[0] == 0 else 3, 5])

    @tf.function(jit_compile=True)
    def run(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(features, boxes, 2)
        return output, *tape.gradient(output, [features, boxes])

    output, by_features, by_boxes = run(features, boxes)
    assert output.shape == [boxes.shape[0], 2, 2, shape[3]]
    assert by_features.shape == shape
    assert by_boxes.shape == boxes.shape and not by_boxes.numpy().any()


def test_a_box_that_is_not_finite():
    boxes = tf.constant([[0, 0.0, 0, 4, 4], [0, np.nan, 0, 4, 4], [0, 0, 0, np.inf, 4]])
    features = tf.random.stateless_normal([1, 5, 6, 3], [1, 2])

    def run(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(features, boxes, 2, aligned=True)
        return output, *tape.gradient(output, [features, boxes])

    expected = run(features, boxes)
    assert np.isnan(expected[0][1:]).all() and np.isfinite(expected[0][0]).all()
    for a, b in zip(tf.function(run, jit_compile=True)(features, boxes), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", cases.FORMS)
def test_one_function_for_several_sizes(form):
    """A function of unknown shapes is traced once, and compiled for each of the shapes."""
    problems = [
        cases.Problem(np.random.default_rng(images), form=form, images=images, count=4 * images)
        for images in (2, 3, 5)
    ]
    run = tf.function(
        lambda *inputs: everything(problems[0], *inputs),
        autograph=False,
        jit_compile=True,
        reduce_retracing=True,
    )
    for problem in problems:
        inputs = inputs_of(problem)
        assert_same(run(*inputs), everything(problem, *inputs))
    # A list of another length is another signature.
    assert run.experimental_get_tracing_count() == (3 if form == "list" else 2)


def test_other_row_lengths_are_not_compiled_again():
    """Ragged boxes: what XLA compiled for K boxes of N images serves every split of them."""
    problem = cases.Problem(np.random.default_rng(2), form="ragged")
    flat = problem.arguments()["boxes"].flat_values
    compiled = []
    run = tf.function(lambda features, boxes: problem.run(features, boxes=boxes), jit_compile=True)
    for lengths in ([12, 0, 0], [0, 5, 7], [4, 4, 4], [0, 0, 12]):
        boxes = tf.RaggedTensor.from_row_lengths(flat, lengths)
        np.testing.assert_array_equal(run(problem.features, boxes), problem.run(boxes=boxes))
        # A constant in the compiled program would be the row lengths.
        text = run.experimental_get_compiler_ir(problem.features, boxes)(stage="hlo")
        compiled.append(re.sub(r"metadata=\{.*?\}|HloModule \S+", "", text))
    assert len(set(compiled)) == 1


def test_an_input_signature_without_sizes():
    @tf.function(
        jit_compile=True,
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, 5])],
    )
    def run(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = tf_roialign.roi_align(features, boxes, 2, aligned=True)
        return output, tape.gradient(output, features)

    for images, count in itertools.product((1, 2), (1, 4)):
        problem = cases.Problem(
            np.random.default_rng(count),
            form="indexed",
            images=images,
            count=count,
            output_size=(2, 2),
            aligned=True,
        )
        output, by_features = run(problem.features, problem.arguments()["boxes"])
        np.testing.assert_array_equal(output, problem.run())
        assert by_features.shape == problem.features.shape


def test_a_number_of_boxes_that_only_the_run_knows():
    """The boxes that a mask keeps: XLA knows no more than a bound of their number."""
    problem = cases.Problem(np.random.default_rng(5), form="indexed", count=20)
    boxes = problem.arguments()["boxes"]

    def run(features, boxes, smallest):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([features, boxes])
            kept = tf.boolean_mask(boxes, boxes[:, 3] - boxes[:, 1] > smallest)
            output = problem.run(features, boxes=kept)
            loss = tf.reduce_sum(tf.square(output))
        return output, loss, *tape.gradient(loss, [features, boxes])

    compiled = tf.function(run, jit_compile=True)
    counts = set()
    for smallest in (-100.0, 2.0, 1000.0):
        expected = run(problem.features, boxes, tf.constant(smallest))
        got = compiled(problem.features, boxes, tf.constant(smallest))
        counts.add(len(expected[0]))
        np.testing.assert_array_equal(got[0], expected[0])
        for a, b in zip(got[1:], expected[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert len(counts) == 3


def test_separate_indices_whose_number_only_the_run_knows():
    problem = cases.Problem(np.random.default_rng(6), form="box_indices", count=20)
    arguments = problem.arguments("int64")

    def run(features, boxes, box_indices):
        keep = tf.equal(box_indices, 1)
        return problem.run(
            features,
            boxes=tf.boolean_mask(boxes, keep),
            box_indices=tf.boolean_mask(box_indices, keep),
        )

    inputs = (problem.features, *arguments.values())
    expected = run(*inputs)
    assert 0 < len(expected) < 20
    np.testing.assert_array_equal(tf.function(run, jit_compile=True)(*inputs), expected)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("result", ["output", "by_features", "by_boxes"])
def test_a_program_may_end_with_the_op(result, form):
    """With nothing behind it XLA once read the op's configuration as its own."""
    problem = cases.Problem(np.random.default_rng(4), form=form)

    def run(features, boxes, box_indices, upstream, _):
        indices = {} if box_indices is None else {"box_indices": box_indices}
        with tf.GradientTape() as tape:
            tape.watch((features, boxes))
            output = problem.run(features, boxes=boxes, **indices)
        if result == "output":
            return output
        of = features if result == "by_features" else tf.nest.flatten(boxes, True)[0]
        return tape.gradient(output, of, upstream)

    inputs = inputs_of(problem)
    np.testing.assert_array_equal(tf.function(run, jit_compile=True)(*inputs), run(*inputs))


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "qint8", "quint8", "qint32"])
def test_codes_are_those_outside_xla(dtype, data_format, form):
    """On one map and on two; scale and zero point known when it compiles, and not."""
    rng = np.random.default_rng(cases.seed_of("codes", dtype, data_format, form))
    problem = cases.Problem(rng, form=form, data_format=data_format, output_size=(3, 2), scale=0.7)
    plain = dtype.removeprefix("q")
    limits = np.iinfo(plain)
    codes = [
        tf.constant(rng.integers(limits.min, limits.max, problem.features.shape, plain, True))
        for _ in range(2)
    ]
    if dtype != plain:
        codes = [tf.bitcast(each, dtype) for each in codes]
    arguments = problem.arguments("int64")
    attributes = {"output_size": (3, 2), "data_format": data_format}
    levels = {"spatial_scales": [0.7, 0.3], "canonical_scale": 3, "canonical_level": 1}

    def one(codes, arguments, scale, zero_point):
        return tf_roialign.quantized_roi_align(
            codes[0], scale=scale, zero_point=zero_point, **arguments, **attributes
        )

    def many(codes, arguments, scale, zero_point):
        return tf_roialign.quantized_multiscale_roi_align(
            codes, scale=scale, zero_point=zero_point, **arguments, **attributes, **levels
        )

    for run in (one, many):
        expected = run(codes, arguments, 0.3, 5)
        assert expected.dtype == dtype
        assert np.unique(np.frombuffer(expected.numpy().tobytes(), plain)).size > 10
        inputs = codes, arguments, tf.constant(0.3), tf.constant(5)
        got = tf.function(run, jit_compile=True)(*inputs)
        assert cases.as_bytes(got) == cases.as_bytes(expected)
        known = tf.function(lambda *inputs, run=run: run(*inputs, 0.3, 5), jit_compile=True)
        assert cases.as_bytes(known(codes, arguments)) == cases.as_bytes(expected)


def test_errors_of_codes_are_those_outside_xla():
    def run(scale, zero_point):
        return tf_roialign.quantized_roi_align(
            tf.zeros([1, 4, 4, 1], tf.int8),
            tf.zeros([1, 5]),
            2,
            scale=scale,
            zero_point=zero_point,
        )

    for scale, zero_point in ((0.0, 0), (np.nan, 0), (1.0, 128)):
        inputs = tf.constant(scale), tf.constant(zero_point)
        with pytest.raises(tf.errors.InvalidArgumentError) as outside:
            run(*inputs)
        with pytest.raises(tf.errors.InvalidArgumentError) as inside:
            tf.function(run, jit_compile=True)(*inputs)
        sentence = re.search(r"`(scale|zero_point)` must .*?, got \S+", outside.value.message)[0]
        assert sentence in inside.value.message


def test_a_number_of_boxes_on_codes_that_only_the_run_knows():
    rng = np.random.default_rng(6)
    codes = tf.constant(rng.integers(-128, 128, [2, 7, 8, 5]), tf.int8)
    boxes = cases.Problem(rng, form="indexed", images=2, count=20).arguments()["boxes"]

    def run(codes, boxes):
        kept = tf.boolean_mask(boxes, boxes[:, 3] - boxes[:, 1] > 2)
        return tf_roialign.quantized_roi_align(codes, kept, 2, scale=0.5, zero_point=3)

    expected = run(codes, boxes)
    assert 0 < len(expected) < 20
    np.testing.assert_array_equal(tf.function(run, jit_compile=True)(codes, boxes), expected)


def test_features_whose_size_only_the_run_knows_are_refused():
    @tf.function(jit_compile=True)
    def run(features, boxes):
        features = tf.boolean_mask(features, features[:, 0, 0, 0] > 0)
        return tf_roialign.roi_align(features, boxes, 2)

    with pytest.raises(
        tf.errors.UnimplementedError, match="`features` must have a shape that is known when"
    ):
        run(tf.ones([3, 4, 4, 1]), tf.zeros([2, 5]))


def test_the_shape_of_a_gradient_may_be_an_argument():
    """XLA has to know its value when it compiles; it compiles again for another one."""

    @tf.function(jit_compile=True)
    def run(upstream, boxes, shape):
        indices = tf.zeros([0], tf.int32)
        return raw_ops.roi_align_grad(upstream, boxes, indices, shape, output_size=[2, 2])

    upstream, boxes = tf.ones([1, 2, 2, 3]), tf.constant([[0, 0.0, 0, 3, 3]])
    for shape in ([1, 5, 6, 3], [2, 7, 4, 3]):
        assert run(upstream, boxes, tf.constant(shape)).shape == shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="4 non-negative sizes"):
        run(upstream, boxes, tf.constant([1, -5, 6, 3]))


BAD_INDICES = {
    "too large": ({"boxes": [[0, 0.0, 0, 1, 1], [2, 0, 0, 1, 1]]}, "got 2"),
    "negative": ({"boxes": [[-1, 0.0, 0, 1, 1]]}, "got -1"),
    "nan": ({"boxes": [[np.nan, 0.0, 0, 1, 1]]}, "got -?nan"),
    "separate": ({"boxes": [[0.0, 0, 1, 1]] * 3, "box_indices": [0, 1, 7]}, "got 7"),
}


@pytest.mark.parametrize("name", BAD_INDICES)
def test_a_bad_image_index_is_the_same_error(name):
    arguments, text = BAD_INDICES[name]
    features = tf.ones([2, 4, 4, 1])

    def forward(features, arguments):
        return tf_roialign.roi_align(features, output_size=2, **arguments)

    def gradient(features, arguments):
        # From the upstream alone: no forward op that would fail first.
        indices = arguments.get("box_indices", tf.zeros([0], tf.int32))
        count = arguments["boxes"].shape[0]
        return raw_ops.roi_align_grad(
            tf.ones([count, 2, 2, 1]), arguments["boxes"], indices, [2, 4, 4, 1], output_size=[2, 2]
        )

    arguments = {key: tf.constant(value) for key, value in arguments.items()}
    for run in (forward, gradient):
        with pytest.raises(tf.errors.InvalidArgumentError, match=text) as outside:
            run(features, arguments)
        with pytest.raises(tf.errors.InvalidArgumentError, match=text) as inside:
            tf.function(run, jit_compile=True, autograph=False)(features, arguments)
        # The op's own sentence, without what TensorFlow puts around it.
        sentence = re.search(r"`box.*? must be in \[0, 2\), got \S+", outside.value.message)[0]
        assert sentence in inside.value.message
    # The process, and the library, go on.
    good = tf.constant([[1, 0.0, 0, 1, 1]])
    assert tf.function(forward, jit_compile=True)(features, {"boxes": good}).shape == [1, 2, 2, 1]


def test_shapes_that_do_not_fit_are_the_same_error():
    """Shapes that only the call knows: XLA finds it when it compiles."""

    @tf.function(
        jit_compile=True,
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, None])],
    )
    def run(features, boxes):
        return tf_roialign.roi_align(features, boxes, 2)

    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=re.escape("`boxes` must have shape [K, 5], [K, 4] or [N, M, 4], got [3, 6]"),
    ):
        run(tf.ones([1, 4, 4, 1]), tf.zeros([3, 6]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="height and width of at least 1"):
        run(tf.ones([1, 0, 4, 1]), tf.zeros([3, 5]))


@pytest.mark.parametrize("form", ["list", "ragged"])
def test_one_entry_per_image_is_checked_inside_xla_too(form):
    """XLA leaves out TensorFlow's assertions; the rule holds all the same."""
    boxes = tf.zeros([2, 1, 4])

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None] * 4)])
    def run(features):
        if form == "list":
            return tf_roialign.roi_align(features, tf.unstack(boxes), 2)
        ragged = tf.RaggedTensor.from_row_lengths(boxes[:, 0], [1, 1])
        return tf_roialign.roi_align(features, ragged, 2)

    assert run(tf.ones([2, 4, 4, 1])).shape == [2, 2, 2, 1]
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.ones([3, 4, 4, 1]))


def test_columns_of_a_list_are_checked_inside_xla_too():
    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None, None])])
    def run(boxes):
        return tf_roialign.roi_align(tf.ones([1, 4, 4, 1]), [boxes], 2)

    assert run(tf.zeros([4, 4])).shape == [4, 2, 2, 1]
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.zeros([4, 5]))


def test_from_many_threads():
    """Calls at the same time, more than there are threads to help them."""
    problem = cases.Problem(np.random.default_rng(8), count=200, channels=32)
    inputs = inputs_of(problem)
    run = jit(problem)
    expected = [cases.as_bytes(tensor) for tensor in run(*inputs)]

    def call(_):
        return [cases.as_bytes(tensor) for tensor in run(*inputs)] == expected

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        assert all(threads.map(call, range(96)))


def test_many_calls_in_one_function():
    """XLA:CPU may run independent calls at once, on the threads that they ask for help."""
    problem = cases.Problem(np.random.default_rng(8), count=100, channels=32)

    def run(features):
        return tf.add_n([problem.run(features * float(i)) for i in range(24)])

    np.testing.assert_allclose(
        tf.function(run, jit_compile=True)(problem.features), run(problem.features), rtol=1e-5
    )


THREADS_PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import test_xla
for data_format in ("NHWC", "NCHW"):
    problem = test_xla.large_problem(data_format)
    results = test_xla.jit(problem)(*test_xla.inputs_of(problem))
    np.savez(sys.argv[2] + data_format, *[tensor.numpy() for tensor in results])
"""


def large_problem(data_format):
    return cases.Problem(np.random.default_rng(3), count=150, channels=19, data_format=data_format)


@pytest.mark.parametrize("threads", [1, 5])
def test_any_number_of_threads_gives_the_same_bits(threads, tmp_path):
    programs.run(THREADS_PROGRAM, threads, f"{tmp_path}/")
    for data_format in cases.LAYOUTS:
        problem = large_problem(data_format)
        expected = everything(problem, *inputs_of(problem))
        with np.load(tmp_path / f"{data_format}.npz") as got:
            assert [got[key].tobytes() for key in got.files] == [
                tensor.numpy().tobytes() for tensor in expected
            ]


def test_imported_after_tensorflow_was_used():
    """Also after XLA: its devices and kernels have been listed by then."""
    program = """
import tensorflow as tf
assert tf.reduce_sum(tf.ones([2])).numpy() == 2
assert tf.function(lambda x: x * 2, jit_compile=True)(tf.ones([2])).numpy().sum() == 4
import numpy as np
import cases, test_xla
problem = cases.Problem(np.random.default_rng(3))
inputs = test_xla.inputs_of(problem)
test_xla.assert_same(test_xla.jit(problem)(*inputs), test_xla.everything(problem, *inputs))
print("same")
"""
    # What `import test_xla` imports before is imported after TensorFlow was used, too.
    assert programs.run(program).stdout.split() == ["same"]


def test_auto_clustering(tmp_path):
    """Forward and gradients inside a cluster: XLA's own dump names our calls."""
    program = """
import numpy as np
import tensorflow as tf
tf.config.optimizer.set_jit("autoclustering")
import cases
problem = cases.Problem(np.random.default_rng(3), form="indexed")

def step(features, boxes, weight):
    with tf.GradientTape() as tape:
        tape.watch([boxes, weight])
        output = problem.run(tf.nn.relu(features * weight), boxes=boxes)
        loss = tf.reduce_sum(tf.square(output) * 3.0)
    return tape.gradient(loss, [boxes, weight])

inputs = (problem.features, problem.arguments()["boxes"], tf.constant(2.0))
for got, expected in zip(tf.function(step)(*inputs), step(*inputs)):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
"""
    programs.run(
        program,
        TF_XLA_FLAGS="--tf_xla_cpu_global_jit --tf_xla_enable_lazy_compilation=false",
        XLA_FLAGS=f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text",
    )
    dump = "".join(path.read_text() for path in tmp_path.glob("*after_optimizations.txt"))
    for call in ("RoiAlign", "RoiAlignGrad", "RoiAlignBoxesGrad"):
        assert f'custom_call_target="TfRoialign>{call}"' in dump


@pytest.mark.parametrize("ragged", [False, True])
def test_keras_fit(ragged):
    """A model trained with jit_compile=True gets the weights of one without."""
    rng = np.random.default_rng(7)
    images = rng.standard_normal((8, 12, 12, 3)).astype("float32")
    corners = rng.uniform(0, 6, (8, 3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 6, (8, 3, 2))], -1).astype("float32")
    labels = rng.integers(0, 4, 24).astype("int32")

    def fit(jit_compile):
        keras.utils.set_random_seed(1)
        image = keras.Input((12, 12, 3))
        box = keras.Input((None, 4), ragged=True) if ragged else keras.Input((3, 4))
        features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
        pooled = tf_roialign.RoIAlign(2, 0.5, 2, aligned=True)(features, box)
        if not ragged:
            pooled = keras.layers.Reshape((3, -1))(pooled)
        else:
            pooled = keras.layers.Flatten()(pooled)
        model = keras.Model([image, box], keras.layers.Dense(4)(pooled))
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit_compile,
        )
        assert model.jit_compile is jit_compile

        def batch(i):
            part = slice(4 * i, 4 * i + 4)
            truth = labels[12 * i : 12 * i + 12]
            if not ragged:
                return (images[part], boxes[part]), truth.reshape(4, 3)
            lengths = [1 + i, 5 - i, 0, 6]
            flat = boxes[part].reshape(-1, 4)
            return (images[part], tf.RaggedTensor.from_row_lengths(flat, lengths)), truth

        for _ in range(2):
            for i in range(2):
                inputs, truth = batch(i)
                data = tf.data.Dataset.from_tensors((inputs, truth))
                model.fit(data, epochs=1, verbose=0)
        return model.get_weights()

    for got, expected in zip(fit(True), fit(False), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_without_the_library_for_xla(tmp_path):
    """All else works; the layer, the report and the error say what does not, and why."""
    package = pathlib.Path(tf_roialign.__file__).parent
    copy = tmp_path / "tf_roialign"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*_xla_*.so"))
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import tensorflow as tf
import tf_roialign
assert tf_roialign.__file__.startswith({str(tmp_path)!r})

def run(features, boxes):
    return tf_roialign.roi_align(features, boxes, 2)

inputs = (tf.ones([1, 4, 4, 1]), tf.constant([[0, 0.0, 0, 1, 1]]))
assert tf.function(run)(*inputs).shape == [1, 2, 2, 1]
import keras
images, boxes = keras.Input((4, 4, 1)), keras.Input((3, 4))
layer = tf_roialign.RoIAlign(2)
pooled = layer(images, boxes)  # as many boxes in every batch
print(layer.supports_jit)
try:
    tf.function(run, jit_compile=True)(*inputs)
except RuntimeError as error:
    print(str(error).strip().splitlines()[-1].strip())
from tf_roialign import __main__
__main__.main()

import warnings
model = keras.Model([images, boxes], keras.layers.Dense(2)(pooled))
with warnings.catch_warnings(record=True):
    model.compile("sgd", "mse", jit_compile=True)
model.fit((tf.ones([2, 4, 4, 1]), tf.ones([2, 3, 4])), tf.zeros([2, 3, 2, 2, 2]), verbose=0)
"""
    supports_jit, error, *report = programs.run(program).stdout.splitlines()
    why = (
        f"{pathlib.Path(library.xla_library_path()).name} is not there: the package was built "
        "without it "
        "(in a checkout, `make build` adds it)"
    )
    assert supports_jit == "False"
    assert error.startswith("RoIAlign cannot be compiled by XLA (jit_compile=True): ")
    assert error.endswith(why)
    assert [line for line in report if line.startswith("XLA ") and line.endswith(why)]


def test_a_library_for_xla_that_does_not_load(tmp_path):
    """One that was made for another TensorFlow, say: the import goes on and keeps the reason."""
    package = pathlib.Path(tf_roialign.__file__).parent
    copy = tmp_path / "tf_roialign"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*_xla_*.so"))
    name = pathlib.Path(library.xla_library_path()).name
    (copy / name).write_bytes(b"not a library")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import keras
import tf_roialign
from tf_roialign import library
layer = tf_roialign.RoIAlign(2)
layer(keras.Input((4, 4, 1)), keras.Input((3, 4)))
print(layer.supports_jit)
print(library.xla_problem)
"""
    supports_jit, why = programs.run(program).stdout.splitlines()
    assert supports_jit == "False"
    assert name in why


MEMORY_PROGRAM = """
import resource, sys
import tensorflow as tf
from tf_roialign import raw_ops
features, boxes = tf.ones([1, 4, 4, 1]), tf.constant([[0, 0.0, 0, 3, 3]])

def make(bins):
    def run(features, boxes):
        indices = tf.zeros([0], tf.int32)
        return raw_ops.roi_align(features, boxes, indices, output_size=[bins, 1])
    return tf.function(run, jit_compile=True)

small, large = make(3), make(6 * 10**7)
expected = small(features, boxes).numpy()
large.get_concrete_function(features, boxes)
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
# The output is 240 MB, the taps are more than a gigabyte.
resource.setrlimit(resource.RLIMIT_AS, (mapped + 700 * 2**20, before[1]))
try:
    large(features, boxes)
except tf.errors.ResourceExhaustedError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, before)
assert (small(features, boxes).numpy() == expected).all()
print("lives")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux' /proc")
def test_scratch_memory_that_is_not_there():
    lines = programs.run(MEMORY_PROGRAM).stdout.splitlines()
    assert lines[-1] == "lives"
    assert any("scratch space of RoIAlign with `output_size` [60000000, 1]" in x for x in lines)


def test_saved_model(tmp_path):
    """A function that XLA is to compile, saved here and run in a fresh process."""
    problem = cases.Problem(np.random.default_rng(4), form="ragged", output_size=(2, 2))
    module = tf.Module()
    module.run = tf.function(
        lambda features, boxes, lengths: problem.run(
            features, boxes=tf.RaggedTensor.from_row_lengths(boxes, lengths)
        ),
        jit_compile=True,
        input_signature=[
            tf.TensorSpec([None] * 4),
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([None], tf.int64),
        ],
    )
    boxes = problem.arguments()["boxes"]
    inputs = (problem.features, boxes.flat_values, boxes.row_lengths())
    tf.saved_model.save(module, str(tmp_path / "model"))
    np.savez(tmp_path / "inputs.npz", *[tensor.numpy() for tensor in inputs])
    program = """
import sys
import numpy as np
import tensorflow as tf
import tf_roialign
with np.load(sys.argv[1] + "/inputs.npz") as inputs:
    inputs = [tf.constant(inputs[key]) for key in inputs.files]
np.save(sys.argv[1] + "/output.npy", tf.saved_model.load(sys.argv[1] + "/model").run(*inputs))
"""
    programs.run(program, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "output.npy"), problem.run())
