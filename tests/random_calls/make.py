"""Makes a call of `draw`, and says whether the error that comes is one that may come."""

import math
import re

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf_roialign import raw_ops

# The kinds of errors that a call may end with.
ERRORS = {
    "InvalidArgument": tf.errors.InvalidArgumentError,
    "ResourceExhausted": tf.errors.ResourceExhaustedError,
    "TypeError": TypeError,
    "ValueError": ValueError,
}

# What TensorFlow says before the op is asked, and so without the name of an argument.
TENSORFLOW_SAYS = (
    r"as input #\d+\(zero-based\) was expected to be a \w+ tensor but is a \w+ tensor",
    # Of a constant features_shape, while a function is traced.
    r"^Invalid value in tensor used for shape: -\d+",
)


class NoSuchTensorError(Exception):
    """TensorFlow has no tensor of such a shape, whose product overflows on the way to its 0."""


class Call:
    """The tensors of a call, and the outputs of its op."""

    def __init__(self, call):
        self.call = call
        self.tensors = {
            name: [*map(_tensor, given)] if isinstance(given, list) else _tensor(given)
            for name, given in call["inputs"].items()
        }

    def run(self):
        """The outputs, as a list. Raises what the call raises."""
        function = getattr(raw_ops, _function_name(self.call["op"]))

        def run(tensors):
            outputs = function(*tensors.values(), **self.call["attributes"])
            return tf.nest.flatten(outputs)

        if self.call["way"] == "eager":
            return run(self.tensors)
        within = {}
        if self.call["constants"]:
            within = {k: v for k, v in self.tensors.items() if k == "features_shape"}
            if any(each.dtype not in (tf.int32, tf.int64) for each in tf.nest.flatten(within)):
                within = {}
        given = {k: v for k, v in self.tensors.items() if k not in within}
        names = list(self.tensors)

        def traced(given):
            # Constants of the function, not captured tensors.
            constants = tf.nest.map_structure(lambda each: tf.constant(each.numpy()), within)
            both = given | constants
            return run({name: both[name] for name in names})

        signature = [tf.nest.map_structure(self._spec, given)]
        jit = self.call["way"] == "xla"
        compiled = tf.function(traced, input_signature=signature, jit_compile=jit, autograph=False)
        return compiled(given)

    def _spec(self, tensor):
        shape = {
            "sizes": tensor.shape,
            "rank": [None] * tensor.shape.rank,
            "nothing": None,
        }[self.call["known"]]
        return tf.TensorSpec(shape, tensor.dtype)


def _function_name(op):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", op).lower()


def _tensor(given):
    dtype, shape = tf.as_dtype(given["dtype"]), given["shape"]
    plain = tf.as_dtype(dtype.name.removeprefix("q"))
    if math.prod(shape) == 0:  # of a shape that NumPy may refuse
        try:
            tensor = tf.zeros(shape, plain)
        except tf.errors.InvalidArgumentError as error:
            raise NoSuchTensorError(shape) from error
        return tensor if plain == dtype else tf.bitcast(tensor, dtype)
    if "values" in given:
        tensor = _from_numbers(given["values"], plain)
    else:
        rng = np.random.default_rng(given["seed"])
        if plain.is_floating or plain.is_complex:
            numbers = rng.standard_normal(math.prod(shape))
        elif plain.is_integer:
            limits = np.iinfo(plain.name)
            numbers = rng.integers(
                limits.min, limits.max, math.prod(shape), plain.name, endpoint=True
            )
        else:
            numbers = rng.integers(0, 2, math.prod(shape))
        for place, number in given["replaced"]:
            numbers[place] = number
        tensor = _from_numbers(numbers, plain)
    tensor = tf.reshape(tensor, shape)
    return tensor if plain == dtype else tf.bitcast(tensor, dtype)


def _from_numbers(numbers, dtype):
    if dtype == tf.string:
        return tf.constant([str(number) for number in numbers])
    if dtype.is_integer:
        return tf.constant(np.array(numbers, dtype.name))
    with np.errstate(over="ignore"):
        return tf.cast(tf.constant(np.array(numbers, np.float64)), dtype)


def kind_of(error):
    """The kind of an error that may come; None for any other."""
    return next((kind for kind, cls in ERRORS.items() if isinstance(error, cls)), None)


def names_an_argument(error, op):
    """Whether an error's text names an argument of the op, and not just prints its node."""
    text = str(getattr(error, "message", None) or error)
    # What TensorFlow adds: the node with all its attributes, the op's definition.
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|NodeDef: .*|Op<.*?>|; attr=.*|\[Op:.*?\].*", "", text)
    definition = op_def_registry.get("TfRoialign>" + op)
    names = [each.name for each in (*definition.input_arg, *definition.attr)]
    found = re.search(rf"[`'\"]({'|'.join(names)})\b", text)
    return bool(found or any(re.search(pattern, text) for pattern in TENSORFLOW_SAYS))
