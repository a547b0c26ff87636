"""export_saved_model: what is served, in this process and in a fresh one, is what was saved."""

import cases
import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

STRIDE = 2
LENGTHS = [2, 0, 3]

# Runs both signatures of a SavedModel on the inputs beside it; keeps the outputs.
PROGRAM = """
import sys
import numpy as np
import tf_roialign
import tensorflow as tf
folder = sys.argv[1]
signatures = tf.saved_model.load(folder + "/model").signatures
for name in ("serving_default", "serving_dense"):
    inputs = {key: tf.constant(x) for key, x in np.load(folder + "/" + name + ".npz").items()}
    outputs = signatures[name](**inputs)
    np.savez(folder + "/" + name + "-outputs.npz", **{key: x.numpy() for key, x in outputs.items()})
"""


def box_model():
    """(images, ragged boxes) -> one row per box and one per image."""
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    features = keras.layers.Conv2D(5, 3, strides=STRIDE, padding="same")(images)
    pooled = tf_roialign.RoIAlign(3, 1 / STRIDE, aligned=True)(features, boxes)
    logits = keras.layers.Dense(4)(keras.layers.Flatten()(pooled))
    context = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model([images, boxes], {"logits": logits, "context": context})


@pytest.fixture(name="images")
def make_images():
    return tf.random.stateless_normal([3, 12, 14, 3], [1, 2])


def flat_boxes(count=5):
    return cases.random_boxes(np.random.default_rng(2), count, 6, 7, 1 / STRIDE)


def ragged_boxes():
    return tf.RaggedTensor.from_row_lengths(flat_boxes(), LENGTHS)


def signature(path, name="serving_default"):
    loaded = tf.saved_model.load(str(path))
    run = loaded.signatures[name]
    run.owner = loaded  # its variables live as long
    return run


def test_both_signatures_in_a_fresh_process(tmp_path, images):
    model = box_model()
    tf_roialign.export_saved_model(model, tmp_path / "model")
    dense = flat_boxes(12).reshape(3, 4, 4)
    inputs = {"images": images, "boxes": flat_boxes(), "boxes_row_lengths": np.array(LENGTHS)}
    np.savez(tmp_path / "serving_default.npz", **inputs)
    np.savez(tmp_path / "serving_dense.npz", images=images, boxes=dense)
    programs.run(PROGRAM, tmp_path)

    expected = model([images, ragged_boxes()])
    with np.load(tmp_path / "serving_default-outputs.npz") as got:
        assert sorted(got.files) == ["context", "logits"]
        np.testing.assert_array_equal(got["logits"], expected["logits"])
        np.testing.assert_array_equal(got["context"], expected["context"])

    same_boxes = tf.RaggedTensor.from_row_lengths(dense.reshape(-1, 4), [4, 4, 4])
    expected = model([images, same_boxes])
    with np.load(tmp_path / "serving_dense-outputs.npz") as got:
        np.testing.assert_array_equal(got["logits"].reshape(12, 4), expected["logits"])
        assert got["logits"].shape == (3, 4, 4), "one row per box, image by image"
        np.testing.assert_array_equal(got["context"], expected["context"])


def test_requests_of_any_size(tmp_path, images):
    """No size of the export is left in it."""
    model = box_model()
    tf_roialign.export_saved_model(model, tmp_path)
    run = signature(tmp_path)
    for lengths in ([1], [0, 0], [5, 1]):
        n = len(lengths)
        boxes = flat_boxes(sum(lengths))
        got = run(images=images[:n], boxes=boxes, boxes_row_lengths=lengths)["logits"]
        ragged = tf.RaggedTensor.from_row_lengths(boxes, lengths)
        np.testing.assert_array_equal(got, model([images[:n], ragged])["logits"])
    dense = signature(tmp_path, "serving_dense")
    assert dense(images=images, boxes=np.zeros((3, 0, 4), "float32"))["logits"].shape == (3, 0, 4)


def test_function(tmp_path, images):
    """Names from parameters and places, two ragged inputs, a ragged output."""
    scale = tf.Variable(2.0)

    def pool(features, boxes, weights):
        if tf.shape(features)[0] > 100:  # only AutoGraph understands this
            features = -features
        pooled = tf_roialign.roi_align(features, boxes, 2) * scale
        weighted = pooled * weights.values[:, None, None, None]
        return weighted, boxes.with_values(tf.reduce_sum(weighted, [1, 2, 3]))

    tf_roialign.export_saved_model(
        pool,
        tmp_path,
        (
            tf.TensorSpec([None, None, None, 3]),
            tf.RaggedTensorSpec([None, None, 4], ragged_rank=1),
            tf.RaggedTensorSpec([None, None], ragged_rank=1),
        ),
    )
    weights = np.arange(5, dtype="float32")
    ragged_weights = tf.RaggedTensor.from_row_lengths(weights, LENGTHS)
    expected, sums = pool(images, ragged_boxes(), ragged_weights)
    got = signature(tmp_path)(
        features=images,
        boxes=flat_boxes(),
        boxes_row_lengths=LENGTHS,
        weights=weights,
        weights_row_lengths=LENGTHS,
    )
    np.testing.assert_array_equal(got["output_0"], expected)
    np.testing.assert_array_equal(got["output_1"], sums.values)
    np.testing.assert_array_equal(got["output_1_row_lengths"], LENGTHS)
    got = signature(tmp_path, "serving_dense")(
        features=images[:1], boxes=flat_boxes()[None], weights=weights[None]
    )
    assert got["output_0"].shape == (1, 5, 2, 2, 3)
    np.testing.assert_array_equal(got["output_1_row_lengths"], [5])


class Subclassed(keras.Model):
    """A model that has no symbolic inputs, and a layer that knows of training."""

    def __init__(self):
        super().__init__()
        self.roi_align = tf_roialign.RoIAlign(2)
        self.dropout = keras.layers.Dropout(0.5)
        self.dense = keras.layers.Dense(2)

    def call(self, inputs, training=False):
        pooled = self.roi_align(inputs["features"], inputs["boxes"])
        return self.dropout(self.dense(pooled), training=training)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_subclassed_model_with_a_dict(tmp_path, images, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = Subclassed()
    finally:
        keras.config.set_dtype_policy(before)
    inputs = {
        "features": keras.Input([None, None, 3]),
        "boxes": keras.Input([None, 4], ragged=True),
    }
    tf_roialign.export_saved_model(model, tmp_path, inputs)
    got = signature(tmp_path)(features=images, boxes=flat_boxes(), boxes_row_lengths=LENGTHS)
    expected = model({"features": images, "boxes": ragged_boxes()})
    assert got["output_0"].dtype == expected.dtype
    np.testing.assert_array_equal(got["output_0"], expected)


def test_inputs_without_names_are_numbered(tmp_path, images):
    features, boxes = keras.Input([None, None, 3]), keras.Input([None, 4], ragged=True)
    model = keras.Model([features, boxes], tf_roialign.RoIAlign(2)(features, boxes))
    tf_roialign.export_saved_model(model, tmp_path)
    got = signature(tmp_path)(input_0=images, input_1=flat_boxes(), input_1_row_lengths=LENGTHS)
    np.testing.assert_array_equal(got["output_0"], model([images, ragged_boxes()]))


def test_bound_method_saves_the_variables_of_its_object(tmp_path, images):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(3.0)

        def run(self, features, boxes):
            return self.scale * tf_roialign.roi_align(features, boxes, 2)

    module = Module()
    specs = {
        "features": tf.TensorSpec([None, None, None, 3]),
        "boxes": tf.RaggedTensorSpec([None, None, 4], ragged_rank=1),
    }
    tf_roialign.export_saved_model(module.run, tmp_path, specs)
    got = signature(tmp_path)(features=images, boxes=flat_boxes(), boxes_row_lengths=LENGTHS)
    np.testing.assert_array_equal(got["output_0"], module.run(images, ragged_boxes()))


def test_outputs_whose_rows_cannot_be_told(tmp_path, images):
    def pool(features, boxes):
        pooled = tf_roialign.roi_align(features, boxes, 2)
        return tf.boolean_mask(pooled, tf.ones([tf.shape(pooled)[0]], tf.bool))

    specs = (
        tf.TensorSpec([None, None, None, 3]),
        tf.RaggedTensorSpec([None, None, 4], ragged_rank=1),
    )
    message = r"`box_outputs` must be given: .* `output_0` of shape \[\?, 2, 2, 3\]"
    with pytest.raises(ValueError, match=message):
        tf_roialign.export_saved_model(pool, tmp_path, specs)
    with pytest.raises(ValueError, match=r"must name outputs .*\(output_0\), got `logits`"):
        tf_roialign.export_saved_model(pool, tmp_path, specs, box_outputs=["logits"])
    tf_roialign.export_saved_model(pool, tmp_path / "rows", specs, box_outputs=["output_0"])
    dense = flat_boxes(6).reshape(3, 2, 4)
    got = signature(tmp_path / "rows", "serving_dense")(features=images, boxes=dense)["output_0"]
    np.testing.assert_array_equal(got, tf_roialign.roi_align(images, dense, 2))
    tf_roialign.export_saved_model(pool, tmp_path / "as_is", specs, box_outputs=[])
    got = signature(tmp_path / "as_is", "serving_dense")(features=images, boxes=dense)["output_0"]
    assert got.shape == (6, 2, 2, 3)


def test_bad_requests(tmp_path, images):
    tf_roialign.export_saved_model(box_model(), tmp_path)
    run = signature(tmp_path)

    def serve(lengths, boxes=None):
        return run(
            images=images,
            boxes=flat_boxes() if boxes is None else boxes,
            boxes_row_lengths=tf.constant(lengths, tf.int64),
        )

    for lengths, message in [
        ([2, 0, 2], r"must add up to the number of rows of `boxes`[^$]*5[^$]*got[^$]*4"),
        ([2, -1, 4], r"`boxes_row_lengths` must not be negative, got[^$]*2 -1 4"),
        ([2, 3], "`boxes` must have one row per image"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            serve(lengths)
    assert serve(LENGTHS)["logits"].shape == (5, 4), "it goes on"


DENSE = tf.TensorSpec([None, 4])
RAGGED = tf.RaggedTensorSpec([None, None, 4], ragged_rank=1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "`inputs` must be given unless `model` is a functional Keras model, got function"),
        (DENSE, "`inputs` must have a ragged one, got none"),
        ([RAGGED, np.zeros(3)], "must be a tf.TensorSpec, .* got ndarray"),
        (tf.RaggedTensorSpec([None, None, None]), "`boxes` must have ragged_rank 1, got 2"),
        ({"a": RAGGED, "a_row_lengths": DENSE}, "must not have `a_row_lengths`"),
        ({"a": [RAGGED]}, "`inputs` must be flat"),
        ([tf.TensorSpec([], name="boxes"), tf.TensorSpec([], name="boxes")], "`boxes` twice"),
    ],
)
def test_bad_arguments(tmp_path, inputs, message):
    def function(boxes):
        raise AssertionError("not called")

    with pytest.raises(ValueError, match=message):
        tf_roialign.export_saved_model(function, tmp_path, inputs)


def test_a_keras_model_without_ragged_inputs_or_without_inputs(tmp_path):
    images = keras.Input([2])
    with pytest.raises(ValueError, match="must have a ragged one"):
        tf_roialign.export_saved_model(keras.Model(images, images * 2), tmp_path)
    with pytest.raises(ValueError, match="`inputs` must be given .* got Subclassed"):
        tf_roialign.export_saved_model(Subclassed(), tmp_path)
