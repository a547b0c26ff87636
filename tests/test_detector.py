"""The detector of examples/detector: its parts, and that it learns what its README says."""

import dataclasses
import importlib.util
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
if not EXAMPLES.exists():
    pytest.skip("the examples are only in the checkout", allow_module_level=True)
pytest.importorskip("skimage", reason="the scenes need scikit-image")
sys.path.insert(0, str(EXAMPLES))

from detector import anchors as detector_anchors  # noqa: E402
from detector import boxes as box_math  # noqa: E402
from detector import evaluate, export, losses, matching, poolers, scenes, settings, train  # noqa: E402
from detector.model import Detector  # noqa: E402

SMALL = settings.Settings(
    image_size=64, channels=16, candidates=64, proposals=16, sampled_boxes=16, sampled_objects=4
)

# What a short training comes to: the figures of the README, which are of three seeds.
SHORT = train.Plan(epochs=4, steps=125, ragged=True)
STATED = {"box_ap": (0.32, 0.15), "mask_ap": (0.35, 0.15), "mask_iou": (0.80, 0.03)}

needs_coco = pytest.mark.skipif(
    importlib.util.find_spec("pycocotools") is None,
    reason="AP needs pycocotools: install `tf_roialign[detector]`",
)
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnxruntime")),
    reason="ONNX needs tf2onnx and onnxruntime: install `tf_roialign[onnx]`",
)


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def trained():
    return train.train(SHORT, verbose=0)[0]


def small_plan(**changes):
    plan = train.Plan(epochs=2, steps=2, batch_size=2, warmup=1, validation_scenes=4)
    return dataclasses.replace(plan, **changes)


def small_batch(seed=3, batch_size=2):
    return next(iter(scenes.batches(seed, batch_size, SMALL)))


def random_boxes(shape, size=128, seed=0):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.6 * size, [*shape, 2])
    return np.concatenate(
        [corners, corners + random.uniform(4, 0.4 * size, corners.shape)], axis=-1
    ).astype(np.float32)


def test_scenes_depend_on_their_seed_alone():
    first, again, other = (scenes.make_scene(seed, 4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.owners, again.owners)
    assert (first.image != other.image).any()


def test_boxes_of_scenes_are_those_of_their_masks():
    for scene in scenes.make_scenes(5, 20):
        assert 1 <= len(scene.labels) <= 5
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            x1, y1, x2, y2 = box.astype(int)
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
            assert mask[y1].any() and mask[y2 - 1].any()
            assert mask[:, x1].any() and mask[:, x2 - 1].any()


def test_a_stream_of_batches_can_begin_later():
    stream = iter(scenes.batches(7, 2, SMALL))
    next(stream)
    images, targets = next(stream)
    later, targets_later = next(iter(scenes.batches(7, 2, SMALL, first_batch=1)))
    np.testing.assert_array_equal(images, later)
    for name, value in targets.items():
        np.testing.assert_array_equal(value, targets_later[name])


def test_anchors_are_in_the_order_of_the_head():
    anchors = detector_anchors.make_anchors(settings.Settings())
    assert anchors.shape == (settings.Settings().num_anchors, 4)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_allclose(centres[:4], [[2, 2]] * 3 + [[6, 2]])  # ratios, then x
    areas = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1)
    np.testing.assert_allclose(areas[[0, 1, 2, -1]], [256, 256, 256, 128**2], rtol=1e-5)
    width, height = anchors[0, 2:] - anchors[0, :2]
    assert height == pytest.approx(width / 2)


def test_deltas_take_anchors_to_boxes():
    boxes, anchors = random_boxes([50]), random_boxes([50], seed=1)
    np.testing.assert_allclose(
        box_math.decode(box_math.encode(boxes, anchors), anchors), boxes, atol=1e-3
    )


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_nms_is_that_of_tensorflow(threshold):
    random = np.random.default_rng(2)
    boxes = random_boxes([3, 100], size=64)
    scores = random.uniform(size=[3, 100]).astype(np.float32)
    indices, is_valid = box_math.non_max_suppression(boxes, scores, 20, threshold)
    for i in range(3):
        expected = tf.image.non_max_suppression(boxes[i], scores[i], 20, threshold)
        np.testing.assert_array_equal(indices[i][is_valid[i]], expected)


def test_every_object_has_an_anchor():
    _, targets = small_batch()
    is_object = targets["labels"] >= 0
    anchors = detector_anchors.make_anchors(SMALL)
    on_object, on_none, matched = matching.match_anchors(anchors, targets["boxes"], is_object)
    assert not tf.reduce_any(on_object & on_none)
    for i in range(2):
        found = set(matched[i].numpy()[on_object[i].numpy()])
        assert found == set(np.flatnonzero(is_object[i]))


def test_samples_are_of_the_mask_and_no_more_than_asked_for():
    random = tf.random.stateless_uniform([4, 200], [1, 2])
    mask = random > tf.constant([[0.0], [0.5], [0.99], [2.0]])
    chosen = matching.sample(mask, 12, tf.random.stateless_uniform([4, 200], [3, 4]))
    assert not tf.reduce_any(chosen & ~mask)
    counts = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    np.testing.assert_array_equal(
        tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1), np.minimum(counts, 12)
    )


def test_first_boxes_are_on_objects_and_the_others_are_not():
    overlaps = tf.random.stateless_uniform([3, 60], [5, 6])
    is_box = tf.random.stateless_uniform([3, 60], [7, 8]) > 0.2
    random = tf.random.stateless_uniform([3, 60], [9, 10])
    indices, on_object, is_any = matching.sample_boxes(
        overlaps, is_box, settings.Settings(), random
    )
    assert indices.shape == (3, 32)
    chosen = tf.gather(overlaps, indices, batch_dims=1).numpy()
    assert tf.reduce_all(tf.gather(is_box, indices, batch_dims=1)[is_any])
    np.testing.assert_array_equal((chosen >= 0.5)[is_any], on_object[is_any])
    assert not tf.reduce_any(on_object[:, 8:])


def pool_all(boxes):
    """What each pooler makes of a smooth pyramid, by name."""
    whole = settings.Settings()
    coarse = tf.random.stateless_normal([2, 8, 8, 5], [1, 2])
    pyramid = [tf.image.resize(coarse, [128 // stride] * 2) for stride in whole.strides]
    return {
        name: poolers.make_pooler(name, 7, whole)(pyramid, boxes).numpy()
        for name in poolers.POOLERS
    }


def test_poolers_agree_where_they_should():
    # No sample is outside of the centres of the outermost pixels: there, crop_and_resize is 0.
    boxes = random_boxes([2, 20], size=88) + 20
    rows = pool_all(boxes)
    assert rows["loop"].shape == (40, 7, 7, 5)
    levels = poolers.level_of_each_box(tf.reshape(boxes, [-1, 4]), settings.Settings())
    assert len(set(levels.numpy())) >= 2
    np.testing.assert_array_equal(rows["fused"], rows["loop"])
    np.testing.assert_allclose(rows["crop_and_resize_corrected"], rows["loop"], atol=1e-4)
    assert abs(rows["crop_and_resize"] - rows["loop"]).max() > 0.05


def test_poolers_take_ragged_boxes():
    boxes = random_boxes([2, 6])
    is_box = np.array([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1]], bool)
    padded = pool_all(boxes)
    for name, rows in pool_all(tf.ragged.boolean_mask(boxes, is_box)).items():
        np.testing.assert_array_equal(rows, padded[name][is_box.ravel()], err_msg=name)


@pytest.mark.parametrize("pooler", poolers.POOLERS)
def test_ragged_and_padded_boxes_have_the_same_losses(pooler):
    batch = small_batch()
    values = []
    for ragged in (True, False):
        model = train.make_detector(small_plan(pooler=pooler, ragged=ragged), SMALL)
        values.append([v.numpy() for v in model.all_losses(*batch, training=True)])
    assert np.isfinite(values).all()
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-6)


def test_xla_trains_on_padded_boxes(monkeypatch):
    # XLA has other random numbers.
    monkeypatch.setattr(
        Detector,
        "_random",
        lambda self, number, shape: tf.reshape(
            tf.math.floormod(tf.cast(tf.range(tf.reduce_prod(shape)), tf.float32) * 0.618, 1), shape
        ),
    )
    batch = small_batch()
    logs = []
    for xla in (True, False):
        model = train.make_detector(small_plan(xla=xla), SMALL)
        assert model.jit_compile is xla
        logs.append(model.train_on_batch(*batch, return_dict=True))
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


@pytest.mark.parametrize("mixed", ["float16", "bfloat16"])
def test_mixed_precision_keeps_boxes_in_float32(mixed):
    model = train.make_detector(small_plan(mixed=mixed, ragged=True), SMALL)
    assert model.pyramid(small_batch()[0])[0].dtype == mixed
    assert np.isfinite(model.train_on_batch(*small_batch(), return_dict=True)["loss"])
    detections = model(small_batch()[0])
    assert detections["boxes"].dtype == tf.float32


def test_a_mask_loss_of_the_right_class_alone():
    masks = tf.cast(tf.random.stateless_uniform([3, 4, 4], [1, 1]) > 0.5, tf.float32)
    logits = tf.random.stateless_normal([3, 4, 4, 3], [2, 2])
    rows = losses.mask_loss(masks, tf.constant([0, 2, 1]), logits)
    chosen = tf.stack([logits[0, ..., 0], logits[1, ..., 2], logits[2, ..., 1]])
    expected = tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=chosen)
    np.testing.assert_allclose(rows, tf.reduce_mean(expected, axis=[1, 2]), rtol=1e-5)


def test_targets_of_masks_come_back_where_they_were():
    """Cut out by roi_align and pasted, a mask is nearly what it was: nothing is shifted."""
    model = Detector()
    for scene in scenes.make_scenes(11, 8):
        count = len(scene.labels)
        cut = model._mask_targets(
            tf.constant(scene.masks[None], tf.float32),
            tf.constant(scene.boxes[None]),
            tf.range(count)[None],
            28,
        )[0].numpy()
        for probabilities, box, mask in zip(cut, scene.boxes, scene.masks, strict=True):
            pasted = evaluate.paste(probabilities, box, mask.shape) > 0.5
            assert (pasted & mask).sum() / (pasted | mask).sum() > 0.88


@needs_coco
def test_ap_of_the_truth_is_one_and_of_nothing_is_zero():
    some = scenes.make_scenes(13, 10)
    model = Detector()
    truth, nothing = [], []
    for scene in some:
        count = len(scene.labels)
        masks = model._mask_targets(
            tf.constant(scene.masks[None], tf.float32),
            tf.constant(scene.boxes[None]),
            tf.range(count)[None],
            28,
        )[0].numpy()
        truth.append(
            {
                "boxes": scene.boxes,
                "scores": np.ones(count),
                "classes": scene.labels,
                "masks": masks,
            }
        )
        nothing.append({name: value[:0] for name, value in truth[-1].items()})
    averages = evaluate.average_precision(some, truth)
    assert averages["box_ap"] == pytest.approx(1)
    assert averages["mask_ap"] > 0.9
    assert evaluate.average_precision(some, nothing)["box_ap"] == 0


def test_resumed_training_is_what_it_would_have_been(tmp_path):
    plan = small_plan(ragged=True)
    whole, _ = train.train(plan, tmp_path / "whole", settings=SMALL, verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    first, _ = train.train(plan, tmp_path / "part", callbacks=[Stop()], settings=SMALL, verbose=0)
    assert first.optimizer.iterations.numpy() == plan.steps
    second, seconds = train.train(plan, tmp_path / "part", resume=True, settings=SMALL, verbose=0)
    assert len(seconds) == plan.steps
    for variable, other in zip(whole.variables, second.variables, strict=True):
        np.testing.assert_allclose(variable, other, atol=1e-6, err_msg=variable.path)
    assert list((tmp_path / "part" / "logs").rglob("events*"))


def test_saved_model_finds_the_same(tmp_path):
    model = train.make_detector(small_plan(), SMALL)
    export.export_saved_model(model, tmp_path / "saved_model")
    images = small_batch()[0]
    expected = model(images)
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    got = loaded.signatures["serving_default"](images=images)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=1e-4, err_msg=name)


@needs_coco
def test_a_short_training_has_the_stated_ap(trained):
    validation = scenes.make_scenes(train.VALIDATION_SEED, SHORT.validation_scenes)
    results, found = train.evaluate(trained, validation)
    assert len(found) == len(validation)
    for name, (stated, tolerance) in STATED.items():
        assert results[name] == pytest.approx(stated, abs=tolerance), results


@needs_onnx
def test_onnx_finds_the_same(trained, tmp_path):
    from detector import onnx_check

    export.export_saved_model(trained, tmp_path / "saved_model")
    export.export_onnx(trained, tmp_path / "detector.onnx")
    some = scenes.make_scenes(train.VALIDATION_SEED, 16)
    images = scenes.to_floats(np.stack([scene.image for scene in some])).numpy()
    expected, got = onnx_check.run_both(tmp_path, images)
    assert (expected["scores"] > 0).sum() > 20
    for name, difference in onnx_check.differences(expected, got).items():
        assert difference <= onnx_check.TOLERANCES[name], name
