"""What the Keras layers have in common."""

import numbers
import sys
from typing import Any

import keras
import tensorflow as tf

from tf_roialign.arguments import (
    check_aligned,
    check_choice,
    check_output_size,
    check_sampling_ratio,
)
from tf_roialign.library import supports_xla
from tf_roialign.types import KerasDataFormat, Mode, OutputSize

DATA_FORMATS = {"channels_last": "NHWC", "channels_first": "NCHW"}


class PoolingLayer(keras.layers.Layer):
    """A layer that pools boxes. `automatic_name`: what it is called without a name."""

    automatic_name: str

    def __init__(
        self,
        output_size: OutputSize,
        sampling_ratio: int,
        aligned: bool,
        data_format: KerasDataFormat | None,
        mode: Mode,
        **kwargs: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                f"`{type(self).__name__}` needs Keras' TensorFlow backend, got "
                f'"{keras.backend.backend()}": set KERAS_BACKEND=tensorflow.'
            )
        if kwargs.get("name") is None:
            kwargs["name"] = self._next_name()
        # Keras' own casting would take the boxes to 16 bits as well.
        super().__init__(**{**kwargs, "autocast": False})
        self.output_size = check_output_size(output_size)
        self.sampling_ratio = check_sampling_ratio(sampling_ratio)
        self.aligned = check_aligned(aligned)
        self.data_format = check_choice(
            "data_format",
            keras.config.image_data_format() if data_format is None else data_format,
            tuple(DATA_FORMATS),
        )
        self.mode = check_choice("mode", mode, ("avg", "max"))
        # Keras' own layers allow nested numbers by position with this, as eager calls may have.
        self._allow_non_tensor_positional_args = True
        # What the calls have told: whether the number of boxes is fixed, whether they are ragged.
        self._box_count_is_fixed = None
        self._is_ragged = False

    @property
    def supports_jit(self) -> bool:
        """Whether Keras may compile this layer with XLA unasked."""
        if not (self._supports_jit and supports_xla()):
            return False
        return bool(self._box_count_is_fixed) or _is_asked_for_xla()

    def __setattr__(self, name, value):
        # Not a setter: TensorFlow does not call it with what the property says already, but False
        # has to last.
        super().__setattr__("_supports_jit" if name == "supports_jit" else name, value)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "sampling_ratio": self.sampling_ratio,
            "aligned": self.aligned,
            "data_format": self.data_format,
            "mode": self.mode,
        }

    def note_boxes(self, boxes):
        """Remembers what symbolic boxes tell about every call."""
        is_fixed = _has_fixed_count(boxes)
        self._box_count_is_fixed = is_fixed and self._box_count_is_fixed is not False
        self._is_ragged = getattr(boxes, "ragged", False)

    def note_call(self, boxes):
        """Remembers whether a call's boxes are ragged."""
        is_ragged = isinstance(boxes, tf.RaggedTensor)
        if is_ragged != self._is_ragged:  # Keras looks at all that is set, in every call
            self._is_ragged = is_ragged

    def in_compute_dtype(self, tensor):
        """`tf.cast` to the compute dtype, which takes its time even if there is nothing to do."""
        dtype = self.compute_dtype
        return tensor if tensor.dtype.name == dtype else tf.cast(tensor, dtype)

    def trace(self, boxes, *arguments):
        """The output's shape and dtype for symbolic arguments, of which `boxes` is one."""
        # Tracing the call asks the op's shape function, which knows the rules. Keras would trace
        # it too, but with dense boxes for ragged ones, and hide the error's text in its own.
        if getattr(boxes, "ragged", False) and len(boxes.shape) != 3:
            # Of rank 2 only an empty one would do, and the trace cannot tell.
            raise ValueError(
                f"`boxes` must be a RaggedTensor of shape [N, (L), 4], got {list(boxes.shape)}"
            )
        specs = tf.nest.map_structure(_spec, arguments)
        was_ragged = self._is_ragged
        trace = tf.function(self.call, autograph=False).get_concrete_function(*specs)
        self._is_ragged = was_ragged  # a trace is no call
        output = trace.structured_outputs
        return keras.KerasTensor(output.shape, output.dtype.name)

    @classmethod
    def _next_name(cls):
        # Keras would make "ro_i_align" of the class's name.
        uid = keras.backend.get_uid(cls.automatic_name)
        return cls.automatic_name if uid == 1 else f"{cls.automatic_name}_{uid - 1}"


def symbolic(shape, dtype="float32", ragged=False):
    """A KerasTensor of a shape; None for None."""
    if shape is None:
        return None
    if not ragged:
        return keras.KerasTensor(shape, dtype=dtype)
    try:
        return keras.KerasTensor(shape, dtype=dtype, ragged=True)
    except TypeError:  # an older Keras: it has no such thing, and looks at no such attribute
        tensor = keras.KerasTensor(shape, dtype=dtype)
        tensor.ragged = True
        return tensor


def symbolic_boxes(boxes_shape, is_ragged):
    """KerasTensors for the shape of boxes, or a list of shapes."""
    if is_shape(boxes_shape):
        return symbolic(boxes_shape, ragged=is_ragged and len(boxes_shape) == 3)
    return [symbolic(shape or (0, 4)) for shape in boxes_shape]


def is_shape(value):
    """Tells a shape from a structure of shapes."""
    return isinstance(value, tf.TensorShape) or (
        isinstance(value, list | tuple)
        and all(size is None or isinstance(size, numbers.Integral) for size in value)
    )


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
