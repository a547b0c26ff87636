"""Models converted by tf2onnx with tf_roialign.onnx: standard ops only, TensorFlow's results."""

import importlib
import pathlib
import re

import cases
import heads
import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

WHY_SKIPPED = "the `onnx` extra is not installed: `make setup-onnx` installs it"
onnx = pytest.importorskip("onnx", reason=WHY_SKIPPED)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY_SKIPPED)
openvino = pytest.importorskip("openvino", reason=WHY_SKIPPED)
tf2onnx = pytest.importorskip("tf2onnx", reason=WHY_SKIPPED)
import tf_roialign.onnx  # noqa: E402  (needs the extra)

HEIGHT, WIDTH, CHANNELS, SCALE = 9, 13, 5, 0.5
FORMS = ("indexed", "box_indices", "dense", "list", "ragged")


def run_onnxruntime(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def run_openvino(model, inputs):
    core = openvino.Core()
    # Its own default on some processors is bfloat16.
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = compiled(inputs)
    # In the order of the model; OpenVINO knows several names of one tensor.
    names = [output.name for output in model.graph.output]
    return {name: results[i] for i, name in enumerate(names)}


RUNTIMES = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def convert(function, specs, opset=16):
    model, _ = tf2onnx.convert.from_function(tf.function(function), specs, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}, "no custom op"
    assert "RoiAlign" in {node.op_type for node in model.graph.node}
    return model


def specs_of(form, data_format, dtype="float32", box_dtype="float32"):
    """Names and signature for boxes in this form, with every size that may be left open."""
    channels = [None, CHANNELS] if data_format == "NCHW" else [None]
    features = [*channels, None, None] + ([CHANNELS] if data_format == "NHWC" else [])
    specs = [tf.TensorSpec(features, dtype, "features")]
    columns = 5 if form == "indexed" else 4
    rows = [None, None, 4] if form == "dense" else [None, columns]
    specs.append(tf.TensorSpec(rows, box_dtype, "boxes"))
    if form in ("box_indices", "ragged"):
        specs.append(tf.TensorSpec([None], "int64", "more"))
    return specs


def call_in_form(form, features, boxes, more, scale=SCALE, **attributes):
    """roi_align of what ONNX models take: tensors."""
    if form == "ragged":
        boxes = tf.RaggedTensor.from_row_lengths(boxes, more)
    elif form == "list":
        boxes = [boxes[:4], boxes[4:4], boxes[4:]]
    indices = {"box_indices": more} if form == "box_indices" else {}
    return tf_roialign.roi_align(features, boxes, (3, 2), scale, **indices, **attributes)


def make_inputs(form, data_format, *, images=3, count=18, dtype="float32", box_dtype="float32"):
    rng = np.random.default_rng(cases.seed_of(form, data_format, count))
    values = rng.standard_normal((images, HEIGHT, WIDTH, CHANNELS))
    boxes = cases.random_boxes(rng, count, HEIGHT, WIDTH, SCALE, box_dtype)
    indices = cases.random_indices(rng, form, count, images)
    inputs = {"features": cases.from_nhwc(values, data_format).astype(dtype), "boxes": boxes}
    if form == "indexed":
        inputs["boxes"] = np.concatenate([indices[:, None].astype(box_dtype), boxes], axis=1)
    elif form == "dense":
        inputs["boxes"] = boxes.reshape(images, -1, 4)
    elif form == "box_indices":
        inputs["more"] = indices
    elif form == "ragged":
        inputs["more"] = np.bincount(indices, minlength=images)
    return inputs


@pytest.fixture(name="model_of", scope="module")
def make_models():
    """One model a form and layout, with an output for each `aligned` and sampling ratio."""
    made = {}

    def model_of(form, data_format):
        def function(features, boxes, more=None):
            return {
                f"aligned_{aligned}_{ratio}": call_in_form(
                    form,
                    features,
                    boxes,
                    more,
                    aligned=aligned,
                    sampling_ratio=ratio,
                    data_format=data_format,
                )
                for aligned in (False, True)
                for ratio in (-1, 0, 1, 2, 3)
            }

        key = form, data_format
        if key not in made:
            made[key] = function, convert(function, specs_of(form, data_format))
        return made[key]

    return model_of


def assert_equal(got, expected, what):
    magnitude = np.abs(expected).max(initial=1)
    cases.assert_close(got, expected, rtol=1e-5, atol=1e-5 * magnitude, what=what)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_layout_and_ratio(model_of, form, data_format, runtime):
    function, model = model_of(form, data_format)
    for count in (18, 9) if form != "list" else (18,):  # K is the model's input
        inputs = make_inputs(form, data_format, count=count)
        got = RUNTIMES[runtime](model, inputs)
        expected = function(**{name: tf.constant(x) for name, x in inputs.items()})
        assert sorted(got) == sorted(expected)
        for name, value in expected.items():
            assert_equal(got[name], value.numpy(), name)
    ratios = {
        attribute.i
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "sampling_ratio"
    }
    assert ratios == {0, 1, 2, 3}


@pytest.mark.parametrize("form", ["indexed", "box_indices", "dense", "ragged"])
def test_no_boxes(model_of, form):
    function, model = model_of(form, "NHWC")
    inputs = make_inputs(form, "NHWC", count=0)
    got = run_onnxruntime(model, inputs)
    for name, value in function(**{k: tf.constant(x) for k, x in inputs.items()}).items():
        assert got[name].shape == value.shape
        assert got[name].size == 0


@pytest.mark.parametrize(
    ("dtype", "box_dtype"),
    [
        ("float64", "float64"),
        ("float64", "float32"),
        ("float32", "float64"),
        ("float16", "float32"),
    ],
)
@pytest.mark.parametrize("form", ["box_indices", "dense"])
def test_dtypes(form, dtype, box_dtype):
    """Computed in float64 if either is, else in float32; the output has the features' dtype."""

    def function(features, boxes, more=None):
        return call_in_form(form, features, boxes, more, sampling_ratio=2, aligned=True)

    model = convert(function, specs_of(form, "NHWC", dtype, box_dtype))
    inputs = make_inputs(form, "NHWC", dtype=dtype, box_dtype=box_dtype)
    (got,) = run_onnxruntime(model, inputs).values()
    expected = function(**{name: tf.constant(x) for name, x in inputs.items()}).numpy()
    assert got.dtype == expected.dtype
    tolerance = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3}[dtype]
    if "float32" in (dtype, box_dtype):
        tolerance = max(tolerance, 1e-5)  # coordinates in float32 here, in float64 there
    cases.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_scale_per_axis(form, ratio, runtime):
    """ONNX has one scale: the boxes are multiplied in the model."""

    def function(features, boxes, more=None):
        return call_in_form(form, features, boxes, more, (0.3, 0.6), sampling_ratio=ratio)

    inputs = make_inputs(form, "NHWC")
    (got,) = RUNTIMES[runtime](convert(function, specs_of(form, "NHWC")), inputs).values()
    expected = function(**{name: tf.constant(x) for name, x in inputs.items()}).numpy()
    assert_equal(got, expected, form)


def test_bfloat16_is_computed_in_float32():
    """Runtimes on CPU do not take it as an input: it is inside the model."""

    def function(features, boxes):
        features = tf.cast(features, tf.bfloat16)
        return tf.cast(tf_roialign.roi_align(features, boxes, 3), tf.float32)

    model = convert(function, specs_of("dense", "NHWC"))
    inputs = make_inputs("dense", "NHWC")
    inputs["features"] = cases.rounded(inputs["features"], "bfloat16")[1].astype("float32")
    (got,) = run_onnxruntime(model, inputs).values()
    expected = function(**{name: tf.constant(x) for name, x in inputs.items()}).numpy()
    cases.assert_close(got, expected, rtol=cases.HALF_ULP["bfloat16"] * 1.001, atol=1e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("opset", [16, 18])
def test_a_served_keras_model(tmp_path, runtime, opset):
    """Keras model -> SavedModel with flat boxes -> ONNX."""
    images = keras.Input([None, None, 3], name="images")
    boxes = keras.Input([None, 4], ragged=True, name="boxes")
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(images)
    pooled = tf_roialign.RoIAlign(3, 0.5, aligned=True)(features, boxes)
    scores = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(pooled))
    tf_roialign.export_saved_model(keras.Model([images, boxes], scores), tmp_path)
    loaded = tf.saved_model.load(str(tmp_path))
    served = loaded.signatures["serving_default"]

    def function(images, boxes, boxes_row_lengths):
        return served(images=images, boxes=boxes, boxes_row_lengths=boxes_row_lengths)

    specs = [
        tf.TensorSpec([None, None, None, 3], name="images"),
        tf.TensorSpec([None, 4], name="boxes"),
        tf.TensorSpec([None], tf.int64, name="boxes_row_lengths"),
    ]
    model = convert(function, specs, opset)
    rng = np.random.default_rng(6)
    inputs = {
        "images": rng.standard_normal((3, 18, 26, 3)).astype("float32"),
        "boxes": cases.random_boxes(rng, 7, 9, 13, 0.5),
        "boxes_row_lengths": np.array([4, 0, 3]),
    }
    (got,) = RUNTIMES[runtime](model, inputs).values()
    (expected,) = function(**{name: tf.constant(x) for name, x in inputs.items()}).values()
    cases.assert_close(got, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("boxes", "opset", "message"),
    [
        ([None, None, 4], 15, "RoIAlign needs `opset` of at least 16, got 15"),
        ([None, None, None], 16, r"`boxes` must have a known rank .* got \[-1, -1, -1\]"),
    ],
)
def test_what_cannot_be_converted_is_logged(caplog, boxes, opset, message):
    """tf2onnx logs the error and leaves the node."""
    function = tf.function(lambda features, boxes: tf_roialign.roi_align(features, boxes, 3))
    specs = [tf.TensorSpec([None, None, None, 5]), tf.TensorSpec(boxes)]
    with caplog.at_level("ERROR", logger="tf2onnx"):
        model, _ = tf2onnx.convert.from_function(function, specs, opset=opset)
    assert "TfRoialign>RoiAlign" in {node.op_type for node in model.graph.node}
    assert caplog.text and re.search(message, caplog.text)


def test_without_tf2onnx():
    program = """
import sys
sys.modules["tf2onnx"] = None  # as if it were not installed
import tf_roialign
try:
    import tf_roialign.onnx
except ImportError as error:
    print(error)
"""
    assert programs.run(program).stdout.strip() == (
        "tf_roialign.onnx needs tf2onnx: install `tf_roialign[onnx]`."
    )


def dense_model():
    images = keras.Input([16, 18, 3], name="images")
    boxes = keras.Input([5, 4], name="boxes")
    features = keras.layers.Conv2D(4, 3, padding="same")(images)
    pooled = tf_roialign.RoIAlign(3, sampling_ratio=2, aligned=True)(features, boxes)
    return keras.Model([images, boxes], keras.layers.Dense(2)(pooled))


def test_keras_own_export(tmp_path):
    """It gives no opset by default, so tf2onnx' default has to do."""
    model = dense_model()
    rng = np.random.default_rng(8)
    inputs = {
        "images": rng.standard_normal((2, 16, 18, 3)).astype("float32"),
        "boxes": cases.random_boxes(rng, 10, 16, 18).reshape(2, 5, 4),
    }
    expected = model(list(inputs.values()))  # Keras exports models that have been called
    for opset in (None, 18):
        path = tmp_path / f"{opset}.onnx"
        model.export(path, format="onnx", opset_version=opset, verbose=False)
        exported = onnx.load(path)
        assert "RoiAlign" in {node.op_type for node in exported.graph.node}
        assert exported.opset_import[0].version == (opset or 16)
        (got,) = run_onnxruntime(exported, inputs).values()
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_default_opset_of_tf2onnx_will_do():
    function = tf.function(lambda features, boxes: tf_roialign.roi_align(features, boxes, 2))
    specs = [tf.TensorSpec([1, 8, 8, 3]), tf.TensorSpec([None, 5])]
    model, _ = tf2onnx.convert.from_function(function, specs)
    assert "RoiAlign" in {node.op_type for node in model.graph.node}


def test_importing_again_is_harmless():
    importlib.reload(tf_roialign.onnx)
    test_the_default_opset_of_tf2onnx_will_do()


def test_the_snippet_of_the_docs(tmp_path):
    """docs/serving.md converts what export_saved_model wrote, in a function of its own."""
    page = pathlib.Path(__file__).parents[1] / "docs" / "serving.md"
    if not page.exists():
        pytest.skip("the pages are only in the checkout")
    # The lines behind it convert the page's own model, and test_docs.py runs them.
    (snippet,) = re.findall(r"^def to_onnx\(.*\n(?:(?: {4}.*)?\n)+", page.read_text(), re.MULTILINE)
    names = {"tf": tf, "tf2onnx": tf2onnx}
    exec(snippet, names)
    model, _, _ = heads.make("mask_rcnn", tmp_path)
    tf_roialign.export_saved_model(model, tmp_path / "served")
    names["to_onnx"](str(tmp_path / "served"), str(tmp_path / "model.onnx"))
    request = heads.request()
    boxes = tf.RaggedTensor.from_row_lengths(request["boxes"], request["boxes_row_lengths"])
    expected = model([tf.constant(request["images"]), boxes])
    (got,) = run_onnxruntime(onnx.load(tmp_path / "model.onnx"), request).values()
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("first", ["tf2onnx", "tf_roialign"])
def test_nothing_but_the_package_is_imported(tmp_path, first):
    """Keras imports tf2onnx by itself, in the middle of its export."""
    program = f"""
import sys
import {first}
import keras, numpy as np, onnx, tf_roialign
images, boxes = keras.Input([8, 8, 3]), keras.Input([5, 4])
model = keras.Model([images, boxes], tf_roialign.RoIAlign(2)(images, boxes))
model([np.ones([1, 8, 8, 3]), np.ones([1, 5, 4])])
assert ("tf2onnx" in sys.modules) == {first == "tf2onnx"}
model.export(sys.argv[1], format="onnx", verbose=False)
print("RoiAlign" in {{node.op_type for node in onnx.load(sys.argv[1]).graph.node}})
"""
    assert programs.run(program, tmp_path / "model.onnx").stdout.split() == ["True"]


def test_a_tf2onnx_that_does_not_fit_is_said_and_harmless(tmp_path):
    (tmp_path / "tf2onnx.py").write_text("")
    program = """
import sys, warnings
import tf_roialign
sys.path.insert(0, sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tf2onnx
print(*[w.message for w in caught])
"""
    said = programs.run(program, tmp_path).stdout
    assert said.startswith("RoIAlign cannot be converted to ONNX: cannot import name")
