"""Teaches tf2onnx to write RoIAlign as ONNX' own `RoiAlign`, so that no custom op is needed.

Importing this module registers the handler with tf2onnx. That happens by itself in a process that
has imported `tf_roialign`, as soon as it imports tf2onnx::

    model, _ = tf2onnx.convert.from_function(function, input_signature)

or, for a Keras model whose boxes are not ragged, `model.export(path, format="onnx")`.

`RoiAlign` needs opset 16, so that becomes the default of tf2onnx, which was 15. With an older
one that is asked for, tf2onnx logs an error of ours and leaves the op `TfRoialign>RoiAlign` in the
file.

The model runs in onnxruntime, OpenVINO, TensorRT and whatever else knows `RoiAlign`. What
boxes, sampling ratios, `aligned` and layouts of `tf_roialign.roi_align` mean is kept, and
K, N, M may be unknown. What ONNX does not say:

* A box with a coordinate that is not finite is NaN here; in ONNX it is left open.
* An image index out of range is an error here; in ONNX it is left open. So are other
  checks of values: tf2onnx drops assertions.
* Dtypes: `RoiAlign` has one dtype for features and boxes, in which coordinates and
  results are computed. It is float64 if either is float64 here, or else float32, to
  which 16-bit features are widened. Runtimes may compute in fewer bits than they are
  told: OpenVINO does, for float64.
* Samples outside the map that read a NaN or infinite pixel: zero here; the border's
  pixels may leak into them in other implementations.

Raises:
  ImportError: On import: tf2onnx is not installed; it comes with `tf_roialign[onnx]`.
  ValueError: When converting, in tf2onnx' log, or from it with `continue_on_error=False`: the
    opset is less than 16, the rank or the last dimension of the boxes is unknown, `mode` is "max",
    which means something else in ONNX, or the scales of a pyramid are known to the run alone.
"""

import numpy as np

try:
    from onnx import TensorProto
    from tf2onnx import constants, utils
    from tf2onnx.handler import tf_op
except ModuleNotFoundError as error:
    if error.name not in ("onnx", "tf2onnx"):
        raise
    raise ImportError(
        f"tf_roialign.onnx needs {error.name}: install `tf_roialign[onnx]`."
    ) from error

from tf_roialign.library import level_rule  # noqa: E402

_OPSET = 16  # the first whose `RoiAlign` has both of the modes
# What tf2onnx takes where nobody says, so always for Keras' `export`.
constants.PREFERRED_OPSET = max(constants.PREFERRED_OPSET, _OPSET)

_MODES = {True: "half_pixel", False: "output_half_pixel"}  # by `aligned`
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


@tf_op("TfRoialign>RoiAlign")
class RoiAlign:
    """tf2onnx' handler of the op, found by the version of the opset."""

    @classmethod
    def version_1(cls, ctx, node, **kwargs):
        """Refuses: before opset 16 `RoiAlign` has no `aligned`."""
        raise ValueError(f"RoIAlign needs `opset` of at least {_OPSET}, got {ctx.opset}")

    @classmethod
    def version_16(cls, ctx, node, **kwargs):
        """Replaces the node."""
        features, boxes, box_indices = node.input
        call = _Call(ctx, node, features, boxes, box_indices)
        # Absent in graphs from before it was there.
        scales = node.get_attr_value("spatial_scales", None) or []
        y, x = scales if len(scales) else [node.get_attr_value("spatial_scale")] * 2
        call.finish(call.pool(features, y, x))


@tf_op("TfRoialign>MultiScaleRoiAlign")
class MultiScaleRoiAlign:
    """One `RoiAlign` of all boxes for each map, of which each box then takes its own."""

    @classmethod
    def version_1(cls, ctx, node, **kwargs):
        """Refuses, as for one map."""
        RoiAlign.version_1(ctx, node)

    @classmethod
    def version_16(cls, ctx, node, **kwargs):
        """Replaces the node."""
        *features, boxes, box_indices, levels, scales = node.input
        scales = _constant_value(ctx, scales)
        if scales is None:
            raise ValueError(
                "`spatial_scales` must be known to be converted to ONNX: give numbers, or make the "
                "layer with `spatial_scales`"
            )
        call = _Call(ctx, node, features[0], boxes, box_indices)
        of_maps = [call.pool(each, y, x) for each, (y, x) in zip(features, scales, strict=True)]
        given = _constant_value(ctx, levels)
        if given is not None and not given.size:
            levels = call.levels_by_area(
                node.get_attr_value("canonical_scale"),
                node.get_attr_value("canonical_level"),
                scales,
            )
        call.finish(call.choose(of_maps, levels))


def _constant_value(ctx, name):
    node = ctx.get_node_by_output(name)
    while node is not None and node.type == "Identity":
        node = ctx.get_node_by_output(node.input[0])
    return node.get_tensor_value(as_list=False) if node is not None and node.is_const() else None


class _Call:
    """A node that is replaced: its boxes as ONNX has them, and what comes of the maps."""

    def __init__(self, ctx, node, features, boxes, box_indices):
        self._ctx, self._node = ctx, node
        if node.get_attr_value("mode", b"avg") in (b"max", "max"):
            raise ValueError(
                'RoIAlign with `mode` "max" cannot be converted to ONNX: there, "max" takes the '
                "largest weighted pixel, before the pixels of a sample are added"
            )
        self._is_nhwc = node.get_attr_str("data_format") == "NHWC"
        self._shapes, self._dtypes = node.output_shapes, node.output_dtypes
        self._graph = graph = _Graph(ctx, node.name)
        self._dtype, box_dtype = ctx.get_dtype(features), ctx.get_dtype(boxes)
        self._boxes_are_double = box_dtype == TensorProto.DOUBLE
        is_double = TensorProto.DOUBLE in (self._dtype, box_dtype)
        self._computed = TensorProto.DOUBLE if is_double else TensorProto.FLOAT
        self._rank, columns = _rank_and_columns(ctx.get_shape(boxes))
        if self._rank == 3:
            self._dense_shape = graph.slice(graph.add("Shape", boxes), 0, 2)  # [N, M]
            box_indices = graph.image_of_each_box(self._dense_shape)
            boxes = graph.add("Reshape", boxes, graph.constant([-1, 4]))
        elif columns == 5:
            column = graph.add("Reshape", graph.slice(boxes, 0, 1, axis=1), graph.constant([-1]))
            box_indices = graph.cast(column, TensorProto.INT64)
            boxes = graph.slice(boxes, 1, 5, axis=1)
        else:
            box_indices = graph.cast(box_indices, TensorProto.INT64)
        self._box_indices = box_indices
        self._boxes = graph.cast(boxes, self._computed, unless=box_dtype)

    def pool(self, features, scale_y, scale_x):
        """All boxes on a map: [K, C, PH, PW]."""
        graph, node = self._graph, self._node
        output_height, output_width = node.get_attr_value("output_size")
        features = graph.cast(features, self._computed, unless=self._dtype)
        if self._is_nhwc:
            features = graph.add("Transpose", features, perm=_TO_NCHW)
        boxes, spatial_scale = self._boxes, scale_y
        if scale_y != scale_x:
            # `RoiAlign` has one scale. Coordinate * scale is the first thing that it does.
            of_columns = [scale_x, scale_y, scale_x, scale_y]
            boxes = graph.add("Mul", boxes, graph.constant(of_columns, self._computed))
            spatial_scale = 1.0
        aligned = bool(node.get_attr_value("aligned"))
        sampling_ratio = max(node.get_attr_value("sampling_ratio"), 0)
        # Boxes with x2 <= x1 have no samples. onnxruntime takes a negative number of them
        # for an overflow, and OpenVINO divides by none.
        may_have_no_sample = aligned and sampling_ratio == 0
        if may_have_no_sample:
            boxes, is_empty = graph.without_negative_extents(boxes, self._computed)
        output = graph.add(
            "RoiAlign",
            features,
            boxes,
            self._box_indices,
            coordinate_transformation_mode=_MODES[aligned],
            mode="avg",
            output_height=output_height,
            output_width=output_width,
            # ONNX' 0 is what every ratio <= 0 is here.
            sampling_ratio=sampling_ratio,
            spatial_scale=float(spatial_scale),
        )
        if may_have_no_sample:
            output = graph.add("Where", is_empty, graph.constant(0, self._computed), output)
        return output

    def levels_by_area(self, canonical_scale, canonical_level, scales):
        """Which map each box reads, by the bounds of areas that the op compares with too."""
        graph = self._graph
        dtype = TensorProto.DOUBLE if self._boxes_are_double else TensorProto.FLOAT
        boxes = graph.cast(self._boxes, dtype, unless=self._computed)
        sides = graph.add("Sub", graph.slice(boxes, 2, 4, axis=1), graph.slice(boxes, 0, 2, axis=1))
        area = graph.add("Mul", graph.slice(sides, 0, 1, axis=1), graph.slice(sides, 1, 2, axis=1))
        area = graph.add("Reshape", area, graph.constant([-1]))
        lowest, bounds = level_rule(
            canonical_scale, canonical_level, scales, self._boxes_are_double
        )
        levels = graph.constant(lowest)
        for least_area, each in bounds:
            is_above = graph.add("GreaterOrEqual", area, graph.constant(least_area, dtype))
            levels = graph.add("Where", is_above, graph.constant(each), levels)
        if not bounds:
            shape = graph.add("Shape", area)
            levels = graph.add("Expand", levels, shape)
        return levels

    def choose(self, of_maps, levels):
        """For each box the row of its map."""
        graph = self._graph
        stacked = graph.add("Concat", *of_maps, axis=0)  # [maps * K, ...]
        levels = graph.cast(levels, TensorProto.INT64)
        count = graph.add("Shape", levels)
        first = graph.add("Mul", levels, count)
        boxes = graph.add("Squeeze", count, graph.constant([0]))
        place = graph.add("Range", graph.constant(0), boxes, graph.constant(1))
        return graph.add("Gather", stacked, graph.add("Add", first, place), axis=0)

    def finish(self, output):
        """Puts `output` [K, C, PH, PW] in the node's place."""
        ctx, node, graph = self._ctx, self._node, self._graph
        if self._is_nhwc:
            output = graph.add("Transpose", output, perm=_TO_NHWC)
        if self._rank == 3:
            rest = graph.slice(graph.add("Shape", output), 1, 4)
            # A dimension of 0 is one, and not "as before".
            shape = graph.add("Concat", self._dense_shape, rest, axis=0)
            output = graph.add("Reshape", output, shape, allowzero=1)
        ctx.remove_node(node.name)
        ctx.make_node(
            "Cast",
            [output],
            attr={"to": self._dtype},
            name=node.name,
            outputs=node.output,
            shapes=self._shapes,
            dtypes=self._dtypes,
        )


@tf_op("UpperBound")
class UpperBound:
    """tf2onnx has no handler for what finds the image of each ragged box."""

    @classmethod
    def version_16(cls, ctx, node, **kwargs):
        """Replaces the node: how many of `sorted_inputs` [B, N] each of `values` [B, K] is past."""
        sorted_inputs, values = node.input
        shapes, dtypes = node.output_shapes, node.output_dtypes
        graph = _Graph(ctx, node.name)
        is_past = graph.add(
            "GreaterOrEqual",
            graph.add("Unsqueeze", values, graph.constant([2])),
            graph.add("Unsqueeze", sorted_inputs, graph.constant([1])),
        )
        count = graph.add(
            "ReduceSum", graph.cast(is_past, TensorProto.INT64), graph.constant([2]), keepdims=0
        )
        ctx.remove_node(node.name)
        ctx.make_node(
            "Cast",
            [count],
            attr={"to": dtypes[0]},
            name=node.name,
            outputs=node.output,
            shapes=shapes,
            dtypes=dtypes,
        )


def _rank_and_columns(shape):
    if shape is None or shape[-1] < 0:
        raise ValueError(
            "`boxes` must have a known rank and last dimension to be converted to ONNX, got "
            + ("a shape of unknown rank" if shape is None else f"{shape}")
        )
    return len(shape), shape[-1]


class _Graph:
    """Adds nodes to a tf2onnx graph; tensors are their names."""

    def __init__(self, ctx, scope):
        self._ctx = ctx
        self._scope = scope

    def add(self, op, *inputs, **attributes):
        name = utils.make_name(self._scope)
        return self._ctx.make_node(op, list(inputs), attr=attributes, name=name).output[0]

    def constant(self, values, dtype=TensorProto.INT64):
        name = utils.make_name(self._scope)
        array = np.array(values, utils.map_onnx_to_numpy_type(dtype))
        return self._ctx.make_const(name, array).output[0]

    def cast(self, tensor, dtype, unless=None):
        return tensor if unless == dtype else self.add("Cast", tensor, to=dtype)

    def slice(self, tensor, first, last, axis=0):
        return self.add("Slice", tensor, *(self.constant([i]) for i in (first, last, axis)))

    def image_of_each_box(self, dense_shape):
        """[0] * M + [1] * M + ... for the shape [N, M]."""
        images = self.add("Squeeze", self.slice(dense_shape, 0, 1), self.constant([0]))
        numbers = self.add("Range", self.constant(0), images, self.constant(1))
        columns = self.add("Unsqueeze", numbers, self.constant([1]))
        return self.add("Reshape", self.add("Expand", columns, dense_shape), self.constant([-1]))

    def without_negative_extents(self, boxes, dtype):
        """Returns (boxes with x2 >= x1 and y2 >= y1, [K, 1, 1, 1] whether one was not greater)."""
        first, second = self.slice(boxes, 0, 2, axis=1), self.slice(boxes, 2, 4, axis=1)
        width, height = (
            self.slice(self.add("Sub", second, first), i, i + 1, axis=1) for i in range(2)
        )
        smaller = self.add("Min", width, height)
        is_empty = self.add("LessOrEqual", smaller, self.constant(0, dtype))
        boxes = self.add("Concat", first, self.add("Max", first, second), axis=1)
        return boxes, self.add("Unsqueeze", is_empty, self.constant([2, 3]))
