"""Finds the native library and loads it into a TensorFlow that it fits."""

import ctypes
import os
import types

from tf_roialign.version import __version__

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    if error.name != "tensorflow":  # TensorFlow is there, and broken
        raise
    raise ImportError(
        "tf_roialign needs TensorFlow: install `tf_roialign[cpu]` or `tf_roialign[gpu]`."
    ) from error

try:
    from tf_roialign import _build_info as build_info
except ImportError as error:
    raise ImportError(
        "tf_roialign has not been built: run `make setup` in its checkout, or install its wheel."
    ) from error


def library_path() -> str:
    """Returns the path of the native library.

    A C++ program that runs SavedModels with RoIAlign loads this file first
    (`TF_LoadLibrary`, `Env::LoadDynamicLibrary`).
    """
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_tf_roialign.so")


def simd_level() -> str:
    """Returns the instruction set in use on CPU: "baseline", "avx2" or "avx512".

    The best that the processor has, unless the environment variable
    `TF_ROIALIGN_SIMD` names a lower one.
    """
    function = ctypes.CDLL(library_path()).TfRoialignSimdLevel
    function.restype = ctypes.c_char_p
    return function().decode()


def cuda_kernels() -> str:
    """Returns which CUDA kernels the library has: "13.0, for 8.0, 9.0 and later"."""
    if build_info.CUDA is None:
        return "not built in"
    names = [f"{number // 10}.{number % 10}" for number in build_info.CUDA_ARCHITECTURES]
    return f"{build_info.CUDA}, for {', '.join(names)} and later"


def _minor_version(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _load() -> types.ModuleType:
    built_for = _minor_version(build_info.TF_VERSION)
    if _minor_version(tf.__version__) != built_for:
        raise ImportError(
            f"tf_roialign {__version__} was built for TensorFlow {built_for}, but TensorFlow "
            f"{tf.__version__} is installed: install `tensorflow~={built_for}.0`, or the "
            f"tf_roialign wheel for TensorFlow {_minor_version(tf.__version__)}."
        )
    return tf.load_op_library(library_path())


ops = _load()
