"""docs/head.md gives what torchvision's own modules gave, with their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_docs


@pytest.fixture
def page():
    """What the page defines, without what it trains and serves."""
    names = {}
    for code in test_docs.snippets((test_docs.ROOT / "docs/head.md").read_text()):
        if "def " in code and "make_examples" not in code:
            exec(code, names)  # the project's own text
    return names


@pytest.fixture
def golden():
    return np.load(test_docs.ROOT / "tests/golden/torchvision_head.npz")


def test_head(page, golden):
    assert max(page["differences"](golden, golden)) < 1e-4


def test_box_coder(page, golden):
    decoded = page["decode"](golden["box_regression"], golden["boxes"])
    np.testing.assert_allclose(decoded, golden["decoded"], rtol=1e-5, atol=1e-3)
    encoded = page["encode"](golden["objects"], golden["boxes"])
    np.testing.assert_allclose(encoded, golden["encoded"], atol=1e-5)


def test_losses(page, golden):
    """As `BoxModel` has them: with one row per box."""
    labels = np.concatenate([golden["labels"][:, None], golden["encoded"]], axis=1)
    loss = page["deltas_loss"](labels.astype("float32"), golden["box_regression"])
    np.testing.assert_allclose(np.mean(loss), golden["loss_box_reg"], rtol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    of_classes = loss(golden["labels"], golden["class_logits"])
    np.testing.assert_allclose(of_classes, golden["loss_classifier"], rtol=1e-5)


def test_detections(page, golden):
    """One of the images has no proposals."""
    proposals = tf.RaggedTensor.from_row_lengths(
        golden["post_proposals"], golden["post_row_lengths"]
    )
    outputs = {"scores": golden["post_class_logits"], "deltas": golden["post_box_regression"]}
    found = page["detections"](outputs, proposals, 256, 320)
    np.testing.assert_array_equal(found["counts"], golden["post_counts"])
    is_found = tf.sequence_mask(found["counts"], 100)
    for ours, theirs in {"found": "boxes", "scores": "scores", "classes": "labels"}.items():
        rows = tf.boolean_mask(found[ours], is_found)
        np.testing.assert_allclose(rows, golden[f"post_{theirs}"], rtol=1e-5, atol=1e-3)


def test_detections_of_no_proposals_at_all(page):
    none = tf.RaggedTensor.from_row_lengths(tf.zeros([0, 4]), [0, 0])
    outputs = {
        "scores": tf.zeros([0, page["CLASSES"]]),
        "deltas": tf.zeros([0, page["CLASSES"] * 4]),
    }
    found = page["detections"](outputs, none, 256, 320)
    np.testing.assert_array_equal(found["counts"], [0, 0])


def test_proposals_to_train_on(page, golden):
    """There are fewer than are drawn, so only their order is free. One image has no objects."""
    for image in range(3):
        proposals, labels = page["sample_proposals"](
            golden[f"sample_{image}_proposals"],
            golden[f"sample_{image}_objects"],
            golden[f"sample_{image}_classes"],
        )
        expected = np.concatenate(
            [golden[f"sample_{image}_{name}"] for name in ("sampled", "labels", "deltas")], axis=1
        )
        ours = np.concatenate([proposals, labels], axis=1)
        ours, expected = (rows[np.lexsort(rows[:, :4].T)] for rows in (ours, expected))
        np.testing.assert_allclose(ours, expected, atol=1e-4)
