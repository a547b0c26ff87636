"""What the op definitions of the native library say: inputs, attributes and dtypes by name.

They follow from the C++ (`cc/core/call/op.h`, `params.h`), so that an input or an attribute
that is added there is known here.
"""

import collections
import functools

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf_roialign.library import ops as _ops  # noqa: F401  (loads the definitions)

ROI_ALIGN = "TfRoialign>RoiAlign"
ROI_ALIGN_GRAD = "TfRoialign>RoiAlignGrad"
ROI_ALIGN_BOXES_GRAD = "TfRoialign>RoiAlignBoxesGrad"
ROI_ALIGN_BOXES_TANGENT = "TfRoialign>RoiAlignBoxesTangent"
ROI_ALIGN_BOXES_TANGENT_GRAD = "TfRoialign>RoiAlignBoxesTangentGrad"
QUANTIZED_ROI_ALIGN = "TfRoialign>QuantizedRoiAlign"


@functools.cache
def _definition(op_type):
    return op_def_registry.get(op_type)


@functools.cache
def input_names(op_type) -> tuple[str, ...]:
    """The names of an op's inputs, in their order."""
    return tuple(argument.name for argument in _definition(op_type).input_arg)


@functools.cache
def _inputs_class(op_type):
    return collections.namedtuple("Inputs", input_names(op_type))


def inputs_of(op):
    """The inputs of an op of a graph or a tape, as a namedtuple."""
    return _inputs_class(op.type)(*op.inputs)


def index_of(op_type, name) -> int:
    """The place of an input among an op's inputs."""
    return input_names(op_type).index(name)


@functools.cache
def _attribute_names(op_type):
    return tuple(attr.name for attr in _definition(op_type).attr if attr.type != "type")


def attributes_of(op) -> dict:
    """The attributes of an op that are no dtypes: what the ops have in common."""
    return {name: op.get_attr(name) for name in _attribute_names(op.type)}


@functools.cache
def dtypes(op_type, attribute) -> tuple[tf.DType, ...]:
    """The dtypes that an attribute such as "T" may be."""
    for attr in _definition(op_type).attr:
        if attr.name == attribute:
            return tuple(tf.as_dtype(number) for number in attr.allowed_values.list.type)
    raise KeyError(attribute)
