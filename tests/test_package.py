"""The package: what it says about itself, and what it says when TensorFlow is another one."""

import importlib.metadata
import inspect
import pathlib
import re
import shutil
import subprocess
import sys

import programs
import pytest
import tensorflow as tf

import tf_roialign
from tf_roialign.library import build_info


def report(**environment):
    command = [sys.executable, "-m", "tf_roialign"]
    environment = {**programs.environment(), **environment}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return process.stdout


def test_bug_report():
    """`python -m tf_roialign` prints what a bug report needs."""
    text = report()
    assert tf_roialign.__version__ in text
    assert tf.__version__ in text
    assert tf_roialign.library_path() in text
    assert re.search(r"compiler.*(gcc|g\+\+|clang)\D*\d+", text, re.IGNORECASE)
    assert re.search(r"simd.*(avx512|avx2|baseline|sse|neon)", text, re.IGNORECASE)
    assert re.search(r"^CUDA +(not built in: \S|\d+\.\d+, for \d)", text, re.MULTILINE)
    assert sys.version.split()[0] in text


def test_report_on_a_driver_that_is_too_old(tmp_path):
    """One sentence, and nothing at the import. The driver is made up: it knows its version."""
    if build_info.CUDA is None:
        assert re.search(r"^GPU +no: there are no CUDA kernels$", report(), re.MULTILINE)
        return
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    source = tmp_path / "driver.c"
    source.write_text(
        "int cuInit(unsigned flags) { return 0; }\n"
        "int cuDriverGetVersion(int* version) { *version = 10020; return 0; }\n"
    )
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", library], check=True)
    text = report(LD_LIBRARY_PATH=str(tmp_path))
    assert re.search(
        rf"^GPU +no: RoIAlign's GPU kernels need an NVIDIA driver for CUDA {build_info.CUDA} or "
        r"later, and this one is for CUDA 10.2: update the driver$",
        text,
        re.MULTILINE,
    ), text


def test_report_without_a_driver():
    if build_info.CUDA is None:
        pytest.skip("the library has no CUDA kernels")
    if tf.config.list_physical_devices("GPU") or shutil.which("nvidia-smi"):
        pytest.skip("there is a driver")
    assert "GPU kernels need an NVIDIA driver, and there is none" in report()


def test_library_needs_no_cuda():
    """One library serves machines with and without a driver, CUDA kernels inside or not."""
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    dynamic = subprocess.run(
        ["readelf", "-d", tf_roialign.library_path()], capture_output=True, text=True, check=True
    ).stdout
    assert "libtensorflow_framework" in dynamic
    assert not re.search("libcuda|libnv", dynamic)


def test_library_path():
    path = pathlib.Path(tf_roialign.library_path())
    assert path.is_absolute() and path.is_file() and path.suffix == ".so"
    assert path.parent == pathlib.Path(tf_roialign.__file__).parent
    tf.load_op_library(str(path))  # a second load finds the ops registered and is harmless
    assert tf_roialign.roi_align(tf.ones([1, 2, 2, 1]), [[0.0, 0, 0, 1, 1]], 1).numpy().item() == 1


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z0-9.+]*)", tf_roialign.__version__)
    try:
        installed = importlib.metadata.version("tf_roialign")
    except importlib.metadata.PackageNotFoundError:
        return  # run from a source tree, nothing to compare with
    assert installed == tf_roialign.__version__


def test_another_tensorflow_is_refused():
    """The ABI is TensorFlow's: the message names both versions and says what to do."""
    program = """
import sys
import tensorflow as tf
for version in sys.argv[1:]:
    tf.__version__ = tf.version.VERSION = version
    for name in [name for name in sys.modules if name.startswith("tf_roialign")]:
        del sys.modules[name]
    try:
        import tf_roialign
    except ImportError as error:
        print(str(error).replace("\\n", " "))
    else:
        print("imported", tf_roialign.__version__)
"""
    ours = ".".join(tf.__version__.split(".")[:2])
    others = ("2.17.1", "2.99.0", "3.0.0")
    *refused, accepted = programs.run(program, *others, f"{ours}.99").stdout.splitlines()
    for other, message in zip(others, refused, strict=True):
        assert ours in message and other.rsplit(".", 1)[0] in message
        assert re.search("install `tensorflow~=.*, or build tf_roialign for this one", message)
    assert accepted.startswith("imported"), "another patch version fits"


def test_imported_again():
    """Its modules dropped, or reloaded one by one; what was imported first goes on working."""
    program = """
import importlib, sys
import keras
import tensorflow as tf
import tf_roialign
first = tf_roialign
features, boxes = tf.ones([1, 5, 5, 2]), tf.constant([[0, 0, 0, 3, 3.0]])

def use(package):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([features, boxes])
        pooled = package.roi_align(features, boxes, 2)
    assert tape.gradient(pooled, [features, boxes])[0].numpy().sum() == 8
    assert tape.jacobian(pooled, features).shape == [1, 2, 2, 2, 1, 5, 5, 2]  # vectorised
    layer = package.RoIAlign(2)
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert loaded(features, boxes).shape == [1, 2, 2, 2]

names = [name for name in sys.modules if name.split(".")[0] == "tf_roialign"]
use(first)
for name in names:
    del sys.modules[name]
import tf_roialign
assert tf_roialign is not first
use(tf_roialign)
use(first)
for name in sorted(names, reverse=True):
    importlib.reload(sys.modules[name])
use(tf_roialign)
for name in names:
    if name != "tf_roialign.gradients":
        sys.modules.pop(name)
import tf_roialign
use(tf_roialign)
print("done")
"""
    assert programs.run(program).stdout == "done\n"


def test_no_tensorflow_at_all():
    """An ImportError that says what to install, not a traceback from within."""
    program = """
import sys
sys.modules["tensorflow"] = None  # as if it were not installed
try:
    import tf_roialign
except ImportError as error:
    print(error)
"""
    message = programs.run(program).stdout
    assert "tensorflow" in message.lower()
    assert "[cpu]" in message and "[gpu]" in message


def test_import_registers_ops_and_gradients_at_once():
    program = """
import tf_roialign
from tensorflow.python.framework import op_def_registry, ops
for name in %r:
    name = "TfRoialign>" + name
    print(op_def_registry.get(name) is not None, ops.gradient_registry.lookup(name) is not None)
"""
    names = [
        "QuantizedRoiAlign",
        "RoiAlign",
        "RoiAlignBoxesGrad",
        "RoiAlignBoxesTangent",
        "RoiAlignBoxesTangentGrad",
        "RoiAlignGrad",
    ]
    assert programs.run(program % names).stdout.split() == ["True", "True"] * len(names)


def test_every_op_is_documented():
    """Inputs, outputs and attributes of the ops, each with a sentence of its own."""
    from tf_roialign import raw_ops

    assert len(raw_ops.__all__) == 14
    for function in (getattr(raw_ops, name) for name in raw_ops.__all__):
        text = inspect.getdoc(function)
        for name in inspect.signature(function).parameters:
            if name != "name":
                assert re.search(rf"^ *{name}: .*\S", text, re.MULTILINE), (function, name)


@pytest.mark.parametrize(
    "name",
    [
        *("RoIAlign", "check_boxes", "export_saved_model", "library_path"),
        *("quantized_roi_align", "roi_align", "flatten_boxes", "multiscale_roi_align"),
        *("quantized_multiscale_roi_align", "MultiScaleRoIAlign", "draw"),
    ],
)
def test_public_names_are_documented(name):
    assert name in tf_roialign.__all__
    public = getattr(tf_roialign, name)
    assert len(inspect.getdoc(public).splitlines()) >= 1
    if name != "library_path":
        text = inspect.getdoc(public)
        parameters = [
            *("features", "boxes", "box_indices", "output_size", "spatial_scale"),
            *("sampling_ratio", "aligned", "data_format"),
        ]
        of_one_map = ("RoIAlign", "quantized_roi_align", "roi_align")
        if name not in of_one_map:
            parameters = list(inspect.signature(public).parameters)
        for parameter in parameters:
            assert re.search(rf"`?{parameter}`?", text), parameter
        assert "Raises" in text


def test_signatures_are_those_of_torchvision():
    """The same names in the same order with the same defaults: a port is a rename."""
    parameters = inspect.signature(tf_roialign.roi_align).parameters
    assert list(parameters) == [
        *("features", "boxes", "output_size", "spatial_scale", "sampling_ratio", "aligned"),
        *("box_indices", "data_format", "mode", "name"),
    ]
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert defaults == {
        "spatial_scale": 1.0,
        "sampling_ratio": -1,
        "aligned": False,
        "box_indices": None,
        "data_format": "NHWC",
        "mode": "avg",
        "name": None,
    }
    assert all(
        parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        for name in ("box_indices", "data_format", "mode", "name")
    )
    parameters = inspect.signature(tf_roialign.RoIAlign).parameters
    assert list(parameters)[:5] == [
        *("output_size", "spatial_scale", "sampling_ratio", "aligned", "data_format"),
    ]


def test_is_typed():
    assert (pathlib.Path(tf_roialign.__file__).parent / "py.typed").is_file()
