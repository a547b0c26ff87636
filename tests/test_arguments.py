"""Tensors and shapes for arguments that are attributes of the op; boxes of 16 bits."""

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

FEATURES = tf.random.stateless_normal([1, 6, 7, 2], [1, 2])
BOXES = tf.constant([[0, 1.0, 1, 5, 4]])
DATA_FORMATS = {"function": ("NHWC", "NCHW"), "layer": ("channels_last", "channels_first")}


def align(by, features=FEATURES, **arguments):
    arguments = {"output_size": 2, **arguments}
    if by == "layer":
        arguments.setdefault("data_format", "channels_last")
        return tf_roialign.RoIAlign(**arguments)(features, BOXES)
    return tf_roialign.roi_align(features, BOXES, **arguments)


def values(by):
    """{argument: (tensor of a value, the value)}, none of them the default."""
    return {
        "output_size": (tf.constant([2, 3]), (2, 3)),
        "spatial_scale": (tf.constant(0.5), 0.5),
        "sampling_ratio": (tf.constant(3), 3),
        "aligned": (tf.constant(True), True),
        "data_format": (tf.constant(DATA_FORMATS[by][1]), DATA_FORMATS[by][1]),
    }


NAMES = list(values("function"))


@pytest.mark.parametrize("by", DATA_FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_tensors_whose_value_is_known(name, by):
    tensor, value = values(by)[name]
    expected = align(by, **{name: value})
    assert name == "data_format" or not np.array_equal(expected, align(by)), "it matters"
    kinds = [tensor, tensor.numpy()]
    if tensor.dtype != tf.string:
        kinds.append(tf.Variable(tensor))
    for given in kinds:
        np.testing.assert_array_equal(align(by, **{name: given}), expected)

    @tf.function(autograph=False)
    def graph():
        return align(by, **{name: tf.constant(tensor.numpy())})

    np.testing.assert_array_equal(graph(), expected)


@pytest.mark.parametrize("by", DATA_FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_only_the_run_knows(name, by):
    message = f"`{name}` must be known when the graph is built, got a tensor"
    tensor, _ = values(by)[name]
    for autograph in (False, True):
        with pytest.raises(ValueError, match=message):
            tf.function(lambda x: align(by, **{name: x}), autograph=autograph)(tensor)
    symbol = keras.Input(tensor.shape, dtype=tensor.dtype.name if name != "data_format" else None)
    with pytest.raises(ValueError, match=message):
        align(by, **{name: symbol})
    if name == "output_size":
        with pytest.raises(ValueError, match=message):
            tf.function(lambda x: align(by, output_size=(x, 2)))(tf.constant(2))


@pytest.mark.parametrize("by", DATA_FORMATS)
def test_shapes_for_output_size(by):
    expected = align(by, output_size=(6, 7))
    for given in (
        FEATURES.shape[1:3],
        tuple(FEATURES.shape[1:3]),
        tf.shape(FEATURES)[1:3],
        tf.TensorShape([6, 7]),
        [tf.constant(6), np.int32(7)],
    ):
        np.testing.assert_array_equal(align(by, output_size=given), expected)

    @tf.function
    def graph(features):
        return align(by, features, output_size=features.shape[1:3])

    np.testing.assert_array_equal(graph(FEATURES), expected)
    unknown = tf.function(graph.python_function)
    message = r"`output_size` must be known when the graph is built, got .*\[None, None\]"
    with pytest.raises(ValueError, match=message):
        unknown.get_concrete_function(tf.TensorSpec([None, None, None, 2]))
    with pytest.raises(ValueError, match=message):  # Keras' shapes are tuples
        align(by, output_size=keras.Input([None, None, 2]).shape[1:3])
    for shape in ([1, 2, 3], [0, 2], []):
        with pytest.raises(ValueError, match="`output_size` must be one or two integers"):
            align(by, output_size=tf.TensorShape(shape))
    with pytest.raises(ValueError, match="`output_size` must be known when the graph is built"):
        align(by, output_size=tf.TensorShape(None))


def test_boxes_of_16_bits_are_warned_of_once():
    """In a process of its own, with every warning shown."""
    program = """
import warnings
warnings.simplefilter("always")
import keras
import tensorflow as tf
import tf_roialign

features, boxes = tf.ones([1, 8, 8, 2]), tf.constant([[0, 1.0, 1, 5, 4]])

class Pooler(keras.layers.Layer):
    def __init__(self, autocast, **kwargs):
        super().__init__(autocast=autocast, **kwargs)
        self.roi_align = tf_roialign.RoIAlign(2, dtype="float32")

    def call(self, features, boxes):
        return self.roi_align(features, boxes)

def count(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    texts = [str(w.message) for w in caught if "`boxes`" in str(w.message)]
    for text in texts:
        assert "tf_roialign.RoIAlign" in text and "super().__init__(autocast=False)" in text, text
    return [text.split(",")[0] for text in texts]

align = lambda dtype: tf_roialign.roi_align(features, tf.cast(boxes, dtype), 2)
layer = tf_roialign.RoIAlign(2, dtype="mixed_float16")
print(count(lambda: [layer(features, boxes), align("float32"), align("float64")]))
print(count(lambda: Pooler(False, dtype="mixed_float16")(features, boxes)))
print(count(lambda: Pooler(True, dtype="mixed_float16")(features, boxes)))
print(count(lambda: [align("float16"), tf.function(align)("float16"), layer(features, boxes)]))
print(count(lambda: [align("bfloat16"), align("bfloat16")]))
"""
    assert programs.run(program).stdout.splitlines() == [
        "[]",
        "[]",
        "['`boxes` are float16']",
        "[]",
        "['`boxes` are bfloat16']",
    ]
