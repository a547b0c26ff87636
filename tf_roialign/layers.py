"""Keras layers."""

import numbers
import sys

import keras
import tensorflow as tf

from tf_roialign import keras2
from tf_roialign.arguments import (
    OutputSize,
    SpatialScale,
    check_aligned,
    check_choice,
    check_output_size,
    check_sampling_ratio,
    check_spatial_scale,
)
from tf_roialign.boxes import to_tensor
from tf_roialign.functional import roi_align
from tf_roialign.library import supports_xla

_DATA_FORMATS = {"channels_last": "NHWC", "channels_first": "NCHW"}


@keras.saving.register_keras_serializable(package="tf_roialign")
class RoIAlign(keras.layers.Layer):
    """Pools each box of a feature map to a fixed size, as `tf_roialign.roi_align`.

    Call it as `layer(features, boxes)` or `layer(features, boxes, box_indices)`; a list of
    these, `layer([features, boxes])`, or a dict of them by name does too (if boxes are tensors
    or arrays: Keras mixes no tensors and nested numbers in one structure).
    The features are cast to the layer's compute dtype; the boxes keep theirs
    under every dtype policy, since 16 bits cannot hold coordinates.

    XLA compiles again for every new number of boxes. So Keras' `jit_compile="auto"` takes XLA for
    a model with this layer only where the number of boxes of an image cannot change: in a
    functional model whose boxes are dense `[N, M, 4]` with a known M, or indexed with a known
    K. `compile(jit_compile=True)` takes it for all of them.

    The output has one row per box, while `fit` wants arrays with one row per image:
    train with a `tf.data.Dataset` of batches `((images, boxes), labels)` whose labels
    have one row per box.

    Example:
        image = keras.Input([None, None, 3])
        boxes = keras.Input([None, 4], ragged=True)
        features = keras.layers.Conv2D(64, 4, strides=4)(image)
        pooled = tf_roialign.RoIAlign(7, spatial_scale=1 / 4, aligned=True)(features, boxes)
        model = keras.Model([image, boxes], pooled)

    Args:
      output_size: Pooled height and width `(PH, PW)`, or one int for both, at
        least 1.
      spatial_scale: Feature pixels per input-image pixel, or `(y, x)` where the axes
        differ. Finite, greater than 0.
      sampling_ratio: Samples per bin and axis; adaptive if <= 0.
      aligned: Whether coordinates are shifted by half a feature pixel; see
        `tf_roialign.roi_align`.
      data_format: "channels_last", "channels_first", or None for
        `keras.config.image_data_format()`.
      **kwargs: Of `keras.layers.Layer`.

    Call arguments:
      features: `[N, H, W, C]` (channels_last) or `[N, C, H, W]`.
      boxes: `(x1, y1, x2, y2)` in input-image pixels: `[K, 5]` with the image
        index in column 0, `[K, 4]` with `box_indices`, a list of N tensors
        `[L_i, 4]`, a ragged `[N, (L), 4]` or a dense `[N, M, 4]`.
      box_indices: `[K]`, int32 or int64, for boxes `[K, 4]`.

    Returns:
      `[K, PH, PW, C]` (channels_first: `[K, C, PH, PW]`); for dense boxes
      `[N, M, PH, PW, C]` (`[N, M, C, PH, PW]`).

    Raises:
      ValueError: An argument is out of its range.
      RuntimeError: Keras runs on another backend than TensorFlow.

      Errors of a call are those of `tf_roialign.roi_align`.
    """

    def __init__(
        self,
        output_size: OutputSize,
        spatial_scale: SpatialScale = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
        data_format: str | None = None,
        **kwargs,
    ):
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "`RoIAlign` needs Keras' TensorFlow backend, got "
                f'"{keras.backend.backend()}": set KERAS_BACKEND=tensorflow.'
            )
        if kwargs.get("name") is None:
            kwargs["name"] = _automatic_name()
        # Keras' own casting would take the boxes to 16 bits as well.
        super().__init__(**{**kwargs, "autocast": False})
        self.output_size = check_output_size(output_size)
        self.spatial_scale = check_spatial_scale(spatial_scale)
        self.sampling_ratio = check_sampling_ratio(sampling_ratio)
        self.aligned = check_aligned(aligned)
        self.data_format = check_choice(
            "data_format",
            keras.config.image_data_format() if data_format is None else data_format,
            tuple(_DATA_FORMATS),
        )
        # Keras' own layers allow nested numbers by position with this, as eager calls may have.
        self._allow_non_tensor_positional_args = True
        # What the calls have told: whether the number of boxes is fixed, whether they are ragged.
        self._box_count_is_fixed = None
        self._is_ragged = False

    @property
    def supports_jit(self):
        """Whether Keras may compile this layer with XLA unasked."""
        if not (self._supports_jit and supports_xla()):
            return False
        return bool(self._box_count_is_fixed) or _is_asked_for_xla()

    def __setattr__(self, name, value):
        # Not a setter: TensorFlow does not call it with what the property says already, but False
        # has to last.
        super().__setattr__("_supports_jit" if name == "supports_jit" else name, value)

    def build(self, features_shape=None, boxes_shape=None, box_indices_shape=None):
        """Does nothing, since there are no weights; the shapes are those of `call`'s arguments."""

    def call(self, features, boxes=None, box_indices=None):
        """Pools the boxes; see the class."""
        features, boxes, box_indices = _arguments(features, boxes, box_indices)
        if keras2.is_symbol(features) or keras2.is_symbol(boxes):
            raise TypeError(
                "`RoIAlign` is a Keras 3 layer, got the symbolic input of a Keras 2 (tf_keras) "
                "model: there, call `tf_roialign.roi_align` in the `call` of a layer of your own"
            )
        self._is_ragged = isinstance(boxes, tf.RaggedTensor)
        return roi_align(
            tf.cast(to_tensor(features, "features"), self.compute_dtype),
            boxes,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            box_indices=box_indices,
            data_format=_DATA_FORMATS[self.data_format],
        )

    def compute_output_shape(self, features_shape, boxes_shape=None, box_indices_shape=None):
        """Returns the output's shape; a list of shapes stands for a list of boxes.

        Shapes do not tell ragged boxes from dense ones: `[N, None, 4]` is taken for dense boxes
        until the layer has been called with ragged ones.
        """
        if not _is_shape(features_shape):
            features_shape, boxes_shape, box_indices_shape = _arguments(
                features_shape, boxes_shape, box_indices_shape, "{}_shape"
            )
        if boxes_shape is None:
            # Nested Python numbers, of which Keras keeps no shape.
            one = self.compute_output_shape(features_shape, (1, 5))
            return (None, *one[1:])

        def symbolic(shape, dtype="float32", **kwargs):
            return None if shape is None else keras.KerasTensor(shape, dtype=dtype, **kwargs)

        if _is_shape(boxes_shape):
            is_ragged = self._is_ragged and len(boxes_shape) == 3
            boxes = symbolic(boxes_shape, ragged=is_ragged)
        else:
            boxes = [symbolic(shape or (0, 4)) for shape in boxes_shape]
        return self._output_spec(
            symbolic(features_shape), boxes, symbolic(box_indices_shape, "int32")
        ).shape

    def compute_output_spec(self, features, boxes=None, box_indices=None):
        """Returns the output's shape and dtype for symbolic inputs."""
        features, boxes, box_indices = _arguments(features, boxes, box_indices)
        spec = self._output_spec(features, boxes, box_indices)
        is_fixed = _has_fixed_count(boxes)
        self._box_count_is_fixed = is_fixed and self._box_count_is_fixed is not False
        self._is_ragged = getattr(boxes, "ragged", False)
        return spec

    def _output_spec(self, features, boxes, box_indices):
        # Tracing the call asks the op's shape function, which knows the rules. Keras would trace
        # it too, but with dense boxes for ragged ones, and hide the error's text in its own.
        if getattr(boxes, "ragged", False) and len(boxes.shape) != 3:
            # Of rank 2 only an empty one would do, and the trace cannot tell.
            raise ValueError(
                f"`boxes` must be a RaggedTensor of shape [N, (L), 4], got {list(boxes.shape)}"
            )
        arguments = tf.nest.map_structure(_spec, (features, boxes, box_indices))
        was_ragged = self._is_ragged
        trace = tf.function(self.call, autograph=False).get_concrete_function(*arguments)
        self._is_ragged = was_ragged  # a trace is no call
        output = trace.structured_outputs
        return keras.KerasTensor(output.shape, output.dtype.name)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "spatial_scale": self.spatial_scale,
            "sampling_ratio": self.sampling_ratio,
            "aligned": self.aligned,
            "data_format": self.data_format,
        }


def _automatic_name():
    # Keras would make "ro_i_align" of the class's name.
    uid = keras.backend.get_uid("roi_align")
    return "roi_align" if uid == 1 else f"roi_align_{uid - 1}"


def _arguments(features, boxes, box_indices, names="{}"):
    """The arguments of a call, of which the first may be a list or a dict of all of them."""
    if boxes is None and isinstance(features, dict):
        unknown = set(features) - {"features", "boxes", "box_indices"}
        if unknown or not {"features", "boxes"} <= set(features):
            raise ValueError(
                "a dict of inputs must have the keys `features`, `boxes` and, for boxes [K, 4], "
                f"`box_indices`, got {sorted(map(str, features))}"
            )
        return features["features"], features["boxes"], features.get("box_indices", box_indices)
    if boxes is None and isinstance(features, list | tuple) and len(features) in (2, 3):
        if len(features) == 3:
            return tuple(features)
        return *features, box_indices
    if boxes is None:
        raise TypeError(
            f"`{names.format('boxes')}` must be given: call the layer as `layer(features, boxes)` "
            "or `layer([features, boxes])`"
        )
    return features, boxes, box_indices


def _has_fixed_count(boxes):
    """Whether symbolic boxes have the same number for each image in every batch."""
    if isinstance(boxes, list | tuple) or getattr(boxes, "ragged", False):
        return False
    # Of a dense [N, M, 4], the number of images is Keras' batch, which XLA gets to know anyway.
    return boxes.shape[-2] is not None


def _is_asked_for_xla():
    """Whether Keras asks `supports_jit` because of a `compile(jit_compile=True)`.

    It asks the layers the same question when it decides by itself ("auto") and when it sets
    what the user said, in `Trainer.jit_compile`'s setter, where False would overrule the user.
    """
    frame = sys._getframe(2)
    for _ in range(4):  # all() over a generator, in model_supports_jit(), in the setter
        if frame is None:
            return False
        if frame.f_code.co_name == "jit_compile":
            return bool(frame.f_locals.get("value"))
        frame = frame.f_back
    return False


def _spec(value):
    """What a `tf.function` is traced with for a symbolic input; others pass."""
    if not isinstance(value, keras.KerasTensor):
        return value
    if getattr(value, "ragged", False):
        return tf.RaggedTensorSpec(value.shape, value.dtype, ragged_rank=1)
    return tf.TensorSpec(value.shape, value.dtype)


def _is_shape(value):
    """Tells a shape from a structure of shapes."""
    return isinstance(value, tf.TensorShape) or (
        isinstance(value, list | tuple)
        and all(size is None or isinstance(size, numbers.Integral) for size in value)
    )
