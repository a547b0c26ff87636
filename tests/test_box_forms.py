"""The five ways to give boxes mean the same, and gradients reach what was given."""

import cases
import numpy as np
import pytest
import tensorflow as tf

import tf_roialign

FEATURES = tf.random.stateless_normal([3, 9, 12, 4], [3, 4])
# Grouped by image, two a piece, so that every form can say it.
BOXES = cases.random_boxes(np.random.default_rng(12), 6, 9, 12)
INDICES = np.repeat(np.arange(3), 2)


def align(features=FEATURES, **arguments):
    return tf_roialign.roi_align(features, **arguments, output_size=(3, 2), sampling_ratio=2)


@pytest.mark.parametrize("form", cases.FORMS)
@pytest.mark.parametrize("index_dtype", ["int32", "int64"])
def test_same_bits(form, index_dtype):
    expected = align(boxes=BOXES, box_indices=INDICES.astype("int32"))
    got = align(**cases.in_form(form, BOXES, INDICES, 3, index_dtype))
    if form == "dense":
        assert got.shape == [3, 2, 3, 2, 4]
        got = tf.reshape(got, expected.shape)
    assert cases.as_bytes(got) == cases.as_bytes(expected)


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_shape_and_order(form, data_format):
    problem = cases.Problem(
        np.random.default_rng(3), form=form, data_format=data_format, images=3, count=6, channels=4
    )
    bins = [3, 2, 4] if data_format == "NHWC" else [4, 3, 2]
    expected = [3, 2, *bins] if form == "dense" else [6, *bins]
    assert problem.run().shape == expected


def test_indexed_boxes_keep_their_order():
    order = np.random.default_rng(5).permutation(6)
    expected = tf.gather(align(boxes=BOXES, box_indices=INDICES), order)
    shuffled = {"boxes": BOXES[order], "box_indices": INDICES[order]}
    assert cases.as_bytes(align(**shuffled)) == cases.as_bytes(expected)
    rois = np.concatenate([INDICES[order][:, None], BOXES[order]], axis=1).astype("float32")
    assert cases.as_bytes(align(boxes=rois)) == cases.as_bytes(expected)


def test_rows_of_different_lengths():
    """Images without boxes included, first, between, and last."""
    for lengths in ([0, 4, 2], [3, 0, 3], [6, 0, 0], [0, 0, 6], [1, 2, 3], [0, 0, 0]):
        boxes = BOXES[: sum(lengths)]
        indices = np.repeat(np.arange(3), lengths)
        expected = cases.as_bytes(align(boxes=boxes, box_indices=indices))
        rows = np.split(boxes, np.cumsum(lengths)[:-1])
        for form in (
            rows,
            tuple(rows),
            [tf.constant(row) for row in rows],
            [row.tolist() if len(row) else np.zeros((0, 4), "float32") for row in rows],
            tf.RaggedTensor.from_row_lengths(boxes, lengths),
            tf.RaggedTensor.from_row_lengths(boxes, np.array(lengths, "int32")),
            tf.RaggedTensor.from_row_splits(boxes, np.cumsum([0, *lengths])),
            tf.RaggedTensor.from_value_rowids(boxes, indices, nrows=3),
        ):
            assert cases.as_bytes(align(boxes=form)) == expected


def test_batch_of_no_image_from_a_dataset():
    """Its flat values have shape [0] where the static shape is [?, 4]: a replica gets such."""
    rows = tf.RaggedTensor.from_row_lengths(BOXES, [4, 2, 0])
    dataset = tf.data.Dataset.from_tensor_slices((FEATURES, rows)).batch(3).rebatch([2, 0, 1])

    @tf.function
    def align_next(iterator):
        features, boxes = iterator.get_next()
        assert boxes.flat_values.shape.as_list() == [None, 4]
        return align(features, boxes=boxes), tf.shape(boxes.flat_values)

    iterator = iter(dataset)
    pooled, shapes = zip(*[align_next(iterator) for _ in range(3)], strict=True)
    assert [len(rows) for rows in pooled] == [6, 0, 0]
    assert shapes[1].numpy().tolist() == [0]


def test_ragged_tensor_whose_last_dimension_is_ragged():
    """tf.ragged.constant makes that of nested lists unless it is told the inner shape."""
    rows = [BOXES[:1].tolist(), [], BOXES[1:].tolist()]
    expected = align(boxes=BOXES, box_indices=[0, 2, 2, 2, 2, 2])
    ragged = tf.ragged.constant(rows, inner_shape=(4,), dtype=tf.float32)
    assert cases.as_bytes(align(boxes=ragged)) == cases.as_bytes(expected)
    twice = tf.ragged.constant(rows, dtype=tf.float32)
    assert twice.ragged_rank == 2
    assert cases.as_bytes(align(boxes=twice)) == cases.as_bytes(expected)
    in_graph = tf.function(lambda boxes: align(boxes=boxes))(twice)
    assert cases.as_bytes(in_graph) == cases.as_bytes(expected)
    stacked = tf.ragged.stack([BOXES[:1], BOXES[:0], BOXES[1:]])
    assert cases.as_bytes(align(boxes=stacked)) == cases.as_bytes(expected)


@pytest.mark.parametrize("list_of", [list, tuple])
def test_lists_of_one_image(list_of):
    expected = cases.as_bytes(align(FEATURES[:1], boxes=BOXES, box_indices=np.zeros(6, "int32")))
    assert cases.as_bytes(align(FEATURES[:1], boxes=list_of([BOXES]))) == expected
    assert cases.as_bytes(align(FEATURES[:1], boxes=list_of([BOXES.tolist()]))) == expected


def test_a_fractional_index_is_cut_off():
    """As torchvision does: 1.9 is image 1."""
    whole = np.concatenate([INDICES[:, None], BOXES], axis=1).astype("float32")
    fractional = whole.copy()
    fractional[:, 0] += [0.0, 0.25, 0.5, 0.9, 0.75, 0.999]
    assert cases.as_bytes(align(boxes=fractional)) == cases.as_bytes(align(boxes=whole))


@pytest.mark.parametrize("form", cases.FORMS)
def test_gradient_reaches_what_was_given(form):
    """Each tensor of a list, the flat values of a ragged tensor, and so on."""
    problem = cases.Problem(
        np.random.default_rng(6),
        form=form,
        feature_dtype="float64",
        box_dtype="float64",
        smooth=True,
    )
    arguments = problem.arguments()
    boxes = arguments["boxes"]
    watched = boxes.flat_values if form == "ragged" else boxes
    with tf.GradientTape() as tape:
        tape.watch(watched)
        output = problem.run(**arguments)
    gradient = tape.gradient(output, watched, problem.upstream)

    if form == "list":
        assert [g.shape for g in gradient] == [b.shape for b in boxes]
        gradient = tf.concat(gradient, axis=0)
    else:
        assert gradient.shape == watched.shape
    gradient = tf.reshape(gradient, [len(problem.box_values), -1])[:, -4:]
    cases.assert_close(gradient.numpy(), problem.expected_box_gradient(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", cases.FORMS)
def test_no_boxes(form):
    """K = 0: empty outputs and zero gradients, of features and of no boxes."""
    for data_format in cases.LAYOUTS:
        problem = cases.Problem(
            np.random.default_rng(7), form=form, data_format=data_format, count=0
        )
        boxes = tf.zeros([0, 4])
        with tf.GradientTape() as tape:
            tape.watch([problem.features, boxes])
            if form == "dense":
                arguments = {"boxes": tf.reshape(boxes, [problem.images, 0, 4])}
            else:
                arguments = cases.in_form(form, boxes, problem.indices, problem.images)
            output = problem.run(**arguments)
        bins = [3, 2, 5] if data_format == "NHWC" else [5, 3, 2]
        assert output.shape == ([problem.images, 0, *bins] if form == "dense" else [0, *bins])
        of_features, of_boxes = tape.gradient(output, [problem.features, boxes])
        assert of_features.shape == problem.features.shape
        assert not of_features.numpy().any()
        assert of_boxes.shape == [0, 4]


def test_no_images():
    """N = 0 with K = 0, in each form."""
    features = tf.zeros([0, 9, 12, 4])
    empty = tf.zeros([0, 4])
    for arguments in (
        {"boxes": tf.zeros([0, 5])},
        {"boxes": empty, "box_indices": tf.zeros([0], tf.int32)},
        {"boxes": tf.RaggedTensor.from_row_lengths(empty, tf.zeros([0], tf.int64))},
    ):
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = align(features, **arguments)
        assert output.shape == [0, 3, 2, 4]
        assert tape.gradient(output, features).shape == features.shape
    output = align(features, boxes=tf.zeros([0, 7, 4]))
    assert output.shape == [0, 7, 3, 2, 4]
    assert align(features, boxes=[]).shape == [0, 3, 2, 4]


def test_no_channels():
    features = tf.zeros([3, 9, 12, 0])
    boxes = tf.constant(BOXES)
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        output = align(features, boxes=boxes, box_indices=INDICES)
    of_features, of_boxes = tape.gradient(output, [features, boxes])
    assert output.shape == [6, 3, 2, 0]
    assert of_features.shape == features.shape
    assert of_boxes.shape == [6, 4] and not of_boxes.numpy().any()


@pytest.mark.parametrize("shape", [(2, 0, 5, 3), (2, 5, 0, 3), (2, 0, 0, 3)])
def test_no_pixels_and_no_boxes(shape):
    for data_format in cases.LAYOUTS:
        features = tf.zeros(shape if data_format == "NHWC" else (shape[0], shape[3], *shape[1:3]))
        with tf.GradientTape() as tape:
            tape.watch(features)
            output = tf_roialign.roi_align(features, tf.zeros([0, 5]), 2, data_format=data_format)
        assert output.shape == ([0, 2, 2, 3] if data_format == "NHWC" else [0, 3, 2, 2])
        assert tape.gradient(output, features).shape == features.shape


def test_boxes_in_variables():
    """One variable, or a list of them, eager and in a graph: boxes that are learnt."""
    whole = tf.Variable(BOXES)
    parts = [tf.Variable(part) for part in np.split(BOXES, 3)]

    def of_parts(boxes):
        return align(boxes=boxes)

    def of_whole(boxes):
        return align(boxes=boxes, box_indices=INDICES)

    expected = cases.as_bytes(align(boxes=BOXES, box_indices=INDICES))
    for function, boxes in ((of_whole, whole), (of_parts, parts), (of_parts, tuple(parts))):
        for call in (function, tf.function(function)):
            with tf.GradientTape() as tape:
                output = call(boxes)
            assert cases.as_bytes(output) == expected
            for gradient in tf.nest.flatten(tape.gradient(output, boxes)):
                assert np.abs(gradient.numpy()).max() > 0
