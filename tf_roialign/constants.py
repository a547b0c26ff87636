"""Small constants among the inputs of ops.

An eager call takes half as long again for each array that TensorFlow makes a tensor of, so these
tensors are kept.
"""

import contextlib
import functools

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context as _context

_MOST_KEPT_ZEROS = 1024


class Constant:
    """An array that eager calls get as one and the same tensor, in host memory."""

    def __init__(self, array):
        self.array = array
        self._made = None, None, None

    def tensor(self):
        """The tensor; for eager calls only."""
        context = _context.context()
        cluster = context.get_server_def()
        made_in, made_with, tensor = self._made
        # Of another context, or of one that has joined a cluster since, it is no input.
        if made_in is not context or made_with is not cluster:
            with tf.device(None), tf.device("CPU:0"):  # not on the device of a scope of the caller
                tensor = tf.constant(self.array)
            self._made = context, cluster, tensor
        return tensor

    def anywhere(self):
        """For an input that the op reads on its own device: the array, or its tensor."""
        # A GPU's ops copy it anyway. Graphs make constants of arrays.
        if not tf.executing_eagerly() or _context.context().num_gpus():
            return self.array
        return self.tensor()


def on_host(value):
    """A scope in which a tensor of `value`, which is for an op to read in host memory, is made.

    A tensor stays where it is: to read one of a GPU waits for that.
    """
    if tf.is_tensor(value):
        return contextlib.nullcontext()
    if tf.executing_eagerly() and not _context.context().num_gpus():
        return contextlib.nullcontext()
    return tf.device("CPU:0")


NO_INTEGERS = Constant(np.empty([0], np.int32))


def zeros(count):
    """`count` zeros, int32, for an input that the op reads on its own device."""
    if count > _MOST_KEPT_ZEROS:
        return np.zeros([count], np.int32)
    return _zeros(count).anywhere()


@functools.lru_cache(maxsize=64)
def _zeros(count):
    return Constant(np.zeros([count], np.int32))


@functools.lru_cache(maxsize=64)
def _float64(rows):
    return Constant(np.array(rows, np.float64))


def float64_on_host(rows):
    """A tensor of a tuple of tuples, for an input that ops read in host memory."""
    constant = _float64(rows)
    if tf.executing_eagerly():
        return constant.tensor()
    with tf.device("CPU:0"):
        return tf.constant(constant.array)
