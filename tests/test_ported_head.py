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
    levels = page["LEVELS"]
    maps = {name: keras.Input([None, None, page["CHANNELS"]]) for name in levels}
    boxes = keras.Input([None, 4], ragged=True)
    model = keras.Model([*maps.values(), boxes], page["make_head"](maps, boxes))
    page["load_head"](model, golden)
    ours = model(
        [
            *(tf.constant(golden[f"map_{name}"].transpose(0, 2, 3, 1)) for name in levels),
            tf.RaggedTensor.from_row_lengths(golden["boxes"], golden["row_lengths"]),
        ]
    )
    np.testing.assert_allclose(ours["scores"], golden["class_logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours["deltas"], golden["box_regression"], rtol=1e-4, atol=1e-4)


def test_box_coder(page, golden):
    decoded = page["decode"](golden["box_regression"], golden["boxes"])
    np.testing.assert_allclose(decoded, golden["decoded"], rtol=1e-5, atol=1e-3)
    encoded = page["encode"](golden["objects"], golden["boxes"])
    np.testing.assert_allclose(encoded, golden["encoded"], atol=1e-5)
