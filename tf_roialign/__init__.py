"""RoIAlign for TensorFlow, with the meaning of `torchvision.ops.roi_align`.

Importing the package loads the native library and registers its ops and their
gradients, so that `tf.saved_model.load` finds them.
"""

# First: they say what is wrong where TensorFlow is missing or another version, or Keras is set to
# run on what is not installed.
from tf_roialign.library import library_path

# isort: split
from tf_roialign import keras_import as _keras_import  # noqa: F401

# isort: split
from tf_roialign import gradients as _gradients  # noqa: F401  (registers)
from tf_roialign import onnx_hook as _onnx_hook  # noqa: F401  (registers)
from tf_roialign import raw_ops
from tf_roialign import vectorization as _vectorization  # noqa: F401  (registers)
from tf_roialign.boxes import flatten_boxes
from tf_roialign.checks import check_boxes
from tf_roialign.drawing import draw
from tf_roialign.export import export_saved_model
from tf_roialign.functional import roi_align
from tf_roialign.layers import RoIAlign
from tf_roialign.memory import KeptMemory, kept_memory, limit_kept_memory
from tf_roialign.multiscale import multiscale_roi_align, quantized_multiscale_roi_align
from tf_roialign.multiscale_layer import MultiScaleRoIAlign
from tf_roialign.quantized import quantized_roi_align
from tf_roialign.training import BoxModel, BoxTraining
from tf_roialign.version import __version__

__all__ = [
    "BoxModel",
    "BoxTraining",
    "KeptMemory",
    "MultiScaleRoIAlign",
    "RoIAlign",
    "__version__",
    "check_boxes",
    "draw",
    "export_saved_model",
    "flatten_boxes",
    "kept_memory",
    "library_path",
    "limit_kept_memory",
    "multiscale_roi_align",
    "quantized_multiscale_roi_align",
    "quantized_roi_align",
    "raw_ops",
    "roi_align",
]


def __dir__() -> list[str]:
    """What is public, for completion: not the modules that it comes from."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
