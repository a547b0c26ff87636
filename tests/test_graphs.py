"""The op inside what TensorFlow builds of ops: loops, maps, transformations, datasets, graphs."""

import cases
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

# Images, boxes per image: boxes in each form that can be stacked, for P iterations.
ITERATIONS, IMAGES = 4, 2
STACKABLE = ("indexed", "box_indices", "dense")


def make(form="indexed", dtype="float32", data_format="NHWC", seed=1, **kwargs):
    return cases.Problem(
        np.random.default_rng(seed),
        form=form,
        feature_dtype=dtype,
        data_format=data_format,
        images=IMAGES,
        count=6,
        scale=0.7,
        **kwargs,
    )


def stacked(form, data_format="NHWC", **kwargs):
    """P problems, and their features, boxes, indices and upstream gradients as four stacks."""
    problems = [make(form, data_format=data_format, seed=s, **kwargs) for s in range(ITERATIONS)]
    arguments = [problem.arguments("int64") for problem in problems]
    indices = [a.get("box_indices", tf.zeros([0], tf.int64)) for a in arguments]
    return problems, (
        tf.stack([problem.features for problem in problems]),
        tf.stack([a["boxes"] for a in arguments]),
        tf.stack(indices),
        tf.stack([problem.upstream for problem in problems]),
    )


def run_one(problem, features, boxes, box_indices):
    arguments = {"boxes": boxes}
    if problem.form == "box_indices":
        arguments["box_indices"] = box_indices
    return problem.run(features, **arguments)


def gradients_of_one(problem, features, boxes, box_indices, upstream):
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = run_one(problem, features, boxes, box_indices)
    return output, *tape.gradient(output, [features, boxes], upstream)


def assert_all_equal(got, expected):
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def each(problem, inputs, which=(True, True, True, True)):
    """The loop in Python; inputs that are not stacked are those of the first iteration."""
    results = []
    for i in range(ITERATIONS):
        chosen = [x[i] if own else x[0] for x, own in zip(inputs, which, strict=True)]
        results.append(gradients_of_one(problem, *chosen))
    return [tf.stack(column) for column in zip(*results, strict=True)]


# ---- Loops ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", STACKABLE)
def test_map_fn(form):
    (problem, *_), inputs = stacked(form)

    @tf.function
    def run(*inputs):
        return tf.map_fn(
            lambda one: gradients_of_one(problem, *one),
            inputs,
            fn_output_signature=(tf.float32, tf.float32, tf.float32),
        )

    assert_all_equal(run(*inputs), each(problem, inputs))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_while_loop_and_its_gradient(jit_compile):
    """A box regressor's loop: each step pools, and what it pools moves on."""
    problem = make("indexed")
    boxes = problem.arguments()["boxes"]

    def unrolled(features, boxes):
        total = tf.zeros([])
        for _ in range(3):
            pooled = problem.run(features, boxes=boxes)
            total += tf.reduce_sum(pooled * pooled)
            boxes += 0.01 * tf.reduce_mean(pooled * pooled)
        return total

    def looped(features, boxes):
        def body(i, boxes, total):
            pooled = problem.run(features, boxes=boxes)
            boxes.set_shape([6, 5])
            total += tf.reduce_sum(pooled * pooled)
            return i + 1, boxes + 0.01 * tf.reduce_mean(pooled * pooled), total

        # XLA wants a bound of what the gradient has to keep.
        return tf.while_loop(
            lambda i, *_: i < 3, body, (0, boxes, tf.zeros([])), maximum_iterations=3
        )[2]

    def gradients(function, features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            total = function(features, boxes)
        return total, *tape.gradient(total, [features, boxes])

    # The index column moves too, upwards and by less than 1: it stays the same image.
    got = tf.function(gradients, jit_compile=jit_compile)(looped, problem.features, boxes)
    for a, b in zip(got, gradients(unrolled, problem.features, boxes), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


# ---- vectorized_map -------------------------------------------------------------------------


@pytest.mark.parametrize("own", [(1, 1, 1, 1), (0, 1, 1, 1), (1, 0, 0, 1), (0, 0, 0, 1)])
@pytest.mark.parametrize("form", STACKABLE)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
def test_vectorized_map(data_format, form, own):
    """One call for all iterations; what an iteration does not own is the same for all."""
    (problem, *_), inputs = stacked(form, data_format)

    def run(mapped):
        mapped = iter(mapped)
        chosen = [next(mapped) if o else x[0] for x, o in zip(inputs, own, strict=True)]
        return gradients_of_one(problem, *chosen)

    got = tf.vectorized_map(
        run, [x for x, o in zip(inputs, own, strict=True) if o], fallback_to_while_loop=False
    )
    expected = each(problem, inputs, own)
    # Not mapped over at all: the same output for all, and not stacked.
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(tf.broadcast_to(a, b.shape), b)


def test_vectorized_map_of_unknown_sizes():
    (problem, *_), inputs = stacked("indexed")

    @tf.function(
        input_signature=[
            tf.TensorSpec([None] * 5),
            tf.TensorSpec([None, None, 5]),
            tf.TensorSpec([None, None], tf.int64),
            tf.TensorSpec([None] * 5),
        ]
    )
    def run(*inputs):
        return tf.vectorized_map(
            lambda one: gradients_of_one(problem, *one), inputs, fallback_to_while_loop=False
        )

    assert_all_equal(run(*inputs), each(problem, inputs))


def test_vectorized_map_without_a_known_form_falls_back():
    """Boxes of unknown rank: the while_loop that TensorFlow makes is right too."""
    (problem, *_), inputs = stacked("indexed")

    @tf.function(input_signature=[tf.TensorSpec([None] * 5), tf.TensorSpec(None)])
    def run(features, boxes):
        return tf.vectorized_map(lambda one: problem.run(one[0], boxes=one[1]), (features, boxes))

    assert_all_equal(run(*inputs[:2]), each(problem, inputs)[0])


@pytest.mark.parametrize("form", STACKABLE[:2])
def test_vectorized_map_refuses_a_bad_index(form):
    """An index beyond an iteration's own images must not reach the next iteration's."""
    (problem, *_), (features, boxes, indices, _) = stacked(form)
    if form == "indexed":
        boxes = tf.tensor_scatter_nd_update(boxes, [[1, 2, 0]], [float(IMAGES)])
    else:
        indices = tf.tensor_scatter_nd_update(indices, [[1, 2]], [IMAGES])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"an image index, must be in \[0"):
        tf.vectorized_map(
            lambda one: run_one(problem, *one),
            (features, boxes, indices),
            fallback_to_while_loop=False,
        )


def test_vectorized_map_inside_xla():
    (problem, *_), inputs = stacked("box_indices")

    @tf.function(jit_compile=True)
    def run(*inputs):
        return tf.vectorized_map(
            lambda one: gradients_of_one(problem, *one), inputs, fallback_to_while_loop=False
        )

    assert_all_equal(run(*inputs), each(problem, inputs))


@pytest.mark.parametrize("by", ["features", "boxes"])
def test_jacobian(by):
    """One vectorised gradient call against one call per output element."""
    problem = make("indexed", channels=2, output_size=(2, 1))
    features, boxes = problem.features, problem.arguments()["boxes"]
    source = {"features": features, "boxes": boxes}[by]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(source)
        output = problem.run(features, boxes=boxes)[:3]
        elements = tf.unstack(tf.reshape(output, [-1]))
    jacobian = tape.jacobian(output, source, experimental_use_pfor=True)
    rows = tf.stack([tape.gradient(element, source) for element in elements])
    np.testing.assert_allclose(
        tf.reshape(jacobian, rows.shape), rows, rtol=1e-6, atol=1e-6 * np.abs(rows).max()
    )


# ---- Transformations of gradients -----------------------------------------------------------


@pytest.mark.parametrize("in_function", [False, True])
def test_recompute_grad(in_function):
    """Gradient checkpoints: the forward pass is run again for the gradient."""
    problem = make("indexed")
    calls = []

    def block(features, boxes):
        calls.append(1)
        return tf.nn.relu(problem.run(tf.tanh(features), boxes=boxes))

    def gradients(block, features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            loss = tf.reduce_sum(tf.square(block(features, boxes)))
        return loss, *tape.gradient(loss, [features, boxes])

    inputs = (problem.features, problem.arguments()["boxes"])
    expected = gradients(block, *inputs)
    calls.clear()
    run = tf.function(gradients) if in_function else gradients
    got = run(tf.recompute_grad(block), *inputs)
    assert in_function or len(calls) == 2
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


# ---- Datasets and graphs --------------------------------------------------------------------


def test_dataset_map():
    (problem, *_), (features, boxes, *_) = stacked("indexed")
    dataset = tf.data.Dataset.from_tensor_slices((features, boxes)).map(
        lambda features, boxes: problem.run(features, boxes=boxes), num_parallel_calls=2
    )
    assert dataset.element_spec.shape == [6, 3, 2, 5]
    expected = [problem.run(features[i], boxes=boxes[i]) for i in range(ITERATIONS)]
    assert_all_equal(list(dataset), expected)


def test_dataset_map_of_ragged_boxes():
    """The boxes of a batch, in the input pipeline."""
    problem = make("ragged")
    images = tf.data.Dataset.from_tensor_slices(problem.features)
    boxes = tf.data.Dataset.from_tensor_slices(problem.arguments()["boxes"])
    dataset = (
        tf.data.Dataset.zip(images, boxes)
        .ragged_batch(IMAGES)
        .map(lambda images, boxes: problem.run(_dense(images), boxes=boxes))
    )
    assert_all_equal(list(dataset), [problem.run()])


def _dense(images):
    return images.to_tensor() if isinstance(images, tf.RaggedTensor) else images


@pytest.mark.parametrize("known", [True, False])
def test_graph_def_round_trip(known):
    """A plain GraphDef, serialized: no Python of this package in it but the ops' names."""
    problem = make("indexed")
    inputs = [problem.features, problem.arguments()["boxes"], problem.upstream]
    shapes = [x.shape if known else tf.TensorShape(None) for x in inputs]
    graph = tf.Graph()
    with graph.as_default():
        features, boxes, upstream = [
            tf.compat.v1.placeholder(x.dtype, shape, name)
            for x, shape, name in zip(inputs, shapes, ("f", "b", "g"), strict=True)
        ]
        output = problem.run(features, boxes=boxes)
        by_features, by_boxes = tf.gradients(output, [features, boxes], upstream)
        for tensor, name in ((output, "y"), (by_features, "df"), (by_boxes, "db")):
            tf.identity(tensor, name)
    text = graph.as_graph_def().SerializeToString()

    imported = tf.Graph()
    with imported.as_default():
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef.FromString(text), name="again")
    with tf.compat.v1.Session(graph=imported) as session:
        got = session.run(
            ["again/y:0", "again/df:0", "again/db:0"],
            {f"again/{n}:0": x.numpy() for n, x in zip("fbg", inputs, strict=True)},
        )
    assert_all_equal(
        got, gradients_of_one(problem, inputs[0], inputs[1], tf.zeros([0], tf.int64), inputs[2])
    )


def test_imported_graph_can_be_differentiated():
    """The gradients are registered by the ops' names, so an imported graph has them as well."""
    problem = make("indexed")
    features, boxes = problem.features, problem.arguments()["boxes"]
    concrete = tf.function(lambda f, b: problem.run(f, boxes=b)).get_concrete_function(
        features, boxes
    )
    graph_def = concrete.graph.as_graph_def().SerializeToString()
    names = [tensor.name for tensor in (*concrete.inputs, *concrete.outputs)]

    def imported(features, boxes):
        (output,) = tf.graph_util.import_graph_def(
            tf.compat.v1.GraphDef.FromString(graph_def),
            input_map=dict(zip(names[:2], (features, boxes), strict=True)),
            return_elements=names[2:],
        )
        return output

    @tf.function
    def gradients(features, boxes, upstream):
        output = imported(features, boxes)
        return output, *tf.gradients(output, [features, boxes], upstream)

    expected = gradients_of_one(problem, features, boxes, None, problem.upstream)
    assert_all_equal(gradients(features, boxes, problem.upstream), expected)


DETERMINISM_PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
import cases
tf.keras.utils.set_random_seed(1)
if sys.argv[2] == "1":
    tf.config.experimental.enable_op_determinism()
results = []
for data_format in cases.LAYOUTS:
    rng = np.random.default_rng(3)
    problem = cases.Problem(rng, count=60, channels=33, data_format=data_format)
    boxes = tf.constant(problem.box_values)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([boxes, problem.upstream])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([problem.features, boxes])
            output = problem.run(boxes=boxes, box_indices=problem.indices)
        gradients = tape.gradient(output, [problem.features, boxes], problem.upstream)
    twice = outer.gradient(gradients[0], [boxes, problem.upstream], problem.features)
    results += [output, *gradients, *twice]
np.savez(sys.argv[1], *[tensor.numpy() for tensor in results])
"""


def test_op_determinism(tmp_path):
    """Nothing here is refused, and nothing changes: it is deterministic without."""
    bits = []
    for enabled in "01":
        path = tmp_path / f"{enabled}.npz"
        programs.run(DETERMINISM_PROGRAM, path, enabled)
        with np.load(path) as got:
            bits.append([got[key].tobytes() for key in got.files])
    assert len(bits[0]) == 10
    assert bits[0] == bits[1]


def test_unknown_ranks():
    """Nothing is known when the graph is built; everything is checked when it runs."""

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    def run(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = tf_roialign.roi_align(features, boxes, (3, 2), 0.7)
        return output, *tape.gradient(output, [features, boxes])

    for form in ("indexed", "dense"):
        problem = make(form)
        boxes = problem.arguments()["boxes"]
        expected = gradients_of_one(
            problem, problem.features, boxes, None, tf.ones_like(problem.upstream)
        )
        assert_all_equal(run(problem.features, boxes), expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`features` must have shape"):
        run(problem.features[0], boxes)


def test_vectorized_dense_boxes_need_one_row_per_image():
    """Not even a map of one image may stand for all rows."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8, 8, 3], tf.float32),
            tf.TensorSpec([4, None, 5, 4], tf.float32),
        ]
    )
    def pool(features, boxes):
        return tf.vectorized_map(lambda b: tf_roialign.roi_align(features, b, 2), boxes)

    features = tf.ones([1, 8, 8, 3])
    assert pool(features, tf.ones([4, 1, 5, 4])).shape == [4, 1, 5, 2, 2, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        pool(features, tf.ones([4, 2, 5, 4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        pool(tf.ones([2, 8, 8, 3]), tf.ones([4, 1, 5, 4]))
