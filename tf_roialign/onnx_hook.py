"""Teaches tf2onnx RoIAlign whenever it is imported, be it by Keras' `export(format="onnx")`.

Without `tf_roialign.onnx` it would leave the op in the file, and say so in its log alone.
"""

import importlib
import warnings

import wrapt  # TensorFlow needs it too


def _teach(tf2onnx):
    try:
        importlib.import_module("tf_roialign.onnx")
    except ImportError as error:
        warnings.warn(f"RoIAlign cannot be converted to ONNX: {error}", stacklevel=2)


wrapt.register_post_import_hook(_teach, "tf2onnx")
