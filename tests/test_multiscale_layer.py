"""The layer `MultiScaleRoIAlign`; what it pools is in test_multiscale.py."""

import cases
import keras
import numpy as np
import pyramids
import pytest
import tensorflow as tf

import tf_roialign

NAMES = ["p2", "p3", "p4"]
ONE = np.zeros((1, 4, 4, 1), np.float32)


def make(**kwargs):
    arguments = {"output_size": (3, 2), "sampling_ratio": 2, **pyramids.RULE, **kwargs}
    return tf_roialign.MultiScaleRoIAlign(NAMES, **arguments)


def make_pyramid(**kwargs):
    return pyramids.Pyramid(np.random.default_rng(cases.seed_of("layer")), **kwargs)


def named(features):
    return dict(zip(NAMES, features, strict=True))


def test_config_round_trip():
    layer = make(
        aligned=True,
        spatial_scales=pyramids.SCALES,
        data_format="channels_first",
        mode="max",
        name="pool",
    )
    config = layer.get_config()
    again = tf_roialign.MultiScaleRoIAlign.from_config(config)
    assert again.get_config() == config
    wanted = {
        "featmap_names": NAMES,
        "output_size": (3, 2),
        "sampling_ratio": 2,
        "canonical_scale": 40.0,
        "canonical_level": 3,
        "aligned": True,
        "spatial_scales": pyramids.SCALES,
        "data_format": "channels_first",
        "mode": "max",
        "name": "pool",
    }
    assert {key: config[key] for key in wanted} == wanted


def test_a_model_that_is_loaded_again_pools_the_same(tmp_path):
    pyramid = make_pyramid(form="dense", aligned=True)
    maps = [keras.Input([None, None, 5], name=name) for name in NAMES]
    boxes = keras.Input([None, 4], name="boxes")
    output = make(aligned=True, spatial_scales=pyramids.SCALES)(named(maps), boxes)
    assert output.shape == (None, None, 3, 2, 5)
    model = keras.Model([*maps, boxes], output)
    model.save(tmp_path / "model.keras")
    inputs = [*pyramid.features, tf.constant(pyramid.boxes.reshape(2, -1, 4))]
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        got = tf.reshape(each(inputs), pyramid.upstream.shape)
        assert cases.as_bytes(got) == cases.as_bytes(pyramid.run())


@pytest.mark.parametrize("data_format", cases.LAYOUTS)
@pytest.mark.parametrize("is_known", [True, False])
def test_scales_are_the_nearest_powers_of_two(is_known, data_format):
    """Of the maps' heights, 24, 12 and 5, over that of the largest image."""
    pyramid = make_pyramid(data_format=data_format)
    layer = make(
        data_format="channels_last" if data_format == "NHWC" else "channels_first",
    )
    call = lambda maps, boxes, sizes, indices: layer(  # noqa: E731
        named(maps), boxes, image_shapes=sizes, box_indices=indices
    )
    if not is_known:
        specs = [tf.TensorSpec([None] * 4)] * 3, tf.TensorSpec([None, 4])
        specs += tf.TensorSpec([2, 2], tf.int32), tf.TensorSpec([None], tf.int32)
        call = tf.function(call, input_signature=specs)
    indices = tf.constant(pyramid.indices, tf.int32)
    for heights, scales in (
        ((96, 50), [1 / 4, 1 / 8, 1 / 16]),
        ((50, 96), [1 / 4, 1 / 8, 1 / 16]),
        # 24 / 130 is nearer to 1/4 than to 1/8, 12 / 130 to 1/8, and 5 / 130 to 1/32.
        ((130, 1), [1 / 4, 1 / 8, 1 / 32]),
    ):
        sizes = tf.constant([[height, 300] for height in heights])
        got = call(pyramid.features, tf.constant(pyramid.boxes), sizes, indices)
        assert cases.as_bytes(got) == cases.as_bytes(pyramid.run(scales=scales))


def test_maps_by_name_and_by_place():
    pyramid = make_pyramid()
    layer = make(spatial_scales=pyramids.SCALES)
    arguments = {
        "boxes": tf.constant(pyramid.boxes),
        "box_indices": tf.constant(pyramid.indices, tf.int32),
    }
    expected = cases.as_bytes(pyramid.run())
    shuffled = {name: named(pyramid.features)[name] for name in ("p4", "p2", "p3")}
    assert cases.as_bytes(layer({"p9": tf.zeros([1]), **shuffled}, **arguments)) == expected
    assert cases.as_bytes(layer(pyramid.features, **arguments)) == expected
    # Names that are numbers are places.
    by_place = tf_roialign.MultiScaleRoIAlign(
        ["3", "0", "2"], (3, 2), 2, **pyramids.RULE, spatial_scales=pyramids.SCALES
    )
    p2, p3, p4 = pyramid.features
    assert cases.as_bytes(by_place([p3, p2, p4, p2], **arguments)) == expected


def test_mixed_precision():
    """The maps are cast, and the boxes are not."""
    pyramid = make_pyramid()
    boxes = tf.constant(pyramid.boxes + np.float32(1 / 512))
    indices = tf.constant(pyramid.indices, tf.int32)
    layer = make(spatial_scales=pyramids.SCALES, dtype="mixed_float16")
    got = layer(named(pyramid.features), boxes, box_indices=indices)
    features = [tf.cast(each, tf.float16) for each in pyramid.features]
    assert cases.as_bytes(got) == cases.as_bytes(pyramid.run(features, boxes=boxes))


@pytest.mark.parametrize("boxes_shape", [(7, 5), (2, 6, 4)])
def test_compute_output_shape(boxes_shape):
    shapes = [(2, 24, 31, 5), (2, 12, 16, 5), (2, 5, 8, 5)]
    expected = (*boxes_shape[:-1], 3, 2, 5)
    for layer in (make(), make(spatial_scales=pyramids.SCALES)):
        assert layer.compute_output_shape(shapes, boxes_shape) == expected
        assert layer.compute_output_shape(named(shapes), boxes_shape) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"featmap_names": []}, "`featmap_names` must be a list of 1 to 8 different names"),
        ({"featmap_names": ["a", "a"]}, "1 to 8 different names"),
        ({"featmap_names": [str(i) for i in range(9)]}, "1 to 8 different names"),
        ({"spatial_scales": [0.5, 0.25]}, "`spatial_scales` must be 3 numbers or pairs"),
        ({"spatial_scales": [1, 1, 0]}, r"`spatial_scales\[2\]` must be finite and greater"),
        ({"canonical_scale": -1}, "`canonical_scale` must be finite and greater than 0"),
        ({"canonical_level": "a"}, "`canonical_level` must be an integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tf_roialign.MultiScaleRoIAlign(
            **{"featmap_names": NAMES, "output_size": 2, "sampling_ratio": 2, **arguments}
        )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": {"p2": ONE}}, ValueError, r"must have the maps \['p2', 'p3', 'p4'\]"),
        ({"features": [ONE, ONE]}, ValueError, r"must have the maps .*, got a list of 2"),
        ({"features": ONE}, TypeError, "a dict or a list of maps, got a"),
        ({"image_shapes": None}, ValueError, "`image_shapes` must be given"),
        ({"image_shapes": [(1, 2, 3)]}, ValueError, r"heights and widths of images, \[N, 2\]"),
        ({"image_shapes": [(0, 0)]}, ValueError, "greater than 0"),
        ({"image_shapes": [(np.inf, 1)]}, ValueError, "greater than 0"),
    ],
)
def test_bad_calls(arguments, error, message):
    good = {
        "features": named([ONE] * 3),
        "boxes": tf.zeros([1, 5]),
        "image_shapes": [(16, 16)],
    }
    with pytest.raises(error, match=message):
        make()(**{**good, **arguments})
