"""The library's loader: what it says of files that it cannot load, and where it works.

Each program runs in a process of its own, most of them on a copy of the package.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import sys

import programs
import pytest

import tf_roialign
from tf_roialign import native_file

PACKAGE = pathlib.Path(tf_roialign.__file__).resolve().parent
LIBRARY = pathlib.Path(tf_roialign.library_path()).name
XLA = LIBRARY.replace("_tf_roialign", "_tf_roialign_xla")
CORE = "_tf_roialign_core.so"

# What the programs begin with: `use` shows that the package works, in a function too.
USE = """
import os, sys
import numpy as np
import tensorflow as tf

FEATURES, BOXES = np.arange(50, dtype="float32").reshape(1, 5, 5, 2), [[0.0, 0, 0, 3, 3]]

def use(package):
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = package.roi_align(features, tf.constant(BOXES), 2)
    assert tape.gradient(pooled, features).numpy().sum() == 8
    assert pooled.numpy()[0, 0, 0].tolist() == [9, 10], pooled
    return tf.function(package.roi_align)(FEATURES, tf.constant(BOXES), 2)

def drop():
    for name in [name for name in sys.modules if name.split(".")[0] == "tf_roialign"]:
        del sys.modules[name]

def refused():
    try:
        import tf_roialign
    except ImportError as error:
        return str(error)
    raise AssertionError("imported from " + tf_roialign.__file__)
"""


def run(program, *arguments, **variables):
    """What a program prints, without the line's end."""
    return programs.run(USE + program, *arguments, **variables).stdout.removesuffix("\n")


def run_copy(program, folder, *arguments, **variables):
    """The same on the copy of the package in a folder."""
    return run(f"sys.path.insert(0, {str(folder)!r})\n{program}", *arguments, **variables)


@pytest.fixture
def copy(tmp_path):
    """The path of a copy of the package, which is the program's to change."""
    folder = tmp_path / "copy" / "tf_roialign"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_copy_works(copy):
    """What the tests below change is what is missing there."""
    program = "import tf_roialign; use(tf_roialign); print(tf_roialign.__file__)"
    assert run_copy(program, copy.parent) == str(copy / "__init__.py")


def cut(path, size):
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def to_another_machine(path):
    """As if it were for 64-bit ARM, or for x86-64 on that."""
    data = bytearray(path.read_bytes())
    data[18] = 183 if data[18] != 183 else 62
    path.write_bytes(data)


def to_another_tensorflow(path):
    """A function that is called has another name, as in a library for another minor version."""
    data = path.read_bytes()
    name = b"OpKernelRegistrar12InitInternal"
    assert name in data
    path.write_bytes(data.replace(name, b"OpKernelRegistrar12InitInternaX"))


FILES = {
    "missing": (LIBRARY, pathlib.Path.unlink, "the file is not there"),
    "half": (LIBRARY, lambda path: cut(path, path.stat().st_size // 2), r"the file is cut off"),
    "text": (LIBRARY, lambda path: path.write_text("a" * 4096), "the file is no shared library"),
    "machine": (LIBRARY, to_another_machine, r"it is for \w+, and this machine is \w+"),
    "tensorflow": (LIBRARY, to_another_tensorflow, "undefined symbol: .*OpKernelRegistrar"),
    "core-missing": (CORE, pathlib.Path.unlink, f"of {CORE} beside it, the file is not there"),
    "core-half": (CORE, lambda path: cut(path, 10**6), f"of {CORE} beside it, the file is cut off"),
}


@pytest.mark.parametrize(("name", "change", "problem"), FILES.values(), ids=FILES)
def test_a_library_that_cannot_be_loaded(name, change, problem, copy):
    """One ImportError that names the file, says what is wrong with it, and what to do."""
    change(copy / name)
    message = run_copy("print(refused())", copy.parent)
    assert message.count("\n") == 0
    assert message.startswith(f"tf_roialign {tf_roialign.__version__} cannot load its library ")
    assert str(copy / LIBRARY) in message
    assert re.search(problem, message), message
    assert "pip install --force-reinstall" in message and "make build" in message


@pytest.mark.parametrize("change", ["missing", "half", "machine"])
def test_a_library_for_xla_that_cannot_be_loaded(change, copy):
    """All else works, and jit_compile=True says why it does not."""
    _, change, problem = FILES[change]
    if not (copy / XLA).exists():
        pytest.skip("the package is built without XLA")
    change(copy / XLA)
    message = run_copy(
        """
import tf_roialign
use(tf_roialign)
try:
    tf.function(tf_roialign.roi_align, jit_compile=True, autograph=False)(FEATURES, BOXES, 2)
except RuntimeError as error:
    print(error)
""",
        copy.parent,
    )
    assert message.startswith("RoIAlign cannot be compiled by XLA (jit_compile=True): ")
    assert str(copy / XLA) in message
    assert "is not there" in message or re.search(problem, message), message


@pytest.mark.parametrize("name", [LIBRARY, CORE])
def test_files_that_are_cut_off_anywhere(name, tmp_path):
    """The last byte of a segment or of the table of sections may be the one that lacks."""
    path = tmp_path / name
    shutil.copy(PACKAGE / name, path)
    size = path.stat().st_size
    assert native_file.problem_of(path) is None
    for kept in (size - 1, size - 4000, size // 2, size // 3, 4096, 200, 64, 63, 16, 4, 3, 1, 0):
        cut(path, kept)
        assert native_file.problem_of(path).startswith("the file is cut off"), kept
    assert "cannot be read" in native_file.problem_of(tmp_path)


def test_a_folder_that_cannot_be_written(copy):
    """Nothing is written beside the library, by the import or by a call."""
    if not sys.platform.startswith("linux"):
        pytest.skip("root is kept from writing by Linux' means")
    for path in (copy, *copy.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(copy.iterdir())
    program = (
        USE
        + """
folder = sys.argv[1]
sys.path.insert(0, os.path.dirname(folder))
try:
    open(os.path.join(folder, "new"), "w")
except PermissionError:
    import tf_roialign
    use(tf_roialign)
    print(tf_roialign.__file__)
"""
    )
    # Root may write everywhere, but without this capability (CAP_DAC_OVERRIDE, PR_CAPBSET_DROP).
    start = """
import ctypes, os, sys
if os.geteuid() == 0:
    if ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) != 0:
        sys.exit("root stays able to write here")
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
    process = programs.run(start, program, copy, check=False)
    if "root stays able to write here" in process.stderr:
        pytest.skip("root cannot give up writing everywhere: there is no CAP_SETPCAP")
    assert process.stdout == f"{copy / '__init__.py'}\n", process.stderr
    assert sorted(copy.iterdir()) == before


def test_two_copies(copy, tmp_path):
    """The second is refused, and the first goes on working; so it is when modules are dropped."""
    other = tmp_path / "other"
    shutil.copytree(copy.parent, other)
    message = run_copy(
        """
import tf_roialign
first = tf_roialign
use(first)
drop()
sys.path.insert(0, sys.argv[1])
print(refused())
use(first)
drop()
del sys.path[0]
import tf_roialign
assert tf_roialign is not first
use(tf_roialign)
use(first)
""",
        copy.parent,
        other,
    )
    assert message == (
        f"tf_roialign cannot be imported from {other / 'tf_roialign'}: TensorFlow has its ops "
        f"already, from {copy / LIBRARY}, {copy / XLA}. A process can have one copy of tf_roialign."
    )


@pytest.mark.parametrize("first", ["real", "link"])
def test_by_two_paths(first, copy, tmp_path):
    """A link to the folder is the same copy: both imports work."""
    link = tmp_path / "link"
    link.symlink_to(copy.parent)
    paths = [copy.parent, link] if first == "real" else [link, copy.parent]
    program = """
for path in sys.argv[1:]:
    drop()
    sys.path.insert(0, path)
    import tf_roialign
    use(tf_roialign)
    tf.function(tf_roialign.roi_align, jit_compile=True)(FEATURES, BOXES, 2)
    print(tf_roialign.__file__)
"""
    assert run(program, *paths).splitlines() == [
        f"{path}/tf_roialign/__init__.py" for path in paths
    ]


def test_by_another_name_of_the_file(copy, tmp_path):
    """TensorFlow knows files by their names, and tells of the ops once a file."""
    other = tmp_path / "other" / "tf_roialign"
    shutil.copytree(copy, other, copy_function=os.link)
    message = run_copy(
        """
import tf_roialign
use(tf_roialign)
first = tf_roialign
drop()
sys.path.insert(0, sys.argv[1])
print(refused())
use(first)
""",
        copy.parent,
        other.parent,
    )
    assert "its file has been loaded before, by another path" in message


def test_loaded_by_hand_before():
    """As a program may that serves models: the import finds the ops."""
    program = (
        "tf.load_op_library(sys.argv[1]); import tf_roialign; use(tf_roialign); print('works')"
    )
    assert run(program, tf_roialign.library_path()) == "works"


# Registers an op of any name, with features and boxes, by TensorFlow's C API.
REGISTER = """
import ctypes

def register(name):
    folder = tf.sysconfig.get_lib()
    library = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"))
    new = library.TF_NewOpDefinitionBuilder
    new.restype = ctypes.c_void_p
    builder = ctypes.c_void_p(new(name.encode()))
    for each in ("features: float", "boxes: float"):
        library.TF_OpDefinitionBuilderAddInput(builder, each.encode())
    library.TF_OpDefinitionBuilderAddOutput(builder, b"output: float")
    status_of = library.TF_NewStatus
    status_of.restype = ctypes.c_void_p
    status = ctypes.c_void_p(status_of())
    library.TF_RegisterOpDefinition(builder, status)
    library.TF_GetCode.argtypes = [ctypes.c_void_p]
    assert library.TF_GetCode(status) == 0
    from tensorflow.python.framework import op_def_registry
    assert op_def_registry.get(name) is not None
"""


def test_ops_of_similar_names():
    program = (
        REGISTER
        + """
for name in ("RoiAlign", "ROIAlign", "RoiAlignGrad", "TfRoialignRoiAlign", "Other>RoiAlign",
             "Tf>RoiAlign", "TfRoialign>Roialign", "TfRoialign>RoiAlignOther", "QuantizedRoiAlign"):
    register(name)
import tf_roialign
use(tf_roialign)
tf.function(tf_roialign.roi_align, jit_compile=True)(FEATURES, BOXES, 2)
print("works")
"""
    )
    assert run(program) == "works"


def test_an_op_of_the_same_name():
    """Not by this library: what it means is not known."""
    program = REGISTER + "register('TfRoialign>RoiAlign'); print(refused())"
    message = run(program)
    assert "TensorFlow has its ops already" in message and message.count("\n") == 0


def test_imported_in_a_thread():
    program = """
import concurrent.futures

def load(number):
    import tf_roialign
    use(tf_roialign)
    return tf_roialign

with concurrent.futures.ThreadPoolExecutor(4) as threads:
    packages = list(threads.map(load, range(8)))
import tf_roialign
assert all(package is tf_roialign for package in packages)
use(tf_roialign)
print("works")
"""
    assert run(program) == "works"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("used", [False, True], ids=["imported", "used"])
def test_in_a_forked_child(used):
    """The calling thread does the work: threads that it could wait for are the parent's.

    Where TensorFlow has threads already, its own ops do wait.
    """
    program = """
import signal, warnings
import tf_roialign

rng = np.random.default_rng(1)
features = rng.standard_normal([2, 64, 64, 32]).astype("float32")
corners = rng.uniform(0, 40, [300, 2])
boxes = np.concatenate([rng.integers(0, 2, [300, 1]), corners, corners + 20], 1).astype("float32")

def large():
    given = tf.constant(boxes)
    pooled = tf_roialign.roi_align(tf.constant(features), given, 7)
    gradient = tf_roialign.raw_ops.roi_align_grad(
        pooled, given, tf.constant([], tf.int32), tf.constant(features.shape), [7, 7]
    )
    return pooled.numpy(), gradient.numpy()

expected = large() if sys.argv[1] == "True" else None
warnings.simplefilter("ignore")  # of Python, that a process with threads forks
child = os.fork()
if child == 0:
    signal.alarm(120)
    got = large()
    if expected is None:
        use(tf_roialign)
    else:
        assert all((a == b).all() for a, b in zip(got, expected))
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
use(tf_roialign)
print("works")
"""
    assert run(program, used) == "works"


def test_in_a_subinterpreter():
    """TensorFlow's import waits there for ever, so it is not begun."""
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

text = '''
import sys
try:
    import tf_roialign
except ImportError as error:
    print(error, "tensorflow" in sys.modules, flush=True)
'''
interpreters.run_string(interpreters.create(), text)
print("lives")
"""
    message, lives = programs.run(program).stdout.splitlines()
    assert message == (
        "tf_roialign cannot be imported in a subinterpreter of Python, for TensorFlow cannot: use "
        "a process. False"
    )
    assert lives == "lives"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_on_what_is_not_installed(backend):
    if importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is installed")
    message = run("print(refused())", KERAS_BACKEND=backend)
    assert message.startswith("tf_roialign needs Keras, which cannot be imported: ")
    assert f'KERAS_BACKEND names ("{backend}" now)' in message
    assert "set KERAS_BACKEND=tensorflow" in message and message.count("\n") == 0


@pytest.mark.parametrize("backend", ["numpy", "openvino"])
def test_keras_on_another_backend(backend):
    """The functions work, and the layers say what they need."""
    program = """
try:
    import keras
except ImportError as error:
    sys.exit(f"cannot be imported: {error}")
import tf_roialign
use(tf_roialign)
RoIAlign, MultiScaleRoIAlign = tf_roialign.RoIAlign, tf_roialign.MultiScaleRoIAlign
for layer in (lambda: RoIAlign(2), lambda: MultiScaleRoIAlign(["p2"], 2, 1)):
    try:
        layer()
    except RuntimeError as error:
        print(error)
"""
    process = programs.run(USE + program, check=False, KERAS_BACKEND=backend)
    if "cannot be imported: " in process.stderr:
        pytest.skip(f"Keras on {backend} {process.stderr.splitlines()[-1]}")
    needs = f'needs Keras\' TensorFlow backend, got "{backend}": set KERAS_BACKEND=tensorflow.'
    lines = [f"`{name}` {needs}" for name in ("RoIAlign", "MultiScaleRoIAlign")]
    assert process.stdout.splitlines() == lines, process.stderr


def test_without_keras():
    program = "sys.modules['keras'] = None; print(refused())"
    message = run(program)
    assert message.startswith("tf_roialign needs Keras, which cannot be imported: ")
