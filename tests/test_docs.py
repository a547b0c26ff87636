"""The snippets of README and docs run, and give what the page says; the site has all it should."""

import importlib.util
import inspect
import pathlib
import re
import textwrap

import keras
import matplotlib.testing.compare
import numpy as np
import programs
import pytest
import tensorflow as tf

import tf_roialign

ROOT = pathlib.Path(__file__).resolve().parents[1]
if not (ROOT / "docs").exists():
    pytest.skip("the pages are only in the checkout", allow_module_level=True)


# A block of Python; before it, why it is not run, if it is not, or the optional package that it
# needs; behind it, what it prints, if that is shown. A block inside of an HTML comment runs too,
# and readers do not see it.
_BLOCK = re.compile(
    r"(?:^<!-- (?:not run: (?P<reason>\S.*?)|needs (?P<package>\w+)) -->\n)?"
    r"^```python\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
PAGES = [
    str(path.relative_to(ROOT))
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks/README.md",
        *sorted(ROOT.glob("examples/*/README.md")),
        *sorted(ROOT.glob("docs/**/*.md")),
    ]
    if "```python" in path.read_text()
]


def snippets(text):
    return [block["code"] for block in _BLOCK.finditer(text)]


def use_of_readme():
    (use,) = re.findall(r"^## Use\n(.*?)^#+ ", (ROOT / "README.md").read_text(), re.M | re.S)
    return "\n".join(snippets(use))


def example_of(name):
    """The example in a docstring."""
    (example,) = re.findall(
        r"Example::\n\n(.*?)\n\n", inspect.getdoc(getattr(tf_roialign, name)), re.DOTALL
    )
    return textwrap.dedent(example)


def example_of_layer():
    return "import keras\nimport tf_roialign\n" + example_of("RoIAlign")


EXAMPLES = [
    name
    for name in tf_roialign.__all__
    if "Example::" in (inspect.getdoc(getattr(tf_roialign, name)) or "")
]


def run(program):
    names = {}
    exec(program, names)  # the project's own text
    return names


def average(layer):
    """Makes a layer of convolution take means, over channels too."""
    kernel, *bias = layer.get_weights()
    layer.set_weights([np.full_like(kernel, 1 / kernel[..., 0].size), *map(np.zeros_like, bias)])


@pytest.mark.parametrize("program", [use_of_readme, example_of_layer])
@pytest.mark.parametrize("size", [(128, 160), (129, 163), (130, 161)])
def test_example_features_are_where_boxes_take_them_to_be(size, program):
    """Of an image whose values are x (or y), each bin has the x (or y) of its centre."""
    model = run(program())["model"]
    (conv,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    (roi_align,) = (layer for layer in model.layers if isinstance(layer, tf_roialign.RoIAlign))
    average(conv)
    pool = keras.Model(model.inputs, roi_align.output)
    boxes = np.array([[20.3, 31, 60, 78.5], [64, 30, 121.7, 99], [52, 52, 68, 68]], "float32")
    bins = roi_align.output_size[0]
    steps = (np.arange(bins) + 0.5) / bins
    ramps = np.meshgrid(*(np.arange(length, dtype="float32") + 0.5 for length in size[::-1]))
    for axis, ramp in enumerate(ramps):
        image = np.repeat(ramp[None, :, :, None], 3, axis=-1)
        pooled = pool([tf.constant(image), tf.RaggedTensor.from_row_lengths(boxes, [3])]).numpy()
        first, last = boxes[:, axis, None], boxes[:, axis + 2, None]
        centres = first + steps * (last - first)
        expected = centres[:, None, :, None] if axis == 0 else centres[:, :, None, None]
        np.testing.assert_allclose(pooled, np.broadcast_to(expected, pooled.shape), atol=1e-3)


def test_readme_use():
    names = run(use_of_readme())
    assert names["model"]([names["batch"], names["detections"]]).shape == [3, 10]


@pytest.fixture
def settings():
    """Puts back what pages may set for the whole process."""
    policy, limit = keras.config.dtype_policy(), tf_roialign.kept_memory().limit
    yield
    keras.config.set_dtype_policy(policy)
    tf_roialign.limit_kept_memory(limit)


@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(page, tmp_path, monkeypatch, capsys, settings):
    """Every snippet of a page, one after the other; what one prints is what stands behind it."""
    monkeypatch.chdir(tmp_path)
    keras.utils.clear_session()  # names of layers as in a fresh process
    text = (ROOT / page).read_text()
    blocks = list(_BLOCK.finditer(text))
    assert len(blocks) == text.count("```python")
    names, missing = {}, set()
    for block in blocks:
        if block["reason"]:
            continue
        if block["package"] and importlib.util.find_spec(block["package"]) is None:
            missing.add(block["package"])
            continue
        line = text.count("\n", 0, block.start("code"))
        # With its place, where AutoGraph finds the source, and who reads an error.
        code = compile("\n" * line + block["code"], ROOT / page, "exec")
        exec(code, names)  # the project's own text
        printed = capsys.readouterr().out
        if block["shown"] is not None:
            assert printed.strip() == block["shown"].strip()
    if missing:
        pytest.skip(f"all of the page ran but what needs {', '.join(missing)}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = tf.constant([[8.0, 9, 60, 50], [70, 20, 150, 110], [0, 0, 40, 40]])
    row_lengths = tf.constant([2, 1], tf.int64)
    boxes = tf.RaggedTensor.from_row_lengths(rows, row_lengths)
    images = tf.random.uniform([2, 128, 160, 3])
    labels = tf.RaggedTensor.from_row_lengths([0, 1, 2], row_lengths)
    dataset = tf.data.Dataset.from_tensor_slices((images, boxes, labels)).batch(2)
    inputs = [keras.Input([None, None, 3], name="images")]
    inputs += [keras.Input([None, 4], ragged=True, name="boxes")]
    names = {
        **{"keras": keras, "tf": tf, "tf_roialign": tf_roialign},
        **{"images": images, "boxes": boxes, "flat_boxes": rows, "row_lengths": row_lengths},
        "model": keras.Model(inputs, tf_roialign.RoIAlign(7)(*inputs)),
        "dataset": dataset.map(lambda images, boxes, labels: ((images, boxes), labels)),
    }
    for level in range(2, 6):
        names[f"p{level}"] = tf.random.normal([2, 800 >> level, 1088 >> level, 4])
    exec(example_of(name), names)  # the project's own text


def test_links_of_readme():
    """Those of the other pages are looked after by `make docs`."""
    links = re.findall(r"\]\(([^)\s#:]+)(?:#([^)\s]+))?\)", (ROOT / "README.md").read_text())
    assert links
    for target, anchor in links:
        path = ROOT / target
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
            assert anchor in [slug.replace(" ", "-") for slug in slugs], f"{target}#{anchor}"


def test_the_site_has_every_public_name():
    pages = "".join(path.read_text() for path in (ROOT / "docs/api").glob("*.md"))
    shown = re.findall(r"^\.\. auto\w+:: (?:tf_roialign\.)?([\w.]+)$", pages, re.MULTILINE)
    assert set(tf_roialign.__all__) <= set(shown)


def test_names_on_the_site_break_at_their_joints():
    breaks = programs.load(ROOT / "docs/site/breaks.py")

    def broken(word):
        shown = breaks.add_breaks(f'<code><span class="pre">{word}</span></code>')
        return re.fullmatch('<code><span class="pre">(.*)</span></code>', shown)[1]

    assert broken("roi_align") == "roi_align"  # short enough
    assert broken("tf.image.crop_and_resize") == "tf.<wbr>image.<wbr>crop_<wbr>and_<wbr>resize"
    assert broken("MultiScaleRoIAlign") == "Multi<wbr>Scale<wbr>RoI<wbr>Align"
    assert broken("f(&quot;a_name_of_16&quot;)") == "f(&quot;a_<wbr>name_<wbr>of_<wbr>16&quot;)"
    assert breaks.add_breaks("<p>some_name_in_text</p>") == "<p>some_name_in_text</p>"


def test_figures_are_what_the_ops_draw(tmp_path):
    draw = programs.load(ROOT / "docs/images/draw.py")
    draw.main(tmp_path)
    for name in draw.FIGURES:
        drawn, committed = tmp_path / f"{name}.png", ROOT / f"docs/images/{name}.png"
        # Versions of matplotlib set letters a little differently.
        difference = matplotlib.testing.compare.compare_images(committed, drawn, tol=5)
        assert difference is None, difference


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_rule_of_offsets(stride, kernel):
    """docs/troubleshooting.md, "Half a pixel off": where the features of a layer are."""
    boxes = np.array([[40, 40, 56, 56], [50, 52, 70.5, 74]], "float32")
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for size in (128, 129, 130, 131):
        x, y = np.meshgrid(*[np.arange(size, dtype="float32") + 0.5] * 2)
        rest = size % stride or stride
        paddings = {"same": max(kernel - rest, 0) // 2, "valid": 0, "explicit": 1}
        for padding, before in paddings.items():
            layer = keras.layers.Conv2D(
                1,
                kernel,
                strides=stride,
                padding="same" if padding == "same" else "valid",
                use_bias=False,
            )
            layer.build([None, None, None, 1])
            average(layer)
            pad = keras.layers.ZeroPadding2D(1 if padding == "explicit" else 0)
            for ramp, axis in ((x, 0), (y, 1)):
                pooled = tf_roialign.roi_align(
                    layer(pad(ramp[None, :, :, None])),
                    [boxes],
                    1,
                    spatial_scale=1 / stride,
                    sampling_ratio=2,
                    aligned=True,
                )
                offset = pooled.numpy().ravel() - centres[:, axis]
                np.testing.assert_allclose(offset, (kernel - stride) / 2 - before, atol=1e-3)


@pytest.mark.parametrize("form", ["yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_yxyx"])
def test_conversions(form):
    """The one-liners of the page, and Keras' own that it names, agree."""
    height, width = 600, 800
    rng = np.random.default_rng(3)
    boxes = tf.constant(rng.uniform(0, 1, [2, 5, 4]), tf.float32)
    if not form.startswith("rel"):
        boxes *= [width, height, width, height]
    ours = {
        "yxyx": lambda: tf.gather(boxes, [1, 0, 3, 2], axis=-1),
        "xywh": lambda: tf.concat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1),
        "center_xywh": lambda: tf.concat(
            [boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1
        ),
        "rel_xyxy": lambda: boxes * [width, height, width, height],
        "rel_yxyx": lambda: (
            tf.gather(boxes, [1, 0, 3, 2], axis=-1) * [width, height, width, height]
        ),
    }
    theirs = keras.utils.bounding_boxes.convert_format(
        boxes, form, "xyxy", height=height, width=width
    )
    np.testing.assert_allclose(ours[form](), theirs, rtol=1e-5)


def test_bound_of_scratch_memory():
    """The formulas of the page are those that cc/core/scratch_test.cc holds calls against."""
    page = (ROOT / "docs" / "notes" / "threads-and-memory.md").read_text()
    header = (ROOT / "cc" / "core" / "cpu" / "scratch_bound.h").read_text()
    (shown,) = re.findall(r"```cpp\n(.*?)```", page, re.DOTALL)
    _, formulas, _ = re.split(r" *// \[formulas\].*\n", header)
    assert shown == textwrap.dedent(formulas)
