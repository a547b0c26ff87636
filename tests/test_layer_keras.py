"""What Keras asks of a layer: its own layer test, `build`, summaries."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.testing import TestCase

import tf_roialign

SHAPES = {
    "dense": {"features_shape": (3, 8, 9, 4), "boxes_shape": (3, 5, 4)},
    "indexed": {"features_shape": (3, 8, 9, 4), "boxes_shape": (7, 5)},
    "box_indices": {
        "features_shape": (3, 8, 9, 4),
        "boxes_shape": (7, 4),
        "box_indices_shape": (7,),
    },
}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("form", SHAPES)
def test_keras_own_layer_test(form, policy):
    """Building, symbolic and eager calls, serialization, training, mixed precision."""
    shapes = SHAPES[form]
    test = TestCase()
    test.setUp()
    test.run_layer_test(
        tf_roialign.RoIAlign,
        {"output_size": (3, 2), "dtype": policy, "data_format": "channels_last"},
        input_shape=shapes,
        input_dtype={
            name: "int32" if name == "box_indices_shape" else "float32" for name in shapes
        },
        expected_output_shape=(3, 5, 3, 2, 4) if form == "dense" else (7, 3, 2, 4),
        expected_output_dtype=policy.removeprefix("mixed_"),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_variables=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=False,
    )


@pytest.mark.parametrize("form", SHAPES)
def test_build_with_named_shapes(form):
    for shapes in ((), tuple(SHAPES[form].values())):
        layer = tf_roialign.RoIAlign(2)
        layer.build(*shapes) if shapes else layer.build(**SHAPES[form])
        assert layer.built and layer.weights == []
    listed = tf_roialign.RoIAlign(2, data_format="channels_last")
    listed.build(list(SHAPES[form].values()))
    shape = listed.compute_output_shape(list(SHAPES[form].values()))
    assert tuple(shape) == tuple(listed.compute_output_shape(**SHAPES[form]))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(4, 3, padding="same", data_format="channels_last")
        self.roi_align = tf_roialign.RoIAlign((3, 2), data_format="channels_last")
        self.head = keras.layers.Dense(5)

    def call(self, inputs):
        features, *boxes = inputs
        return self.head(self.roi_align(self.conv(features), *boxes))


def shown_shape(model):
    """The output shape of the RoIAlign layer in the summary, which breaks long cells."""
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    rows = "\n".join(lines).split("├")
    row = next(row for row in rows if "roi_align" in row)
    return "".join(line.split("│")[2].strip() for line in row.splitlines() if "│" in line)


NUMBERS = [[1.0, 2, 5, 6]], [[0.0, 0, 8, 7], [2, 2, 3, 3]]
BOXES = {
    "ragged": ((tf.ragged.constant(NUMBERS, ragged_rank=1, inner_shape=(4,)),), "(None,3,2,4)"),
    "ragged_columns": ((tf.ragged.constant(NUMBERS),), "(None,3,2,4)"),
    "dense": ((tf.zeros([2, 6, 4]),), "(2,6,3,2,4)"),
    "indexed": ((tf.zeros([7, 5]),), "(7,3,2,4)"),
    "box_indices": ((tf.zeros([7, 4]), tf.zeros([7], tf.int32)), "(7,3,2,4)"),
    "list": (([tf.zeros([2, 4]), tf.zeros([1, 4])],), "(3,3,2,4)"),
    "list_with_empty": (([np.array([]), tf.zeros([1, 4])],), "(1,3,2,4)"),
}


@pytest.mark.parametrize("form", BOXES)
def test_summary_of_a_subclassed_model(form):
    boxes, shape = BOXES[form]
    model = Subclassed()
    assert shown_shape(model) == "?", "not built yet"
    model([tf.zeros([2, 8, 9, 3]), *boxes])
    assert shown_shape(model).replace(" ", "") == shape


def test_asking_for_a_shape_is_no_call():
    """Of a layer that was called with ragged boxes, shapes stay those of ragged boxes."""
    layer = tf_roialign.RoIAlign((3, 2), data_format="channels_last")
    features, boxes = (2, 8, 9, 3), (2, None, 4)
    assert tuple(layer.compute_output_shape(features, boxes)) == (2, None, 3, 2, 3)
    layer(tf.zeros(features), BOXES["ragged"][0][0])
    for _ in range(2):
        assert tuple(layer.compute_output_shape(features, boxes)) == (None, 3, 2, 3)
        assert tuple(layer.compute_output_shape(features, (7, 5))) == (7, 3, 2, 3)
    layer(tf.zeros(features), BOXES["dense"][0][0])
    assert tuple(layer.compute_output_shape(features, boxes)) == (2, None, 3, 2, 3)


def test_shape_of_boxes_without_one():
    """Keras keeps no shapes of nested Python numbers."""
    layer = tf_roialign.RoIAlign((3, 2), data_format="channels_last")
    layer(tf.zeros([2, 8, 9, 3]), NUMBERS)
    assert layer.compute_output_shape(**layer._build_shapes_dict) == (None, 3, 2, 3)


def test_summary_of_a_functional_model():
    features = keras.Input([8, 9, 3])
    boxes = keras.Input([None, 4], ragged=True)
    pooled = tf_roialign.RoIAlign((3, 2), data_format="channels_last")(features, boxes)
    model = keras.Model([features, boxes], pooled)
    assert shown_shape(model).replace(" ", "") == "(None,3,2,3)"
