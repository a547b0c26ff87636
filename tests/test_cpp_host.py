"""The C++ host of examples/cpp_host: a SavedModel served without Python, equal to the bit."""

import os
import pathlib
import shutil
import subprocess

import heads
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUN = ROOT / "examples/cpp_host/run.py"
if not RUN.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)
run = programs.load(RUN)


@pytest.fixture(name="host", scope="module")
def build_host():
    """Path of the program, up to date."""
    bazelisk = shutil.which("bazelisk", path=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    if bazelisk is None:
        pytest.skip("the C++ host is built by Bazel, which `make setup` sets up")
    target = "//examples/cpp_host:host"
    command = [bazelisk, "build", "--noshow_progress", "--ui_event_filters=-info", target]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "bazel-bin/examples/cpp_host/host"


def serve(host, *arguments, library=None):
    # Nothing of Python's, and nothing that says where libraries are.
    environment = {"PATH": "/nowhere", "TF_CPP_MIN_LOG_LEVEL": "2"}
    library = library or tf_roialign.library_path()
    return subprocess.run(
        [host, library, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(name="model", scope="module")
def export_model(tmp_path_factory):
    return export("faster_rcnn", tmp_path_factory.mktemp("model"))[0]


def export(name, folder):
    """(path of the SavedModel of these heads, what the request has besides images and boxes)."""
    model, inputs, more = heads.make(name, folder)
    path = folder / "1"
    tf_roialign.export_saved_model(model, path, inputs)
    return path, more


def request():
    return heads.request(3, (4, 0, 2))


def dense_request():
    inputs = request()
    del inputs["boxes_row_lengths"]
    return {**inputs, "boxes": inputs["boxes"].reshape(3, 2, 4)}


@pytest.mark.parametrize("signature", ["serving_default", "serving_dense"])
@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn", "module", "preprocessing"])
def test_equal_to_python(tmp_path, host, name, signature):
    """Scores and masks, and the names and numbers out of tables."""
    model, more = export(name, tmp_path)
    inputs = {**(request() if signature == "serving_default" else dense_request()), **more}
    loaded = tf.saved_model.load(str(model))
    expected = loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
    run.write_tensors(tmp_path / "request", inputs)
    process = serve(host, model, signature, tmp_path / "request", tmp_path / "response")
    assert process.returncode == 0, process.stderr
    got = run.read_tensors(tmp_path / "response")
    assert sorted(got) == sorted(expected)
    for key, value in got.items():
        assert value.dtype == expected[key].dtype.as_numpy_dtype
        assert value.shape == expected[key].shape
        if name == "preprocessing" and value.dtype.kind == "f":
            # Sessions fold the constants of the normalizations in another order.
            np.testing.assert_allclose(value, expected[key].numpy(), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(value, expected[key].numpy(), key)
        assert len(np.unique(value)) > 1, key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"boxes_row_lengths": np.array([4, 1, 2])},
            "must add up to the number of rows of `boxes`",
        ),
        ({"boxes": None}, "the request must have an input `boxes`"),
        ({"masks": np.zeros(2)}, "`serving_default` has no input `masks`"),
        ({"boxes_row_lengths": np.array([6])}, "must have one row per image"),
    ],
)
def test_bad_requests(tmp_path, host, model, change, message):
    inputs = {k: v for k, v in {**request(), **change}.items() if v is not None}
    run.write_tensors(tmp_path / "request", inputs)
    process = serve(host, model, "serving_default", tmp_path / "request", tmp_path / "response")
    assert process.returncode == 1
    assert message in process.stderr
    assert not (tmp_path / "response").exists()


def test_what_is_not_there_is_named(tmp_path, host, model):
    run.write_tensors(tmp_path / "request", request())
    (tmp_path / "text").write_text("no records")
    response = tmp_path / "response"
    for arguments, library, message in [
        ((model, "classify", tmp_path / "request"), None, "no signature `classify`"),
        (
            (tmp_path / "none", "serving_default", tmp_path / "request"),
            None,
            str(tmp_path / "none"),
        ),
        ((model, "serving_default", tmp_path / "none"), None, str(tmp_path / "none")),
        ((model, "serving_default", tmp_path / "text"), None, "error: "),
        ((model, "serving_default", tmp_path / "request"), tmp_path / "ops.so", "ops.so"),
    ]:
        process = serve(host, *arguments, response, library=library)
        assert process.returncode == 1
        assert message in process.stderr
