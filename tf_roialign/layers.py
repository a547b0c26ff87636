"""Keras layers."""

import numbers

import keras
import tensorflow as tf

from tf_roialign.arguments import (
    OutputSize,
    check_aligned,
    check_choice,
    check_output_size,
    check_sampling_ratio,
    check_spatial_scale,
)
from tf_roialign.functional import roi_align
from tf_roialign.library import supports_xla

_DATA_FORMATS = {"channels_last": "NHWC", "channels_first": "NCHW"}


@keras.saving.register_keras_serializable(package="tf_roialign")
class RoIAlign(keras.layers.Layer):
    """Pools each box of a feature map to a fixed size, as `tf_roialign.roi_align`.

    Call it as `layer(features, boxes)` or `layer(features, boxes, box_indices)`.
    The features are cast to the layer's compute dtype; the boxes keep theirs
    under every dtype policy, since 16 bits cannot hold coordinates.

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
      spatial_scale: Feature pixels per input-image pixel. Finite, greater than
        0.
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
        spatial_scale: float = 1.0,
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
        self.supports_jit = supports_xla()

    def call(self, features, boxes, box_indices=None):
        """Pools the boxes; see the class."""
        features = tf.cast(tf.convert_to_tensor(features), self.compute_dtype)
        return roi_align(
            features,
            boxes,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
            box_indices=box_indices,
            data_format=_DATA_FORMATS[self.data_format],
        )

    def compute_output_shape(self, features_shape, boxes_shape, box_indices_shape=None):
        """Returns the output's shape; a list of shapes stands for a list of boxes."""

        def symbolic(shape, dtype="float32"):
            return None if shape is None else keras.KerasTensor(shape, dtype=dtype)

        if boxes_shape and not _is_size(boxes_shape[0]):
            boxes = [symbolic(shape) for shape in boxes_shape]
        else:
            boxes = symbolic(boxes_shape)
        return self.compute_output_spec(
            symbolic(features_shape), boxes, symbolic(box_indices_shape, "int32")
        ).shape

    def compute_output_spec(self, features, boxes, box_indices=None):
        """Returns the output's shape and dtype for symbolic inputs."""
        if getattr(boxes, "ragged", False):
            # Keras would trace `call` with dense boxes of the same shape.
            if len(boxes.shape) != 3 or boxes.shape[2] not in (4, None):
                raise ValueError(
                    f"`boxes` must be a RaggedTensor of shape [N, (L), 4], got {list(boxes.shape)}"
                )
            if box_indices is not None:
                raise ValueError(
                    "`boxes` must have shape [K, 4] when `box_indices` is given, got a RaggedTensor"
                )
            images, rows = features.shape[0], boxes.shape[0]
            if None not in (images, rows) and images != rows:
                raise ValueError(f"`boxes` must have one row per image ({images}), got {rows}")
            boxes = keras.KerasTensor([None, 4], dtype=boxes.dtype)
            box_indices = keras.KerasTensor([None], dtype="int32")
        # Traces `call`: the op's shape function knows the rules. Layer's own would ask
        # compute_output_shape.
        return keras.Operation.compute_output_spec(self, features, boxes, box_indices)

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


def _is_size(value):
    return value is None or isinstance(value, numbers.Integral)
