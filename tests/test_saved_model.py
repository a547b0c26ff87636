"""SavedModels: loaded in a fresh process that only imports tf_roialign, equal to the bit."""

import cases
import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

# Loads a SavedModel and runs each of its functions on its saved inputs; keeps the outputs.
PROGRAM = """
import sys
import numpy as np
import tf_roialign
import tensorflow as tf
folder = sys.argv[1]
for name in sys.argv[2:]:
    model = tf.saved_model.load(folder + "/" + name)
    inputs = np.load(folder + "/" + name + "-inputs.npz")
    inputs = [tf.constant(inputs[key]) for key in sorted(inputs.files)]
    outputs = model.serve(inputs) if name == "export" else model.run(*inputs)
    outputs = [tf.bitcast(tensor, tf.uint8).numpy() for tensor in tf.nest.flatten(outputs)]
    np.savez(folder + "/" + name + "-outputs.npz", *outputs)
"""


def bits(tensors):
    return [tensor.numpy().tobytes() for tensor in tf.nest.flatten(tensors)]


def with_gradients(dtype, data_format):
    """Indexed boxes: output and both gradients, of shapes that are not known."""
    problem = cases.Problem(
        np.random.default_rng(2),
        form="indexed",
        feature_dtype=dtype,
        data_format=data_format,
        scale=0.7,
    )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None] * 4, tf.float32),
            tf.TensorSpec([None, 5], tf.float32),
            tf.TensorSpec([None] * 4, tf.float32),
        ]
    )
    def run(features, boxes, upstream):
        features = tf.cast(features, dtype)
        with tf.GradientTape() as tape:
            tape.watch([features, boxes])
            output = problem.run(features, boxes=boxes)
        gradients = tape.gradient(output, [features, boxes], tf.cast(upstream, dtype))
        return output, *gradients

    inputs = [
        tf.cast(problem.features, tf.float32).numpy(),
        problem.arguments()["boxes"].numpy(),
        tf.cast(problem.upstream, tf.float32).numpy(),
    ]
    assert run(*inputs)[1] is not None
    return run, inputs, run(*inputs)


def flat_boxes_and_row_lengths():
    """The way to serve ragged boxes."""
    problem = cases.Problem(np.random.default_rng(3), form="ragged", images=3)
    ragged = problem.arguments()["boxes"]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 5]),
            tf.TensorSpec([None, 4]),
            tf.TensorSpec([None], tf.int64),
        ]
    )
    def run(features, boxes, row_lengths):
        boxes = tf.RaggedTensor.from_row_lengths(boxes, row_lengths)
        return problem.run(features, boxes=boxes)

    inputs = [problem.features.numpy(), ragged.flat_values.numpy(), ragged.row_lengths().numpy()]
    return run, inputs, problem.run(boxes=ragged)


def keras_model():
    """A layer inside a Keras model, and what it gives for its inputs."""
    rng = np.random.default_rng(4)
    images, boxes = keras.Input((None, None, 3)), keras.Input((None, 4))
    features = keras.layers.Conv2D(5, 3, strides=2, padding="same")(images)
    pooled = tf_roialign.RoIAlign(3, 0.5, aligned=True)(features, boxes)
    model = keras.Model([images, boxes], pooled)
    inputs = [
        rng.standard_normal((2, 10, 12, 3)).astype("float32"),
        cases.random_boxes(rng, 6, 5, 6, 0.5).reshape(2, 3, 4),
    ]
    run = tf.function(
        lambda images, boxes: model([images, boxes]),
        input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, 4])],
    )
    return model, run, inputs, run(*inputs)


def test_equal_to_the_bit_in_a_fresh_process(tmp_path):
    """Functions with gradients, ragged boxes, Keras models: saved here, loaded elsewhere."""
    expected = {}

    def save(name, module, inputs, outputs):
        if module is not None:
            tf.saved_model.save(module, str(tmp_path / name))
        np.savez(tmp_path / f"{name}-inputs.npz", **{f"{i}": x for i, x in enumerate(inputs)})
        expected[name] = bits(outputs)

    def module_of(run, model=None):
        module = tf.Module()
        module.run, module.model = run, model
        return module

    for dtype in cases.FEATURE_DTYPES:
        for data_format in cases.LAYOUTS:
            run, *rest = with_gradients(dtype, data_format)
            save(f"{dtype}-{data_format}", module_of(run), *rest)
    run, *rest = flat_boxes_and_row_lengths()
    save("ragged", module_of(run), *rest)
    model, run, *rest = keras_model()
    save("keras", module_of(run, model), *rest)
    model.export(str(tmp_path / "export"))
    save("export", None, *rest)

    programs.run(PROGRAM, tmp_path, *expected)
    different = []
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}-outputs.npz") as got:
            if [got[key].tobytes() for key in got.files] != outputs:
                different.append(name)
    assert len(expected) == 11
    assert different == []


def test_a_bad_index_after_loading_is_an_error_too(tmp_path):
    module = tf.Module()
    module.run = tf.function(
        lambda features, boxes: tf_roialign.roi_align(features, boxes, 2),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, 5])],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    features = tf.ones([2, 4, 4, 1])
    assert loaded.run(features, [[1.0, 0.0, 0.0, 3.0, 3.0]]).shape == [1, 2, 2, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be in \[0, 2\), got 2"):
        loaded.run(features, [[2.0, 0.0, 0.0, 3.0, 3.0]])


def test_loading_without_the_package_says_what_is_missing(tmp_path):
    """Not our code, but what a user meets first: TensorFlow names the op."""
    module = tf.Module()
    module.run = tf.function(
        lambda features, boxes: tf_roialign.roi_align(features, boxes, 2),
        input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([None, 5])],
    )
    tf.saved_model.save(module, str(tmp_path))
    process = programs.run(
        "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])", tmp_path, check=False
    )
    assert process.returncode != 0
    assert "TfRoialign>RoiAlign" in process.stderr
