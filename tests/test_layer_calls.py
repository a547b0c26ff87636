"""The ways in which Keras users call a layer: lists, dicts, nested numbers, ragged features."""

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

FEATURES = tf.random.stateless_normal([2, 8, 9, 3], [1, 2])
DENSE = tf.constant(cases.random_boxes(np.random.default_rng(3), 6, 8, 9).reshape(2, 3, 4))
FORMS = {
    "dense": (DENSE,),
    "ragged": (tf.RaggedTensor.from_row_lengths(tf.reshape(DENSE, [6, 4]), [5, 1]),),
    "list": ([DENSE[0], DENSE[1, :1]],),
    "indexed": (tf.concat([tf.constant([[1.0], [0], [1]]), DENSE[0]], 1),),
    "box_indices": (DENSE[0], tf.constant([1, 0, 1])),
}


def new_layer(**kwargs):
    return tf_roialign.RoIAlign((3, 2), 0.5, data_format="channels_last", **kwargs)


def expected(boxes, indices=None, features=FEATURES):
    return tf_roialign.roi_align(features, boxes, (3, 2), 0.5, box_indices=indices)


@pytest.mark.parametrize("idiom", ["list", "tuple", "dict", "names"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("form", FORMS)
def test_one_structure_of_all_inputs(form, graph, idiom):
    layer = new_layer()
    boxes = FORMS[form]
    names = dict(zip(("boxes", "box_indices"), boxes, strict=False))

    def call(features, boxes):
        return {
            "list": lambda: layer([features, *boxes]),
            "tuple": lambda: layer((features, *boxes)),
            "dict": lambda: layer({"features": features, **names}),
            "names": lambda: layer(features=features, **names),
        }[idiom]()

    output = (tf.function(call) if graph else call)(FEATURES, boxes)
    assert cases.as_bytes(output) == cases.as_bytes(expected(*boxes))
    # Not what Keras calls, but what other layers may.
    assert cases.as_bytes(layer.call([FEATURES, *boxes])) == cases.as_bytes(output)


def symbol(value):
    if isinstance(value, list):
        return [keras.Input(batch_shape=v.shape) for v in value]
    if isinstance(value, tf.RaggedTensor):
        return keras.Input([None, 4], ragged=True)
    return keras.Input(value.shape[1:], dtype=value.dtype.name)


@pytest.mark.parametrize("form", FORMS)
def test_a_functional_model_of_the_list_idiom(form, tmp_path):
    features = keras.Input([8, 9, 3], batch_size=2 if form == "list" else None)
    symbols = [symbol(value) for value in FORMS[form]]
    pooled = new_layer()([features, *symbols])
    assert pooled.shape[-3:] == (3, 2, 3)
    inputs = [features, *tf.nest.flatten(symbols)]
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(pooled) if form != "dense" else pooled)
    values = [FEATURES, *tf.nest.flatten(FORMS[form])]
    wanted = expected(*FORMS[form])
    if form != "dense":
        wanted = model.layers[-1](wanted)
    np.testing.assert_array_equal(model(values), wanted)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(values), wanted)
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(values), wanted)
    # clone_model forgets that an Input was ragged, whatever the layers.
    copies = None if form != "ragged" else [keras.Input([8, 9, 3]), symbol(FORMS[form][0])]
    clone = keras.models.clone_model(model, input_tensors=copies)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(values), wanted)


def test_a_layer_out_of_its_config_takes_both_idioms():
    layer = tf_roialign.RoIAlign.from_config(new_layer().get_config())
    np.testing.assert_array_equal(layer([FEATURES, DENSE]), layer(FEATURES, DENSE))


def test_the_boxes_of_two_images_are_not_an_idiom():
    """`layer(features, [b0, b1])`, and what cannot be features and boxes."""
    layer = new_layer()
    b0, b1 = FORMS["list"][0]
    np.testing.assert_array_equal(layer(FEATURES, [b0, b1]), expected([b0, b1]))
    np.testing.assert_array_equal(layer([FEATURES, [b0, b1]]), expected([b0, b1]))
    np.testing.assert_array_equal(layer(FEATURES, boxes=[b0, b1]), expected([b0, b1]))
    with pytest.raises(
        ValueError, match=r"`features` must have shape \[N, H, W, C\], got \[3, 4\]"
    ):
        layer([b0, b1])


@pytest.mark.parametrize(
    "inputs", [FEATURES, [FEATURES], [FEATURES] * 4, []], ids=["tensor", "1", "4", "0"]
)
def test_boxes_that_are_not_there(inputs):
    with pytest.raises(TypeError, match=r"`boxes` must be given: .*layer\(\[features, boxes\]\)"):
        new_layer()(inputs)


@pytest.mark.parametrize("keys", [["features"], ["features", "rois"], ["image", "boxes"]], ids=str)
def test_a_dict_with_other_keys(keys):
    with pytest.raises(ValueError, match=r"must have the keys `features`, `boxes` .*, got \["):
        new_layer()(dict.fromkeys(keys, FEATURES))


def test_nested_numbers_by_position():
    layer = new_layer()
    lists = [[[1.0, 2, 5, 6]], [[0, 0, 8, 7], [2, 2, 3, 3]]]
    wanted = expected(tf.ragged.constant(lists))
    for boxes in (lists, tuple(lists), [np.float32(entry) for entry in lists]):
        np.testing.assert_array_equal(layer(FEATURES, boxes), wanted)
    rows = [[0, 1.0, 2, 5, 6], [1, 0, 0, 8, 7], [1, 2, 2, 3, 3]]
    np.testing.assert_array_equal(layer(FEATURES, rows), wanted)
    np.testing.assert_array_equal(layer(FEATURES, [row[1:] for row in rows], [0, 1, 1]), wanted)
    np.testing.assert_array_equal(layer(FEATURES.numpy().tolist(), lists), wanted)


@pytest.mark.parametrize("function", [False, True], ids=["layer", "function"])
def test_ragged_features(function):
    features = tf.ragged.stack([FEATURES[0], FEATURES[1, :4]])
    call = tf_roialign.roi_align if function else tf_roialign.RoIAlign(2)
    arguments = (2,) if function else ()
    with pytest.raises(TypeError, match="`features` must be a dense tensor, got a RaggedTensor"):
        call(features, DENSE, *arguments)


def test_ragged_features_of_a_model():
    with pytest.raises(TypeError, match="`features` must be a dense tensor, got a RaggedTensor"):
        new_layer()(keras.Input([None, None, 3], ragged=True), keras.Input([None, 4], ragged=True))


def test_symbols_given_to_the_function():
    """It is not a layer, and says which one is."""
    for arguments in (
        (keras.Input([8, 9, 3]), DENSE),
        (FEATURES, keras.Input([3, 4])),
        (FEATURES, [keras.Input([4]), keras.Input([4])]),
        (FEATURES, keras.Input([3, 4], ragged=True)),
    ):
        with pytest.raises(TypeError, match="got a KerasTensor: .*`tf_roialign.RoIAlign`"):
            tf_roialign.roi_align(*arguments, 2)


def test_symbolic_errors_are_the_op_s_own():
    for columns, message in (
        (4, r"`boxes` of shape \[\?, 4\] need `box_indices`"),
        (3, r"`boxes` must have shape \[K, 5\]"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            new_layer()(keras.Input([8, 9, 3]), keras.Input([columns]))
        assert "compute_output_spec" not in str(caught.value)
