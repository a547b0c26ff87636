"""export_saved_model of whole detectors: the same numbers in a fresh process, for every head."""

import heads
import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

# Runs both signatures of each SavedModel on the inputs beside it; keeps the outputs.
PROGRAM = """
import pathlib, sys
import numpy as np
import tf_roialign
import tensorflow as tf
for folder in map(pathlib.Path, sys.argv[1:]):
    loaded = tf.saved_model.load(str(folder / "model"))
    for name in ("serving_default", "serving_dense"):
        inputs = {key: tf.constant(x) for key, x in np.load(folder / f"{name}.npz").items()}
        outputs = loaded.signatures[name](**inputs)
        np.savez(folder / f"{name}-outputs.npz", **{k: x.numpy() for k, x in outputs.items()})
"""


def run(model, inputs, request):
    """What the model itself makes of a request, by the names of the signatures."""
    boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
    values = {"images": tf.constant(request["images"]), "boxes": boxes}
    if "tags" in request:
        values["tags"] = tf.constant(request["tags"])
    if not isinstance(model, keras.Model):
        outputs = model(**values)
    elif inputs is None:
        outputs = model(list(values.values()), training=False)
    else:
        outputs = model(values, training=False)
    if isinstance(outputs, dict):
        return outputs
    return {f"output_{i}": x for i, x in enumerate(tf.nest.flatten(outputs))}


@pytest.fixture(name="served", scope="module")
def serve_all(tmp_path_factory):
    """{name: (expected, got)} of both signatures, from one process that serves them all."""
    folders, expected = {}, {}
    for name in heads.ALL:
        folder = folders[name] = tmp_path_factory.mktemp(name)
        model, inputs, more = heads.make(name, folder)
        tf_roialign.export_saved_model(model, folder / "model", inputs)
        request = {**heads.request(), **more}
        np.savez(folder / "serving_default.npz", **request)
        rng = np.random.default_rng(6)
        dense = rng.uniform([0, 0, 12, 10], [10, 8, 22, 18], (3, 2, 4)).astype("float32")
        np.savez(folder / "serving_dense.npz", images=request["images"], boxes=dense, **more)
        expected[name] = (
            run(model, inputs, request),
            run(
                model,
                inputs,
                {**request, "boxes": dense.reshape(6, 4), "boxes_row_lengths": [2, 2, 2]},
            ),
        )
        # An asset is a part of the SavedModel.
        (folder / "vocabulary.txt").unlink(missing_ok=True)
    programs.run(PROGRAM, *folders.values())
    got = {
        name: [
            dict(np.load(folder / f"{signature}-outputs.npz", allow_pickle=True))
            for signature in ("serving_default", "serving_dense")
        ]
        for name, folder in folders.items()
    }
    return {name: tuple(zip(expected[name], got[name], strict=True)) for name in folders}


@pytest.mark.parametrize("name", heads.ALL)
def test_is_served_in_a_fresh_process(served, name):
    (expected, got), (expected_dense, got_dense) = served[name]
    assert sorted(got) == sorted(got_dense) == sorted(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value.numpy(), key)
        dense = expected_dense[key].numpy()
        has_row_per_box = got_dense[key].ndim == dense.ndim + 1
        assert has_row_per_box == (key not in ("ids", "hashed")), key
        if has_row_per_box:
            assert got_dense[key].shape[:2] == (3, 2)
            dense = dense.reshape(got_dense[key].shape)
        np.testing.assert_array_equal(got_dense[key], dense, key)
    values = got[min(got)]
    assert len(np.unique(values)) > 1, "not all the same"


def test_the_model_itself_is_not_saved(tmp_path):
    """Only what the signatures use: no signature of Keras, none of its layers."""
    model, _, _ = heads.make("mask_rcnn", tmp_path)
    unused = tf.Variable(1.0)
    model.unused = unused
    tf_roialign.export_saved_model(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert sorted(loaded.signatures) == ["serving_default", "serving_dense"]
    assert len(loaded.resources) == len(model.variables)


def test_state_that_changes_is_saved(tmp_path):
    detector = heads.Detector()
    detector.requests.assign(41)

    def count(images, boxes):
        detector.requests.assign_add(1)
        return tf.identity(detector.requests), detector.model([images, boxes])["scores"]

    def only_assigns(images, boxes):
        detector.requests.assign(7)
        return detector.model([images, boxes])["scores"]

    names = ["images", "boxes", "boxes_row_lengths"]
    request = {name: tf.constant(heads.request()[name]) for name in names}
    tf_roialign.export_saved_model(count, tmp_path / "count", heads.SPECS)
    loaded = tf.saved_model.load(str(tmp_path / "count"))
    for number in (42, 43):
        assert loaded.signatures["serving_default"](**request)["output_0"] == number
    tf_roialign.export_saved_model(only_assigns, tmp_path / "assigns", heads.SPECS)
    loaded = tf.saved_model.load(str(tmp_path / "assigns"))
    assert loaded.signatures["serving_default"](**request)["output_0"].shape == (6, 4)


def test_tables_that_nothing_tracks(tmp_path):
    """In the closure of a Lambda layer, in a plain list."""
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.range(4), ["a", "b", "c", "d"]), "?"
    )
    hidden = [(table,)]
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    rois = heads.convolution(heads.pooled(images, boxes))
    names = keras.layers.Lambda(
        lambda x: hidden[0][0].lookup(tf.argmax(x, -1, tf.int32)), output_shape=lambda s: s[:-1]
    )(rois)
    model = keras.Model([images, boxes], [rois, names])
    request = heads.request()
    wanted = run(model, None, request)
    tf_roialign.export_saved_model(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    got = loaded.signatures["serving_default"](**{k: tf.constant(v) for k, v in request.items()})
    np.testing.assert_array_equal(got["output_1"], wanted["output_1"])
    assert len(np.unique(got["output_1"])) > 1


def test_a_table_that_changes(tmp_path):
    """Its values are saved; TensorFlow knows no shape of what it looks up."""
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, -1.0)
    table.insert(tf.constant([0, 1, 2], tf.int64), [5.0, 6.0, 7.0])
    model, _, _ = heads.make("faster_rcnn", tmp_path)

    def weigh(images, boxes):
        return table.lookup(tf.argmax(model([images, boxes])["scores"], -1))

    path = tmp_path / "model"
    with pytest.raises(ValueError, match="`output_0` of unknown rank has one row per box"):
        tf_roialign.export_saved_model(weigh, path, heads.SPECS)
    tf_roialign.export_saved_model(weigh, path, heads.SPECS, box_outputs=["output_0"])
    request = {key: tf.constant(value) for key, value in heads.request().items()}
    boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
    expected = weigh(request["images"], boxes)
    loaded = tf.saved_model.load(str(path))
    got = loaded.signatures["serving_default"](**request)["output_0"]
    np.testing.assert_array_equal(got, expected)
    dense = tf.stack([request["boxes"][:2]] * 3)
    got = loaded.signatures["serving_dense"](images=request["images"], boxes=dense)["output_0"]
    assert got.shape == [3, 2] and set(np.unique(got)) <= {-1.0, 5.0, 6.0, 7.0}


def test_a_model_that_was_trained_by_several_replicas(tmp_path):
    """Its variables are several each."""
    program = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import heads, numpy as np, pathlib, tf_roialign
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model, _, _ = heads.make("mask_rcnn", pathlib.Path(sys.argv[1]))
tf_roialign.export_saved_model(model, sys.argv[1] + "/model")
request = {k: tf.constant(v) for k, v in heads.request().items()}
boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
loaded = tf.saved_model.load(sys.argv[1] + "/model")
got = loaded.signatures["serving_default"](**request)["output_0"]
np.testing.assert_array_equal(got, model([request["images"], boxes]))
print(len(loaded.resources), len(model.variables))
"""
    counts = programs.run(program, tmp_path).stdout.split()
    assert counts[0] == counts[1] != "0"


@pytest.mark.parametrize(
    "name", ["training", "self", "class", "cls", "args", "kwargs", "my-input", "_x", "größe"]
)
@pytest.mark.parametrize("kind", ["functional", "functional_dict", "callable"])
def test_names_of_inputs(tmp_path, kind, name):
    """Each works; what cannot be the name of an input of a signature gets a number."""
    if kind == "callable":
        model = lambda **tensors: tf_roialign.roi_align(tensors[name], tensors["boxes"], 2)  # noqa: E731
        inputs = {name: heads.SPECS["images"], "boxes": heads.SPECS["boxes"]}
    else:
        images = keras.Input([None, None, 3], name=name)
        boxes = keras.Input([None, 4], ragged=True, name="boxes")
        given = {name: images, "boxes": boxes} if "dict" in kind else [images, boxes]
        model, inputs = keras.Model(given, tf_roialign.RoIAlign(2)(images, boxes)), None
    tf_roialign.export_saved_model(model, tmp_path, inputs)
    loaded = tf.saved_model.load(str(tmp_path))
    serve = loaded.signatures["serving_default"]
    request = {key: tf.constant(value) for key, value in heads.request().items()}
    images = request.pop("images")
    (served_name,) = serve.structured_input_signature[1].keys() - request.keys()
    numbered = name in ("self", "class", "my-input", "_x", "größe")
    assert served_name.startswith("input_") if numbered else served_name == name
    got = serve(**{served_name: images}, **request)["output_0"]
    boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
    np.testing.assert_array_equal(got, tf_roialign.roi_align(images, boxes, 2))


def test_a_model_whose_call_takes_several_arguments(tmp_path):
    class TwoArguments(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Conv2D(4, 3)
            self.dropout = keras.layers.Dropout(0.5)

        def call(self, images, boxes, training=False):
            pooled = tf_roialign.roi_align(images, boxes, 6)
            return self.dropout(self.head(pooled), training=training)

    model = TwoArguments()
    request = {key: tf.constant(value) for key, value in heads.request().items()}
    boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
    expected = model(request["images"], boxes)
    named = [tf.TensorSpec([None, None, None, 3], name="images"), heads.SPECS["boxes"]]
    for i, specs in enumerate((heads.SPECS, named)):
        tf_roialign.export_saved_model(model, tmp_path / str(i), specs)
        loaded = tf.saved_model.load(str(tmp_path / str(i)))
        given = dict(request)
        if i == 1:
            given = {name.replace("boxes", "input_1"): value for name, value in request.items()}
        got = loaded.signatures["serving_default"](**given)["output_0"]
        np.testing.assert_array_equal(got, expected)


def test_several_ragged_inputs(tmp_path):
    """In the dense signature they have the same rows; a trial that cannot know sizes says so."""

    def pool(images, boxes, others):
        return tf_roialign.roi_align(images, boxes, 2), tf_roialign.roi_align(images, others, 2)

    specs = {**heads.SPECS, "others": heads.SPECS["boxes"]}
    tf_roialign.export_saved_model(pool, tmp_path / "two", specs)
    loaded = tf.saved_model.load(str(tmp_path / "two"))
    images, dense = tf.ones([2, 8, 8, 3]), tf.ones([2, 4, 4])
    serve = loaded.signatures["serving_dense"]
    assert serve(images=images, boxes=dense, others=dense)["output_1"].shape[:2] == [2, 4]
    message = "`others` must have as many images and rows as `boxes`"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(images=images, boxes=dense, others=dense[:, :3])

    def weigh(images, boxes, scores):  # scores [K]: a trial takes it for one per image
        return tf_roialign.roi_align(images, boxes, 2) * scores[:, None, None, None]

    specs = {**heads.SPECS, "scores": tf.TensorSpec([None])}
    with pytest.raises(ValueError, match="`box_outputs` must be given: the trial run") as caught:
        tf_roialign.export_saved_model(weigh, tmp_path / "weigh", specs)
    assert caught.value.__cause__ is not None
    tf_roialign.export_saved_model(weigh, tmp_path / "weigh", specs, box_outputs=["output_0"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["output_0", "output_0"], "must have names that differ, got `output_0` twice"),
        (["output_1"], "must name outputs with one row per box, got `output_1`, a scalar"),
    ],
)
def test_box_outputs_that_cannot_be(tmp_path, names, message):
    def pool(images, boxes):
        return tf_roialign.roi_align(images, boxes, 2), tf.reduce_mean(images)

    with pytest.raises(ValueError, match=message):
        tf_roialign.export_saved_model(pool, tmp_path, heads.SPECS, box_outputs=names)
