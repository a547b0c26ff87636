"""Writes SavedModels whose signatures take ragged boxes.

A signature of a SavedModel takes tensors only, and Keras' own export makes dense ones of
ragged inputs. So a ragged input travels as two tensors: its rows, and how many of them
each image has.
"""

from __future__ import annotations

import gc
import inspect
import keyword
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_roialign import keras2
from tf_roialign.boxes import shape_text

RAGGED_SIGNATURE = "serving_default"
DENSE_SIGNATURE = "serving_dense"
ROW_LENGTHS = "_row_lengths"

_AUTOMATIC = r"keras_tensor(_\d+)?"  # what Keras calls inputs without a name
_AUTOMATIC_2 = r"input_\d+"  # what Keras 2 does
# Boxes of the last image in the trial run that finds the outputs with one row per box.
_TRIAL_ROWS = 1009


def export_saved_model(
    model: keras.Model | Callable[..., Any],
    path: str | os.PathLike[str],
    inputs: Any = None,
    *,
    box_outputs: Sequence[str] | None = None,
) -> None:
    """Writes a SavedModel that is served with any number of boxes per image.

    It has two signatures. For a model of `images` and ragged `boxes` they are

    * `"serving_default"`: `images`, `boxes` `[sum(L), 4]`, the boxes of all images
      one after the other, and `boxes_row_lengths` `[N]`, int64, how many of them
      belong to each image. Outputs are as the model gives them.
    * `"serving_dense"`: `images` and `boxes` `[N, M, 4]`, the same number for each
      image, and of every ragged input. Outputs with one row per box become `[N, M, ...]`.

    Every ragged input is replaced like this; the others pass as they are. The signatures
    name the outputs by the keys of a dict, or else `output_0`, `output_1`, ... An output
    that is ragged itself comes as two, its rows and `<name>_row_lengths`.

    A process that loads the SavedModel imports `tf_roialign` first; a C++ program loads
    `tf_roialign.library_path()`.

    Example::

        tf_roialign.export_saved_model(model, "served/1")
        loaded = tf.saved_model.load("served/1")  # owns the variables of its signatures
        serve = loaded.signatures["serving_default"]
        serve(images=images, boxes=flat_boxes, boxes_row_lengths=row_lengths)

    Args:
      model: A `keras.Model` of Keras 3 or of Keras 2 (tf_keras), which is called with
        `training=False`, or any callable of TensorFlow code: a function, a `tf.function`, a
        bound method, a `tf.Module`. What it uses is saved, not the model itself: variables,
        lookup tables and their files.
      path: Folder to write to. TensorFlow Serving wants a number for its last part.
      inputs: What the model takes: a `tf.TensorSpec`, `tf.RaggedTensorSpec` or
        `keras.Input`, or a list, tuple or dict of them; at least one is ragged, with
        ragged_rank 1. A Keras model is called with the structure as its one argument, as
        by `predict`, unless its `call` requires several; any other callable with one argument
        per entry, by name for a dict.
        The default is the inputs of a functional Keras model. Inputs are named by
        the keys of a dict, the specs' own names, the callable's parameters, or else, and
        where these are no ASCII identifiers of Python, begin with `_`, or are one of its
        keywords or `self`, `input_0`, `input_1`, ...
      box_outputs: Names of the outputs that have one row per box. The default asks a
        trial run with known sizes, which computes shapes and no values.

    Raises:
      ValueError: There is no ragged input, `inputs` is missing or is something else than
        described above, two names are the same, or `box_outputs` names no output, or is
        missing and it cannot be told which outputs have one row per box.

    A served request raises `tf.errors.InvalidArgumentError` where the row lengths are
    negative or do not add up to the number of rows, and the errors of
    `tf_roialign.roi_align`.
    """
    inputs = _model_inputs(model) if inputs is None else inputs
    specs = _named_specs(model, inputs)
    ragged = [name for name, spec in specs.items() if isinstance(spec, tf.RaggedTensorSpec)]
    if not ragged:
        how = (
            "`model.export(path, input_signature=[...])`"
            if isinstance(model, keras.Model)
            else "`tf.saved_model.save(module, path, signatures=...)`"
        )
        raise ValueError(f"`inputs` must have a ragged one, got none: {how} writes a model without")

    call = _caller(model, inputs)
    if box_outputs is None:
        # Of a tf.function its Python, since shapes of ragged values end at its border.
        python = getattr(model, "python_function", model)
        box_outputs = _find_box_outputs(_caller(python, inputs), specs)

    def serve_ragged(**tensors):
        return _flat(call({name: _to_ragged(name, spec, tensors) for name, spec in specs.items()}))

    def serve_dense(**tensors):
        shape = tf.shape(tensors[ragged[0]], out_type=tf.int64)
        for name in ragged[1:]:
            tensors[name] = _like_first(tensors[name], name, shape, ragged[0])
        outputs = call(
            {
                name: _dense_to_ragged(tensor) if name in ragged else tensor
                for name, tensor in ((name, tensors[name]) for name in specs)
            }
        )
        _check_box_outputs(box_outputs, outputs)
        for name in box_outputs:
            outputs[name] = _split_rows(outputs[name], tensors[ragged[0]].shape[:2], shape[:2])
        return _flat(outputs)

    signatures = {
        RAGGED_SIGNATURE: _trace(serve_ragged, _ragged_signature(specs)),
        DENSE_SIGNATURE: _trace(serve_dense, _dense_signature(specs)),
    }
    module = tf.Module()
    # Not the model: Keras would add signatures of its own, traced with dense boxes.
    module.resources = _captured_resources(list(signatures.values()), model)
    tf.saved_model.save(module, os.fspath(path), signatures=signatures)


def _captured_resources(functions, model):
    """The variables and the tables, with their assets, that the functions use."""
    captured = [id(t) for f in functions for t in f.captured_inputs if t.dtype == tf.resource]
    owners = {}

    def claim(objects):
        for item in objects:
            owners.setdefault(_handle_id(item), item)

    for function in functions:
        claim(function.graph.variables)
    for root in (model, getattr(model, "__self__", None)):
        if isinstance(root, tf.__internal__.tracking.Trackable):
            claim(tf.train.TrackableView(root).descendants())
    if any(handle not in owners for handle in captured):
        # In closures, globals and containers that TensorFlow does not look into.
        claim(gc.get_objects())
    return [owners[handle] for handle in dict.fromkeys(captured) if handle in owners]


def _handle_id(item):
    """Identifies what graphs capture of a variable or a table; None of anything else."""
    # type(), since isinstance() would ask objects that make things up, such as lazy modules.
    try:
        if issubclass(type(item), tf.Variable):
            return id(item.handle)
        if issubclass(type(item), tf.saved_model.experimental.TrackableResource):
            return id(item.resource_handle)
    except (ValueError, AttributeError, NotImplementedError):
        pass  # of several devices, outside of them all; of another graph; not made yet
    return None


def _is_keras_model(value):
    return isinstance(value, keras.Model) or keras2.is_model(value)


def _wants_arguments(model):
    """Whether the `call` of a Keras model cannot do with one argument for all inputs."""
    parameters = inspect.signature(model.call).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len([p for p in required if p.name not in ("training", "mask")]) > 1


def _model_inputs(model):
    inputs = model.input if _is_keras_model(model) and _has_inputs(model) else None
    if inputs is None:
        raise ValueError(
            "`inputs` must be given unless `model` is a functional Keras model, got "
            f"{type(model).__name__}"
        )
    return inputs


def _has_inputs(model):
    try:
        return model.input is not None
    except (AttributeError, ValueError):  # a subclass of keras.Model has none
        return False


def _named_specs(model, inputs):
    """The specs by the name that they have in the signatures, in tf.nest's order."""
    leaves = tf.nest.flatten(inputs)
    names = _keys(inputs)
    if names is None:
        parameters = [] if _is_keras_model(model) else _parameters(model)
        parameters += [None] * len(leaves)
        names = [_own_name(leaf) or parameters[i] for i, leaf in enumerate(leaves)]
    names = [name if _is_usable(name) else f"input_{i}" for i, name in enumerate(names)]
    specs = {}
    for name, leaf in zip(names, leaves, strict=True):
        if name in specs:
            raise ValueError(f"`inputs` must have names that differ, got `{name}` twice")
        specs[name] = _spec(name, leaf)
    for name, spec in specs.items():
        if isinstance(spec, tf.RaggedTensorSpec) and name + ROW_LENGTHS in specs:
            raise ValueError(
                f"`inputs` must not have `{name + ROW_LENGTHS}`, which the ragged `{name}` makes"
            )
    return specs


def _keys(inputs):
    """The keys of a flat dict of inputs, in tf.nest's order; None if it is no dict."""
    if not isinstance(inputs, dict):
        return None
    keys = sorted(inputs)
    if any(tf.nest.is_nested(value) for value in inputs.values()):
        raise ValueError(f"`inputs` must be flat, got a dict of structures with keys {keys}")
    return [str(key) for key in keys]


def _parameters(function):
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters
        return [name for name, p in parameters.items() if p.kind not in several]
    except (TypeError, ValueError):  # not every callable tells
        return []


def _own_name(leaf):
    name = getattr(leaf, "name", None) or ""
    # Both Keras number the inputs that were given no name through the whole process.
    is_automatic = (isinstance(leaf, keras.KerasTensor) and re.fullmatch(_AUTOMATIC, name)) or (
        keras2.is_symbol(leaf) and re.fullmatch(_AUTOMATIC_2, name)
    )
    # Of names that cannot be used, a tf.function makes some.
    return name if _is_usable(name) and not is_automatic else None


def _is_usable(name):
    """Whether TensorFlow can make it the parameter of a signature."""
    is_identifier = bool(name) and name.isascii() and name.isidentifier()
    return (
        is_identifier
        and not name.startswith("_")
        and not keyword.iskeyword(name)
        and name != "self"
    )


def _spec(name, leaf):
    if isinstance(leaf, keras.KerasTensor):
        shape, dtype = leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
        if not getattr(leaf, "ragged", False):
            return tf.TensorSpec(shape, dtype)
        leaf = tf.RaggedTensorSpec(shape, dtype, ragged_rank=1)
    elif keras2.is_symbol(leaf):
        leaf = leaf.type_spec
    if isinstance(leaf, tf.RaggedTensorSpec):
        if leaf.ragged_rank != 1:
            raise ValueError(
                f"`{name}` must have ragged_rank 1, got {leaf.ragged_rank}: give it a shape "
                "[N, (L), ...] whose other dimensions are not ragged"
            )
        return leaf
    if isinstance(leaf, tf.TensorSpec):
        return leaf
    raise ValueError(
        f"`{name}` must be a tf.TensorSpec, a tf.RaggedTensorSpec or a keras.Input, got "
        f"{type(leaf).__name__}"
    )


def _trace(function, signature):
    return tf.function(function, autograph=False).get_concrete_function(**signature)


def _caller(model, inputs):
    """A function of the values by name, that returns the outputs by name."""
    by_name = isinstance(inputs, dict)
    is_spread = isinstance(inputs, list | tuple | dict) and (
        not _is_keras_model(model) or _wants_arguments(model)
    )

    def run(*parts):
        # A pair is a ragged tensor, made in here to keep what is known of its values' shape.
        values = [
            tf.RaggedTensor.from_row_splits(*part, validate=False) if len(part) == 2 else part[0]
            for part in parts
        ]
        structure = tf.nest.pack_sequence_as(inputs, values)
        options = {"training": False} if _is_keras_model(model) else {}
        if not is_spread:
            return model(structure, **options)
        return model(**structure, **options) if by_name else model(*structure, **options)

    # Keras does without AutoGraph; other code may need it.
    function = run if _is_keras_model(model) else tf.function(run)

    def call(values):
        parts = [
            (v.values, v.row_splits) if isinstance(v, tf.RaggedTensor) else (v,)
            for v in values.values()
        ]
        return _named_outputs(function(*parts))

    return call


def _named_outputs(outputs):
    """The outputs by the name that they have in the signatures."""
    if isinstance(outputs, dict) and not any(tf.nest.is_nested(v) for v in outputs.values()):
        return {str(key): _to_tensor(value) for key, value in outputs.items()}
    return {f"output_{i}": _to_tensor(value) for i, value in enumerate(tf.nest.flatten(outputs))}


def _to_tensor(value):
    return value if isinstance(value, tf.RaggedTensor) else tf.convert_to_tensor(value)


def _flat(outputs):
    """Ragged outputs as two each, for a signature returns tensors only."""
    flat = {}
    for name, output in outputs.items():
        if isinstance(output, tf.RaggedTensor):
            if output.ragged_rank != 1:
                raise ValueError(
                    f"the output `{name}` must have ragged_rank 1, got {output.ragged_rank}"
                )
            if name + ROW_LENGTHS in outputs:
                raise ValueError(
                    f"the outputs must not be named `{name}` and `{name + ROW_LENGTHS}`: the "
                    "second is the name of the row lengths of the first"
                )
            flat[name + ROW_LENGTHS] = output.row_lengths()
            output = output.values
        flat[name] = output
    return flat


def _ragged_signature(specs):
    signature = {}
    for name, spec in specs.items():
        if isinstance(spec, tf.RaggedTensorSpec):
            rows = [None, *spec.shape[2:]]
            signature[name + ROW_LENGTHS] = tf.TensorSpec(
                spec.shape[:1], tf.int64, name + ROW_LENGTHS
            )
            signature[name] = tf.TensorSpec(rows, spec.dtype, name)
        else:
            signature[name] = tf.TensorSpec(spec.shape, spec.dtype, name)
    return signature


def _dense_signature(specs):
    return {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}


def _to_ragged(name, spec, tensors):
    """One input of the model out of those of the ragged signature."""
    rows = tensors[name]
    if not isinstance(spec, tf.RaggedTensorSpec):
        return rows
    lengths = tensors[name + ROW_LENGTHS]
    total, count = tf.reduce_sum(lengths), tf.shape(rows, out_type=tf.int64)[0]
    checks = [
        tf.debugging.Assert(
            tf.reduce_all(lengths >= 0),
            [f"`{name + ROW_LENGTHS}` must not be negative, got", lengths],
            summarize=-1,
        ),
        tf.debugging.Assert(
            tf.equal(total, count),
            [
                f"`{name + ROW_LENGTHS}` must add up to the number of rows of `{name}`",
                [count],
                "got",
                [total],
            ],
        ),
    ]
    with tf.control_dependencies(checks):
        lengths = tf.identity(lengths)
    return tf.RaggedTensor.from_row_lengths(rows, lengths, validate=False)


def _dense_to_ragged(tensor):
    """`[N, M, ...]` as a ragged tensor of the same rows."""
    shape = tf.shape(tensor, out_type=tf.int64)
    rows = tf.reshape(tensor, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))
    rows = tf.ensure_shape(rows, [None, *tensor.shape[2:]])
    return tf.RaggedTensor.from_row_lengths(rows, tf.fill(shape[:1], shape[1]), validate=False)


def _like_first(tensor, name, shape, first):
    """Of several ragged inputs `[N, M, ...]`, the rows belong together."""
    own = tf.shape(tensor, out_type=tf.int64)[:2]
    check = tf.debugging.Assert(
        tf.reduce_all(tf.equal(own, shape[:2])),
        [f"`{name}` must have as many images and rows as `{first}`", shape[:2], "got", own],
    )
    with tf.control_dependencies([check]):
        return tf.identity(tensor)


def _split_rows(output, static_shape, shape):
    """`[N * M, ...]` -> `[N, M, ...]`."""
    split = tf.reshape(output, tf.concat([shape, tf.shape(output, out_type=tf.int64)[1:]], 0))
    if output.shape.rank is None:
        return split
    return tf.ensure_shape(split, [*static_shape, *output.shape[1:]])


def _find_box_outputs(call, specs):
    """Names of the outputs that have one row per box, by the shapes of a trial run."""
    ragged = {name: s for name, s in specs.items() if isinstance(s, tf.RaggedTensorSpec)}
    known = [*ragged.values(), *(s for name, s in specs.items() if name not in ragged)]
    images = next((s.shape[0] for s in known if s.shape.rank and s.shape[0] is not None), 3)
    # The row count is one that nothing else has.
    lengths = [2] * (images - 1) + [_TRIAL_ROWS]
    rows = sum(lengths)
    signature = {}
    for name, spec in specs.items():
        if name in ragged:
            shape = [rows, *spec.shape[2:]]
        else:
            shape = spec.shape
            if shape.rank and shape[0] is None:
                shape = [images, *shape[1:]]
        signature[name] = tf.TensorSpec(shape, spec.dtype, name)

    def run(**tensors):
        for name in ragged:
            tensors[name] = tf.RaggedTensor.from_row_lengths(
                tensors[name], tf.constant(lengths, tf.int64), validate=False
            )
        return call({name: tensors[name] for name in specs})

    try:
        trial = _trace(run, signature)
    except Exception as error:
        raise ValueError(
            "`box_outputs` must be given: the trial run that finds them, with a batch of "
            f"{images} in every input, failed. Name the outputs with one row per box, "
            "`export_saved_model(..., box_outputs=[...])`; should that fail too, it is the model. "
            f"{type(error).__name__}: {error}"
        ) from error
    found = []
    for name, output in trial.structured_outputs.items():
        if isinstance(output, tf.RaggedTensorSpec):
            continue
        # A scalar has no rows.
        count = 0 if output.shape.rank == 0 else None
        if output.shape.rank:
            count = output.shape[0]
        if count is None:
            shape = "unknown rank" if output.shape.rank is None else f"shape {shape_text(output)}"
            raise ValueError(
                f"`box_outputs` must be given: it cannot be told whether the output `{name}` of "
                f"{shape} has one row per box. Name all that have, of "
                f"{list(trial.structured_outputs)}: `export_saved_model(..., box_outputs="
                f"{[name]})`, or `box_outputs=[]` if there is none; see docs/serving.md"
            )
        if count == rows:
            found.append(name)
    return found


def _check_box_outputs(box_outputs, outputs):
    tensors = [name for name, x in outputs.items() if not isinstance(x, tf.RaggedTensor)]
    if isinstance(box_outputs, str):
        raise ValueError(f"`box_outputs` must be a list of names, got the string `{box_outputs}`")
    for i, name in enumerate(box_outputs):
        if name in box_outputs[:i]:
            raise ValueError(f"`box_outputs` must have names that differ, got `{name}` twice")
        if name in tensors and outputs[name].shape.rank == 0:
            raise ValueError(
                f"`box_outputs` must name outputs with one row per box, got `{name}`, a scalar"
            )
        if name not in tensors:
            raise ValueError(
                f"`box_outputs` must name outputs that are no RaggedTensors ({', '.join(tensors)}),"
                f" got `{name}`"
            )
