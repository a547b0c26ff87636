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
ROI_ALIGN_MAX_GRAD = "TfRoialign>RoiAlignMaxGrad"
ROI_ALIGN_BOXES_GRAD = "TfRoialign>RoiAlignBoxesGrad"
ROI_ALIGN_BOXES_TANGENT = "TfRoialign>RoiAlignBoxesTangent"
ROI_ALIGN_BOXES_TANGENT_GRAD = "TfRoialign>RoiAlignBoxesTangentGrad"
QUANTIZED_ROI_ALIGN = "TfRoialign>QuantizedRoiAlign"


def on_many_maps(op_type) -> str:
    """The op that does on a list of maps what `op_type` does on one."""
    return op_type.replace("RoiAlign", "MultiScaleRoiAlign")


def reads_many_maps(op_type) -> bool:
    """Whether an op reads a list of maps."""
    return "MultiScale" in op_type


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


def places_of_inputs(op) -> dict:
    """By name where an input of an op of a graph or a tape is: an index, or those of a list."""
    places, at = {}, 0
    for argument in _definition(op.type).input_arg:
        if argument.number_attr:
            end = at + op.get_attr(argument.number_attr)
            places[argument.name] = list(range(at, end))
            at = end
        else:
            places[argument.name] = at
            at += 1
    return places


def inputs_of(op):
    """The inputs of an op of a graph or a tape, as a namedtuple; lists are lists."""
    inputs = op.inputs
    return _inputs_class(op.type)(
        *(
            [inputs[i] for i in place] if isinstance(place, list) else inputs[place]
            for place in places_of_inputs(op).values()
        )
    )


@functools.cache
def attribute_names(op_type) -> tuple[str, ...]:
    """The attributes of an op that its inputs do not tell: what the ops have in common."""
    definition = _definition(op_type)
    told_by_inputs = {argument.number_attr for argument in definition.input_arg}
    return tuple(
        attr.name
        for attr in definition.attr
        if attr.type != "type" and attr.name not in told_by_inputs
    )


def attributes_of(op) -> dict:
    """What these are of an op of a graph or a tape."""
    return {name: op.get_attr(name) for name in attribute_names(op.type)}


@functools.cache
def dtypes(op_type, attribute) -> tuple[tf.DType, ...]:
    """The dtypes that an attribute such as "T" may be."""
    for attr in _definition(op_type).attr:
        if attr.name == attribute:
            return tuple(tf.as_dtype(number) for number in attr.allowed_values.list.type)
    raise KeyError(attribute)
