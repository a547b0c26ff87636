"""Finds the native library and loads it into a TensorFlow that it fits."""

import contextlib
import ctypes
import os
import types

from tf_roialign import native_file
from tf_roialign.version import __version__


def _is_in_main_interpreter() -> bool:
    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = api.PyInterpreterState_Main.restype = ctypes.c_void_p
    return api.PyInterpreterState_Get() == api.PyInterpreterState_Main()


# TensorFlow 2.21 waits there for ever.
if not _is_in_main_interpreter():
    raise ImportError(
        "tf_roialign cannot be imported in a subinterpreter of Python, for TensorFlow cannot: use "
        "a process."
    )

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


# That an op may have: kMaxMaps of cc/core/call/feature_maps.h.
MAX_MAPS = 8


_FOLDER = os.path.dirname(os.path.abspath(__file__))
_CORE = "_tf_roialign_core.so"


def _path_of(name: str) -> str:
    minor = _minor_version(tf.__version__).replace(".", "_")
    return os.path.join(_FOLDER, f"{name}_{minor}.so")


def library_path() -> str:
    """Returns the path of the native library for the TensorFlow of this process.

    A C++ program that runs SavedModels with RoIAlign loads this file first
    (`TF_LoadLibrary`, `Env::LoadDynamicLibrary`). It finds `_tf_roialign_core.so` beside it.
    """
    return _path_of("_tf_roialign")


def xla_library_path() -> str:
    """Returns the path of the library with which XLA compiles the ops.

    Needed beside `library_path()` only by those who run functions that were made with
    `jit_compile=True`, or with auto-clustering.
    """
    return _path_of("_tf_roialign_xla")


def simd_level() -> str:
    """Returns the instruction set in use on CPU: "baseline", "avx2" or "avx512".

    The best that the processor has, unless the environment variable
    `TF_ROIALIGN_SIMD` names a lower one.
    """
    function = ctypes.CDLL(library_path()).TfRoialignSimdLevel
    function.restype = ctypes.c_char_p
    return function().decode()


def level_rule(canonical_scale, canonical_level, scales, boxes_are_double):
    """The rule for the levels of boxes as (lowest map, [(least area, map), ...]), for exporters.

    `scales`: (y, x) of each map. A box reads the last map whose least area it has.
    """
    count = len(scales)
    areas, maps = (ctypes.c_double * (MAX_MAPS - 1))(), (ctypes.c_int32 * (MAX_MAPS - 1))()
    function = ctypes.CDLL(library_path()).TfRoialignLevelRule
    lowest = function(
        ctypes.c_double(canonical_scale),
        ctypes.c_int64(canonical_level),
        (ctypes.c_double * (2 * count))(*(number for scale in scales for number in scale)),
        ctypes.c_int(count),
        ctypes.c_bool(boxes_are_double),
        areas,
        maps,
    )
    bounds = zip(areas, maps, strict=True)
    return lowest, [(area, each) for area, each in bounds if area == area]  # not NaN


def cuda_kernels() -> str:
    """Returns which CUDA kernels the library has, or why it has none.

    "13.0, for 8.0, 9.0 and later": the version of CUDA, and compute capabilities.
    """
    if build_info.CUDA is None:
        return f"not built in: {build_info.CUDA_NOTE}"
    names = [f"{number // 10}.{number % 10}" for number in build_info.CUDA_ARCHITECTURES]
    return f"{build_info.CUDA}, for {', '.join(names)} and later"


def gpu_problem() -> str | None:
    """Returns why the CUDA kernels cannot run on the GPUs of this machine; None if they can."""
    if build_info.CUDA is None:
        return "there are no CUDA kernels"
    function = ctypes.CDLL(library_path()).TfRoialignCudaProblem
    function.restype = ctypes.c_char_p
    return function().decode() or None


def _minor_version(version: str) -> str:
    return ".".join(version.split(".")[:2])


def built_for() -> str | None:
    """Returns the version that the library for this TensorFlow was compiled against."""
    for version in build_info.TF_VERSIONS:
        if _minor_version(version) == _minor_version(tf.__version__):
            return version
    return None


def _load() -> types.ModuleType:
    if built_for() is None:
        versions = [_minor_version(version) for version in build_info.TF_VERSIONS]
        listed = " and ".join([*filter(None, [", ".join(versions[:-1])]), versions[-1]])
        raise ImportError(
            f"tf_roialign {__version__} has libraries for TensorFlow {listed}, and TensorFlow "
            f"{tf.__version__} is installed: install `tensorflow~={versions[-1]}.0`, or build "
            "tf_roialign for this one (`pip install --no-build-isolation .` in its source)."
        )
    path = library_path()
    _refuse_another_copy(path)
    problem = _problem_of_files(path)
    if problem is None:
        try:
            ops = tf.load_op_library(_without_links(path))
        except (tf.errors.OpError, OSError, RuntimeError) as error:
            problem = _text_of(error)
        else:
            if hasattr(ops, "tf_roialign_roi_align"):
                return ops
            problem = "its file has been loaded before, by another path"
    raise ImportError(
        f"tf_roialign {__version__} cannot load its library {path}: {problem}. Install tf_roialign "
        "again (`pip install --force-reinstall --no-deps tf_roialign`), or run `make build` in its "
        "checkout."
    )


def _refuse_another_copy(path: str) -> None:
    """Raises if TensorFlow has the ops from another file.

    It would take the kernels of both, and then refuse to choose between them.
    """
    from tensorflow.python.framework import op_def_registry

    if op_def_registry.get("TfRoialign>RoiAlign") is None or _is_loaded(path):
        return
    others = ", ".join(_loaded_libraries()) or "a library that it is linked with"
    raise ImportError(
        f"tf_roialign cannot be imported from {_FOLDER}: TensorFlow has its ops already, from "
        f"{others}. A process can have one copy of tf_roialign."
    )


def _is_loaded(path: str) -> bool:
    """Whether the process has the library of this file, by whatever path."""
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True


def _loaded_libraries() -> list[str]:
    """The paths of all copies of the library in the process, where the system tells."""
    try:
        with open("/proc/self/maps") as file:
            paths = {line.split(maxsplit=5)[-1].strip() for line in file if "_tf_roialign" in line}
    except OSError:
        return []
    return sorted(path for path in paths if os.path.basename(path) != _CORE)


def _without_links(path: str) -> str:
    """The path with the folder's real name, by which TensorFlow tells what it has loaded."""
    return os.path.join(os.path.realpath(_FOLDER), os.path.basename(path))


def _problem_of_files(path: str) -> str | None:
    """Why a library cannot be loaded, as far as files tell: its own and that of the core."""
    problem = native_file.problem_of(path)
    if problem is None and (of_core := native_file.problem_of(os.path.join(_FOLDER, _CORE))):
        problem = f"of {_CORE} beside it, {of_core}"
    return problem


def _text_of(error: Exception) -> str:
    return str(getattr(error, "message", error))


def _load_xla() -> str | None:
    """Loads what XLA needs; returns None, or why it cannot be loaded."""
    path = xla_library_path()
    if not os.path.exists(path):
        return (
            f"{path} is not there: the package was built without it (in a checkout, `make build` "
            "adds it)"
        )
    problem = _problem_of_files(path)
    if problem is not None:
        return f"{path} cannot be loaded: {problem}"
    try:
        tf.load_library(_without_links(path))
    except (tf.errors.OpError, OSError, RuntimeError) as error:
        return _text_of(error)
    return None


def register_once(registrar, op_type):
    """A decorator that registers a function for an op with one of TensorFlow's registries.

    These refuse a second one, which comes when the package is imported again: notebooks'
    autoreload and some test runners drop modules. The function of the first import stays, and
    does the same.
    """

    def register(function):
        with contextlib.suppress(KeyError, AssertionError):
            registrar(op_type)(function)
        return function

    return register


def supports_xla() -> bool:
    """Tells whether XLA can compile the ops on every device of this process."""
    if xla_problem is not None:
        return False
    if build_info.CUDA is not None or not tf.test.is_built_with_gpu_support():
        return True
    return not tf.config.list_physical_devices("GPU")


def _traced_for_xla() -> bool:
    # Not at the top: a module of TensorFlow's own, which another version may lack, and that
    # version is to be refused in clear words first.
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def check_xla() -> None:
    """Raises if a function is traced for XLA that XLA cannot compile.

    TensorFlow would say so too, in other words and without the reason.
    """
    if xla_problem is not None and _traced_for_xla():
        raise RuntimeError(f"RoIAlign cannot be compiled by XLA (jit_compile=True): {xla_problem}")


ops = _load()
# Why XLA cannot compile the ops; None if it can.
xla_problem = _load_xla()
