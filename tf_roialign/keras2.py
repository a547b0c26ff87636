"""Tells the objects of Keras 2, which lives on as the package `tf_keras`.

It is not imported for this: who has such an object has imported it.
"""

import sys

import tensorflow as tf


def is_model(value) -> bool:
    """Whether it is a Keras 2 model."""
    tf_keras = sys.modules.get("tf_keras")
    return tf_keras is not None and isinstance(value, tf_keras.Model)


def is_symbol(value) -> bool:
    """Whether it is a Keras 2 `Input`, or what its layers make of one."""
    return type(value).__module__.startswith("tf_keras.") and isinstance(
        getattr(value, "type_spec", None), tf.TypeSpec
    )
