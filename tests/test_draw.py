"""`tf_roialign.draw`: its geometry is that of the op, and the picture shows it."""

import io
import pathlib
import re
import shlex

import cases
import max_reference
import numpy as np
import programs
import pytest
import reference
import tensorflow as tf

import tf_roialign
from tf_roialign import __main__, drawing

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

import matplotlib.image  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
HEIGHT, WIDTH = 24, 36
OUTPUT_SIZE = (3, 2)
SCALES = [1.0, 0.25, 1.7, (0.5, 0.3)]


def random_image(seed, height=HEIGHT, width=WIDTH, channels=3):
    return np.random.default_rng(seed).uniform(0, 1, (height, width, channels)).astype("float32")


def map_size(scale):
    """Of the features that are the image averaged down: a rest is a pixel."""
    y, x = reference.scales(scale)
    return {1.0: 24, 0.25: 6, 1.7: 41, 0.5: 12}[y], {1.0: 36, 0.25: 9, 1.7: 62, 0.3: 11}[x]


# ---- Geometry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("ratio", [-1, 1, 2, 3])
@pytest.mark.parametrize("aligned", [False, True])
def test_geometry_is_that_of_the_reference(aligned, ratio, scale, dtype):
    """To the bit where coordinates decide; weights and results as near as the op's are."""
    rng = np.random.default_rng(cases.seed_of(aligned, ratio, scale, dtype))
    image = random_image(1)
    size = map_size(scale)
    kinds_with_outside = set()
    for kind in cases.BOX_KINDS:
        box = (cases.random_box(rng, kind, *size) / cases.by_coordinate(scale)).astype(dtype)
        place = tuple(rng.integers(0, OUTPUT_SIZE))
        reading = drawing.read(
            image,
            box,
            output_size=OUTPUT_SIZE,
            spatial_scale=scale,
            sampling_ratio=ratio,
            aligned=aligned,
            bin=place,
        )
        assert reading.map_size == size
        *axes, count = reference.axes_of_box(
            box, size, OUTPUT_SIZE, scale, ratio, aligned, geometry=dtype
        )
        for axis, expected in enumerate(axes):
            if check_axis(reading, axis, expected, box, scale, aligned, dtype):
                kinds_with_outside.add(kind)
        weights = np.outer(axes[0].weight[place[0]], axes[1].weight[place[1]]) / count
        cases.assert_close(reading.weights, weights, rtol=0, atol=2e-6, what=kind)
        pooled = reference.forward(
            reading.features[np.newaxis], box[np.newaxis], [0], OUTPUT_SIZE, scale, ratio, aligned,
            geometry=dtype,
        )  # fmt: skip
        cases.assert_close(reading.pooled, pooled[0], rtol=0, atol=4e-6, what=kind)
    assert "outside" in kinds_with_outside


def check_axis(reading, axis, expected, box, scale, aligned, dtype):
    """One axis of a reading; returns whether samples lie outside the map."""
    got, length = reading.axes[axis], reading.map_size[axis]
    assert got.grid == max(expected.grid, 0)
    start = box[1 - axis] * dtype(reference.scales(scale)[axis]) - dtype(0.5 if aligned else 0)
    steps = np.arange(OUTPUT_SIZE[axis] + 1, dtype=dtype)
    np.testing.assert_array_equal(got.edges, start + steps * dtype(expected.bin_size))

    inside, weight = [], np.zeros_like(expected.weight)
    for p in range(OUTPUT_SIZE[axis]):
        coordinates, places = got.samples(p, length)
        assert len(coordinates) == len(places) == got.grid
        is_inside = ~np.isnan(places)
        inside += coordinates[is_inside].tolist()
        for place in places[is_inside]:
            low = int(place)
            weight[p, low] += 1 - (place - low)
            if place > low:
                weight[p, low + 1] += place - low
    assert inside == expected.samples
    cases.assert_close(weight, expected.weight, rtol=1e-12, atol=1e-12)
    return len(inside) < OUTPUT_SIZE[axis] * got.grid


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 2])
def test_weights_of_the_largest_sample(ratio, aligned):
    image, box = random_image(2, 9, 13), np.array([1.2, -1.4, 9.1, 7.3], "float32")
    arguments = {"sampling_ratio": ratio, "aligned": aligned}
    for place in np.ndindex(OUTPUT_SIZE):
        reading = drawing.read(
            image, box, output_size=OUTPUT_SIZE, mode="max", bin=place, **arguments
        )
        upstream = np.zeros((1, *OUTPUT_SIZE, 3))
        upstream[0, place[0], place[1]] = 1 / 3
        pooled, gradient = max_reference.pool(
            image[np.newaxis].astype(np.float64), box[np.newaxis], [0], OUTPUT_SIZE, 1.0, ratio,
            aligned, np.float32, upstream,
        )  # fmt: skip
        cases.assert_close(reading.pooled, pooled[0], rtol=0, atol=2e-6)
        cases.assert_close(reading.weights, gradient[0].sum(axis=-1), rtol=0, atol=2e-6)


def test_features_are_means_of_the_image():
    image = random_image(3)
    reading = drawing.read(image, [0, 0, 9, 9.0], output_size=1, spatial_scale=(0.25, 0.3))
    # In thirds of pixels, to the end of the last feature pixel.
    columns = np.repeat(image, 3, axis=1)
    columns = np.pad(columns, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan)
    expected = np.nanmean(columns.reshape(6, 4, 11, 10, 3), axis=(1, 3))
    np.testing.assert_allclose(reading.features, expected, rtol=1e-5)


def test_a_map_as_large_as_the_image_is_the_image():
    image = random_image(4)
    np.testing.assert_array_equal(
        drawing.read(image, [0, 0, 9, 9.0], output_size=1).features, image
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_parts_of_the_largest(dtype):
    image = np.array([[0, np.iinfo(dtype).max]], dtype)
    reading = drawing.read(image, [0, 0, 1, 1.0], output_size=1)
    np.testing.assert_array_equal(reading.image, [[[0], [1]]])
    colours = np.stack([image, image // 2, image // 5, image * 0], axis=-1)
    np.testing.assert_allclose(
        drawing.read(colours, [0, 0, 1, 1.0], output_size=1).image[0, 1], [1, 0.5, 0.2], atol=0.002
    )


# ---- Artists ----------------------------------------------------------------------------------


def panels(figure):
    overview, close_up, pooled = figure.axes
    return overview, close_up, pooled


def artist(axes, label):
    found = [each for each in axes.get_children() if each.get_label() == label]
    assert len(found) == 1, (label, found)
    return found[0]


def has(axes, label):
    return any(each.get_label() == label for each in axes.get_children())


def corners(rectangle):
    x, y = rectangle.get_xy()
    return [x, y, x + rectangle.get_width(), y + rectangle.get_height()]


def points(line):
    return sorted(map(tuple, np.round(line.get_xydata(), 9).tolist()))


def lines_at(collection):
    """The x of upright lines and the y of level ones."""
    found = [[], []]
    for first, last in collection.get_segments():
        (axis,) = np.flatnonzero(first == last)
        found[axis].append(first[axis])
    return found


# By hand: a box of 4 x 4 pixels, in 2 x 2 bins of one sample, on maps of scale 1 and 1/2.
@pytest.mark.parametrize(
    "scale, aligned, edges, samples, extent, weight",
    [
        # The sample (3, 3) is between four pixels.
        (1.0, True, [2, 4, 6], [3, 5], (2, 4, 4, 2), 0.25),
        # (3.5, 3.5) is the centre of a pixel.
        (1.0, False, [2.5, 4.5, 6.5], [3.5, 5.5], (3, 4, 4, 3), 1),
        # Feature pixels are two pixels large: (3, 3) is the centre of one.
        (0.5, True, [2, 4, 6], [3, 5], (2, 4, 4, 2), 1),
        (0.5, False, [3, 5, 7], [4, 6], (2, 6, 6, 2), 0.25),
    ],
)
def test_where_things_are(scale, aligned, edges, samples, extent, weight):
    image = random_image(5, 8, 8)
    figure = tf_roialign.draw(
        image, [2, 2, 6, 6.0], 2, scale, sampling_ratio=1, aligned=aligned, bin=(0, 0)
    )
    overview, close_up, pooled = panels(figure)
    for axes in (overview, close_up):
        assert corners(artist(axes, "box")) == [2, 2, 6, 6]
        assert corners(artist(axes, "bin")) == [edges[0], edges[0], edges[1], edges[1]]
        assert lines_at(artist(axes, "bins")) == [edges, edges]
        weights = artist(axes, "weights")
        assert tuple(weights.get_extent()) == extent
        assert (weights.get_array().filled(0) == weight).all()
        assert not has(axes, "sample, clamped") and not has(axes, "sample, outside")
    assert points(artist(overview, "sample")) == [(x, y) for x in samples for y in samples]
    assert points(artist(close_up, "sample")) == [(samples[0], samples[0])]
    # One number for each weight.
    assert [text.get_text() for text in close_up.texts] == [f"{weight:g}"] * round(1 / weight)
    assert corners(artist(pooled, "bin")) == [-0.5, -0.5, 0.5, 0.5]


def test_the_images():
    image = random_image(6)
    arguments = {"output_size": (5, 4), "spatial_scale": 0.25, "aligned": True, "bin": (1, 2)}
    box = [3.1, 4.2, 30, 20]
    overview, close_up, pooled = panels(tf_roialign.draw(image, box, **arguments))
    reading = drawing.read(image, box, **arguments)

    background = overview.get_images()[0]
    np.testing.assert_array_equal(background.get_array(), image)
    assert tuple(background.get_extent()) == (0, WIDTH, HEIGHT, 0)
    weights = artist(overview, "weights")
    x1, x2, y2, y1 = (round(end / 4) for end in weights.get_extent())
    drawn = np.zeros(reading.map_size)
    drawn[y1:y2, x1:x2] = weights.get_array().filled(0)
    np.testing.assert_array_equal(drawn, reading.weights)
    assert drawn.any()

    background = close_up.get_images()[0]
    x1, x2, y2, y1 = (round(end * 0.25) for end in background.get_extent())
    np.testing.assert_array_equal(background.get_array(), reading.features[y1:y2, x1:x2])
    np.testing.assert_array_equal(artist(pooled, "pooled").get_array(), reading.pooled)
    assert corners(artist(pooled, "bin")) == [1.5, 0.5, 2.5, 1.5]
    # What is in view: the whole image, the whole of the bin.
    assert overview.get_xlim()[0] <= 0 and overview.get_xlim()[1] >= WIDTH
    assert overview.get_ylim()[0] >= HEIGHT and overview.get_ylim()[1] <= 0
    x1, y1, x2, y2 = corners(artist(close_up, "bin"))
    assert close_up.get_xlim()[0] < x1 and close_up.get_xlim()[1] > x2
    assert close_up.get_ylim()[1] < y1 and close_up.get_ylim()[0] > y2


def test_kinds_of_samples():
    """A box over the upper left corner: outside, clamped, and where they lie."""
    # aligned: samples at -2.5, -0.75, 1, 2.75 of the map, 0.5 more in the image.
    figure = tf_roialign.draw(
        random_image(7, 8, 8), [-2.875, -2.875, 4.125, 4.125], 2, 1.0, 2, True, bin=(0, 0)
    )
    overview, close_up, _ = panels(figure)
    places = [-2, -0.25, 1.5, 3.25]
    kinds = {"sample": [], "sample, clamped": [], "sample, outside": []}
    for x in places:
        for y in places:
            first = min(x, y)
            kind = (
                "sample, outside" if first == -2 else "sample, clamped" if first < 0 else "sample"
            )
            kinds[kind].append((x, y))
    for kind, expected in kinds.items():
        assert points(artist(overview, kind)) == sorted(expected)
    assert len(kinds["sample, clamped"]) == 5
    # Lines from the clamped ones to where they read: the first pixel's centre is at 0.5.
    lines = [c for c in overview.collections if to_rgba("#ff9f1c") in map(tuple, c.get_color())]
    ends = {tuple(map(tuple, segment)) for line in lines for segment in line.get_segments()}
    assert ends == {((x, y), (max(x, 0.5), max(y, 0.5))) for x, y in kinds["sample, clamped"]}
    # Of the bin's four samples, one is read, and clamped.
    assert points(artist(close_up, "sample, clamped")) == [(-0.25, -0.25)]
    assert len(points(artist(close_up, "sample, outside"))) == 3
    assert not has(close_up, "sample")
    assert "sum 0.25" in close_up.get_title()


@pytest.mark.parametrize(
    "box, samples, total",
    [
        ([500, 500, 520, 520], {"sample, outside"}, 0),  # off the image
        ([6, 6, 2, 2], {"sample"}, 1),  # reversed, with a fixed number of samples
        ([3, 3, 3, 3], {"sample"}, 1),  # nothing
        ([-3e8, -3e8, 3e8, 3e8], {"sample, outside"}, 0),
    ],
)
def test_unusual_boxes(box, samples, total):
    figure = tf_roialign.draw(random_image(8, 8, 8), box, 2, sampling_ratio=2, aligned=True)
    _, close_up, _ = panels(figure)
    labels = {line.get_label() for line in close_up.lines}
    assert labels == samples
    assert f"sum {total:g}" in close_up.get_title()
    assert has(close_up, "weights") == (total > 0)
    figure.savefig(io.BytesIO())


def test_boxes_without_samples():
    """Adaptive and reversed: zeros."""
    figure = tf_roialign.draw(random_image(8, 8, 8), [6, 6, 2, 2], 2, aligned=True)
    overview, close_up, pooled = panels(figure)
    assert not overview.lines and not close_up.lines
    assert "0 × 0 samples" in overview.get_title()
    assert not artist(pooled, "pooled").get_array().any()
    figure.savefig(io.BytesIO())


def test_samples_beyond_counting():
    """Of many samples those of the bin are drawn, of very many none; the weights in any case."""
    image = random_image(9, 8, 8)
    for ratio, of_all, of_bin in ((30, 900, 900), (10**6, 0, 0)):
        figure = tf_roialign.draw(image, [0, 0, 8, 8.0], (6, 5), 1.0, ratio, True)
        overview, close_up, _ = panels(figure)
        for axes, expected in ((overview, of_all), (close_up, of_bin)):
            assert sum(len(line.get_xdata()) for line in axes.lines) == expected
        assert has(close_up, "weights")
        assert f"{ratio} × {ratio} samples" in overview.get_title()
    # Adaptive samples of a box of 1e9 pixels.
    figure = tf_roialign.draw(image, [-5e8, -5e8, 5e8, 5e8], 1, aligned=True)
    assert not panels(figure)[0].lines and has(panels(figure)[1], "weights")
    figure.savefig(io.BytesIO())


def test_grey_images():
    image = random_image(10, 8, 8, 1)
    for form in (image, image[..., 0]):
        overview, close_up, pooled = panels(tf_roialign.draw(form, [1, 1, 6, 6.0], 3))
        for axes in (overview, close_up, pooled):
            background = axes.get_images()[0]
            assert background.get_array().ndim == 2
            assert (background.get_cmap().name, background.get_clim()) == ("gray", (0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_features_of_ones_own(dtype):
    """Means of their channels, in the same colours close up and pooled."""
    image, box = random_image(14), [3.1, 4.2, 30, 20]
    features, held = cases.rounded(np.random.default_rng(15).standard_normal((6, 9, 5)), dtype)
    arguments = {"output_size": 3, "spatial_scale": 0.25, "sampling_ratio": 2, "mode": "max"}
    figure = tf_roialign.draw(image, box, features=features, bin=(1, 1), **arguments)
    overview, close_up, pooled = panels(figure)

    np.testing.assert_array_equal(overview.get_images()[0].get_array(), image)
    background = close_up.get_images()[0]
    x1, x2, y2, y1 = (round(end / 4) for end in background.get_extent())
    means = held.mean(axis=-1)
    np.testing.assert_allclose(background.get_array(), means[y1:y2, x1:x2], atol=1e-6)
    expected = tf_roialign.roi_align(
        tf.cast(features, tf.float32)[tf.newaxis], [[box]], **arguments
    )
    np.testing.assert_allclose(
        artist(pooled, "pooled").get_array(), cases.as_numpy(expected)[0].mean(axis=-1), atol=1e-6
    )
    for image in (background, artist(pooled, "pooled")):
        np.testing.assert_allclose(image.get_clim(), (means.min(), means.max()), atol=1e-6)
    reading = drawing.read(image=random_image(14), box=box, features=features, **arguments)
    np.testing.assert_allclose(reading.weights.sum(), 1, rtol=1e-5)


def test_features_that_are_no_numbers():
    features = np.full((6, 9, 2), np.nan, np.float32)
    features[3, 3] = 1
    for each in (features, np.full_like(features, np.nan)):
        figure = tf_roialign.draw(random_image(16), [3, 4, 30, 20.0], 3, 0.25, features=each)
        figure.savefig(io.BytesIO())


def test_says_which_call():
    figure = tf_roialign.draw(
        random_image(11), [1.5, 2, 30, 20], (7, 6), (1 / 4, 1 / 8), 2, True, mode="max"
    )
    assert figure.get_suptitle() == (
        "roi_align(features, [[1.5, 2, 30, 20]], output_size=(7, 6), spatial_scale=(0.25, 0.125), "
        "sampling_ratio=2, aligned=True, mode='max')"
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"box", "bins", "bin", "sample"} <= set(legend)


@pytest.mark.parametrize("height, width", [(24, 36), (30, 30), (36, 24)])
def test_panels_fill_the_figure(height, width):
    """Side by side, one as high as the other, whatever the image is like."""
    figure = tf_roialign.draw(random_image(9, height, width), [2, 3, 20.0, 22], (4, 5), 0.5)
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in panels(figure)]
    heights = [box.height for box in boxes]
    assert min(heights) > 0.93 * max(heights)
    assert sum(box.width for box in boxes) > 0.8 * figure.bbox.width
    assert max(heights) > 0.65 * figure.bbox.height


def test_shows_itself_in_a_notebook():
    figure = tf_roialign.draw(random_image(12), [1, 2, 30, 20.0], 3)
    assert figure._repr_png_().startswith(b"\x89PNG")
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")
    shown, _ = formatters.DisplayFormatter().format(figure)
    assert shown["image/png"]


# ---- Bad input --------------------------------------------------------------------------------

GOOD = {"image": np.zeros((8, 8, 3), np.uint8), "box": [1, 1, 6, 6.0], "output_size": 2}


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"image": np.zeros((2, 8, 8, 3))}, ValueError, r"`image` must have shape .*, got \[2, 8,"),
        ({"image": np.zeros((8, 8, 2))}, ValueError, r"`image` must have shape .*got \[8, 8, 2\]"),
        ({"image": np.zeros((0, 8))}, ValueError, r"`image` must have pixels, got shape \[0, 8\]"),
        ({"features": np.zeros((8, 8))}, ValueError, r"`features` must have shape .*, got \[8, 8"),
        ({"image": np.zeros((8, 8), int)}, TypeError, "`image` must be uint8, .*, got int64"),
        ({"image": np.full((8, 8), 255.0)}, ValueError, r"`image` .* in \[0, 1\], .* 255 to 255"),
        ({"image": np.full((8, 8), np.nan)}, ValueError, r"`image` .* in \[0, 1\], .* nan to nan"),
        (
            {"features": np.zeros((8, 8))},
            ValueError,
            r"`features` must have shape .*, got \[8, 8\]",
        ),
        ({"features": np.zeros((0, 8, 1))}, ValueError, r"`features` .* got \[0, 8, 1\]"),
        ({"features": np.zeros((8, 8, 1), int)}, TypeError, "`features` must be .*, got int64"),
        ({"features": [{}]}, TypeError, "`features` cannot be converted to a tensor"),
        ({"box": [1, 2, 3]}, ValueError, r"`box` must be four numbers, .*, got shape \[3\]"),
        ({"box": [[1, 2, 3, 4]]}, ValueError, r"`box` must be four .*, got shape \[1, 4\]"),
        ({"box": list("abcd")}, TypeError, "`box` must be float32 or float64, got string"),
        ({"box": None}, TypeError, "`box` cannot be converted to a tensor"),
        ({"box": [1, 2, 3, np.nan]}, ValueError, "`box` must be finite, .*, got .*nan"),
        ({"box": [-3e38, 2, 3e38, 4.0]}, ValueError, "`box` must be finite, in feature pixels"),
        ({"output_size": 0}, ValueError, "`output_size` must be one or two integers of at least 1"),
        ({"spatial_scale": 0}, ValueError, "`spatial_scale` must be finite and greater than 0"),
        ({"spatial_scale": 1e4}, ValueError, "`spatial_scale` must give a map of at most .*80000"),
        ({"sampling_ratio": 0.5}, ValueError, "`sampling_ratio` must be an integer, got 0.5"),
        ({"aligned": 2}, ValueError, "`aligned` must be True or False, got 2"),
        ({"mode": "min"}, ValueError, '`mode` must be "avg" or "max", got "min"'),
        ({"bin": (2, 0)}, ValueError, r"`bin` must be .* one of the 2 x 2 bins, got \(2, 0\)"),
        ({"bin": (-1, 0)}, ValueError, r"`bin` must be .*, got \(-1, 0\)"),
        ({"bin": (1,)}, ValueError, r"`bin` must be .*, got \(1,\)"),
        ({"bin": (0.5, 1)}, ValueError, r"`bin` must be .*, got \(0.5, 1\)"),
        ({"bin": 1}, ValueError, "`bin` must be .*, got 1"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        tf_roialign.draw(**{**GOOD, **changes})


def test_graphs_are_refused():
    with pytest.raises(RuntimeError, match="`tf_roialign.draw` must be called eagerly"):
        tf.function(lambda: tf_roialign.draw(**GOOD) and 0)()


# ---- The command line -------------------------------------------------------------------------


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "image.png"
    matplotlib.image.imsave(path, random_image(13, 64, 80))
    return path


def test_command(photograph, tmp_path):
    """In a process of its own; the picture is that of the function."""
    out = tmp_path / "out.png"
    command = [
        *("draw", photograph, "--box", "-3.5", "8", "60.25", "50", "--output-size", "7", "5"),
        *("--spatial-scale", "1/4", "--sampling-ratio", "2", "--aligned", "--bin", "1", "4"),
        *("-o", out),
    ]
    process = programs.run(
        "import runpy; runpy.run_module('tf_roialign', run_name='__main__')", *command
    )
    assert process.stdout == ""
    image = (matplotlib.image.imread(photograph)[..., :3] * 255).round().astype(np.uint8)
    figure = tf_roialign.draw(
        image, [-3.5, 8, 60.25, 50], (7, 5), 1 / 4, 2, aligned=True, bin=(1, 4)
    )
    expected = matplotlib.image.imread(io.BytesIO(figure._repr_png_()))
    np.testing.assert_array_equal(matplotlib.image.imread(out), expected)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image": "no.png"}, "`image` cannot be read: .*No such file"),
        ({"image": __file__}, "`image` cannot be read: cannot identify"),
        ({"--box": "1 2 3 inf"}, "`box` must be finite"),
        ({"--output-size": "0"}, "`output_size` must be one or two integers of at least 1, got 0"),
        ({"--output-size": "2 2 2"}, r"`output_size` must be .*, got \[2, 2, 2\]"),
        ({"--spatial-scale": "0"}, "`spatial_scale` must be finite and greater than 0, got 0.0"),
        ({"--bin": "7 0"}, r"`bin` must be .*, got \[7, 0\]"),
        ({"--mode": "min"}, '`mode` must be .*, got "min"'),
        ({"-o": "no/out.png"}, "`output` cannot be written: .*No such file"),
        ({"-o": "out.xyz"}, "`output` cannot be written: .*not supported"),
    ],
)
def test_bad_input_on_the_command_line(changes, message, photograph, tmp_path, monkeypatch, capsys):
    """One sentence, and exit status 2."""
    monkeypatch.chdir(tmp_path)
    options = {"--box": "1 2 30 40", "--output-size": "7", "-o": "out.png"}
    options.update(changes)
    image = options.pop("image", photograph)
    words = [word for name, values in options.items() for word in (name, *values.split())]
    with pytest.raises(SystemExit) as exit_:
        __main__.main(["draw", str(image), *words])
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"error: {message}", line), line
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("number", ["1/0", "a", "1/", "/2"])
def test_numbers_that_are_none(number, photograph, capsys):
    options = "--box 1 2 3 4 --output-size 7 -o x.png --spatial-scale"
    with pytest.raises(SystemExit) as exit_:
        __main__.main(["draw", str(photograph), *options.split(), number])
    assert exit_.value.code == 2
    assert f"--spatial-scale: invalid number: {number!r}" in capsys.readouterr().err


def test_images_of_16_bits(tmp_path):
    """All of their bits."""
    from PIL import Image

    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    Image.fromarray(pixels).save(tmp_path / "image.png")
    options = "--box 1 2 6 6 --output-size 3 -o"
    __main__.main(
        ["draw", str(tmp_path / "image.png"), *options.split(), str(tmp_path / "out.png")]
    )
    figure = tf_roialign.draw(pixels, [1, 2, 6, 6.0], 3)
    expected = matplotlib.image.imread(io.BytesIO(figure._repr_png_()))
    np.testing.assert_array_equal(matplotlib.image.imread(tmp_path / "out.png"), expected)


def test_without_matplotlib(photograph):
    """The package imports without it; what needs it says so in a sentence."""
    program = """
import sys
sys.modules["matplotlib"] = sys.modules["PIL"] = None  # as if they were not installed
import tf_roialign
try:
    tf_roialign.draw([[0.5]], [0, 0, 1, 1], 1)
except ImportError as error:
    print(error)
from tf_roialign.__main__ import main
main(["draw", sys.argv[1], *"--box 1 2 3 4 --output-size 7 -o x.png".split()])
"""
    process = programs.run(program, photograph, check=False)
    sentence = "tf_roialign.draw needs matplotlib: install `tf_roialign[draw]`."
    assert process.stdout == sentence + "\n"
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1] == "error: " + sentence
    assert "Traceback" not in process.stderr


# ---- docs/drawing.md --------------------------------------------------------------------------

in_checkout = pytest.mark.skipif(
    not (DOCS / "drawing.md").exists(), reason="the pages are only in the checkout"
)


def snippet(language):
    (text,) = re.findall(f"```{language}\n(.*?)```", (DOCS / "drawing.md").read_text(), re.DOTALL)
    return text


@in_checkout
def test_the_command_of_the_page_draws_its_picture(tmp_path, monkeypatch):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    monkeypatch.chdir(tmp_path)
    matplotlib.image.imsave("astronaut.png", data.astronaut())
    program, dash, module, *words = shlex.split(snippet("sh").replace("\\\n", " "))
    assert (program, dash, module) == ("python", "-m", "tf_roialign")
    __main__.main(words)
    drawn = matplotlib.image.imread("draw.png")
    committed = matplotlib.image.imread(DOCS / "images" / "draw.png")
    assert drawn.shape == committed.shape
    # Another matplotlib may place a letter elsewhere.
    assert np.abs(drawn[..., :3] - committed[..., :3]).mean() < 0.01
    assert (DOCS / "images" / "draw.png").stat().st_size < 300_000


@in_checkout
def test_the_snippet_of_the_page():
    names = {}
    exec(snippet("python"), names)  # the project's own text
    assert len(names["figure"].axes) == 3
