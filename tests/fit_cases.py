"""Trains, evaluates and predicts by Keras under a strategy, for tests that compare strategies.

Run as `fit_cases.py STRATEGY FOLDER CASE...`: what came out is FOLDER/CASE.npz.
"""

import pathlib
import sys
import traceback

import keras
import numpy as np
import tensorflow as tf

import tf_roialign

GLOBAL_BATCH, REPLICAS, CLASSES = 4, 2, 3


class SubclassedModel(tf_roialign.BoxTraining, keras.Model):
    """Makes its variables when it is called first."""

    def __init__(self):
        super().__init__()
        self.backbone, self.pool = make_backbone(), make_pool()
        self.flatten, self.classify = keras.layers.Flatten(), keras.layers.Dense(CLASSES)

    def call(self, inputs):
        images, boxes = inputs
        return self.classify(self.flatten(self.pool(self.backbone(images), boxes)))


def make_backbone():
    return keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh")


def make_pool():
    return tf_roialign.RoIAlign(4, spatial_scale=1 / 2, sampling_ratio=2, aligned=True)


def make_layers(case):
    """The inputs and the outputs of a functional model."""
    images = keras.Input([24, 32, 3])
    boxes = keras.Input([None, 4], ragged="dense" not in case)
    x = make_pool()(make_backbone()(images), boxes)
    if "dense" in case:
        x = keras.layers.Reshape([-1, 64])(x)
        return [images, boxes], keras.layers.Dense(CLASSES)(x)
    if case in ("convolutions", "no box"):
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
        # Of all replicas together, as one process has it.
        x = keras.layers.BatchNormalization(synchronized=True)(x)
        x = keras.layers.Activation("tanh")(x)
        masks = keras.layers.Conv2DTranspose(4, 2, strides=2, activation="tanh")(x)
        masks = keras.layers.Conv2D(CLASSES, 1)(masks)
        return [images, boxes], keras.layers.GlobalAveragePooling2D()(masks)
    return [images, boxes], keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x))


def make_model(case, strategy, dataset):
    with strategy.scope():
        keras.utils.set_random_seed(1)
        if case == "subclassed":
            model = SubclassedModel()
            model(next(iter(dataset))[0])
        else:
            kind = keras.Model if case in ("wrapped", "dense, Keras' own") else tf_roialign.BoxModel
            model = kind(*make_layers(case))
    if case == "wrapped":
        model = tf_roialign.BoxModel(model.input, model.output)
    with strategy.scope():
        reduction = "sum"
        if case == "means" and strategy.num_replicas_in_sync > 1:
            reduction = "sum_over_batch_size"
        model.compile(
            keras.optimizers.SGD(0.2, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction),
            loss_weights=None if case == "means" else 1 / GLOBAL_BATCH,
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
    return model


def make_arrays(case):
    """(images, boxes, labels)."""
    random = np.random.default_rng(2)
    # "partial" leaves three images to the last batch, "no image" one, so none to a replica.
    count = {"partial": 11, "no image": 9}.get(case, 12)
    lengths = random.integers(1, 5, count)
    if case in ("ragged", "no box"):
        lengths[[1, 2, 6, 7]] = 0  # a replica of the second batch has no box
    if "dense" in case:
        lengths[:] = 3
    corners = random.uniform(0, 20, [lengths.sum(), 2])
    boxes = np.concatenate([corners, corners + random.uniform(2, 12, corners.shape)], axis=1)
    labels = random.integers(0, CLASSES, lengths.sum())
    images = random.uniform(-1, 1, [count, 24, 32, 3]).astype(np.float32)
    of_boxes = [boxes.astype(np.float32), labels]
    if "dense" in case:
        return images, *(x.reshape([count, 3, *x.shape[1:]]) for x in of_boxes)
    return images, *(tf.RaggedTensor.from_row_lengths(x, lengths) for x in of_boxes)


def weigh_replicas_alike(inputs, labels):
    """The mean over replicas of the means over their boxes, as weights of boxes."""
    lengths = labels.row_lengths()
    per_replica = GLOBAL_BATCH // REPLICAS
    totals = tf.reduce_sum(tf.reshape(lengths, [REPLICAS, per_replica]), axis=1)
    weights = 1 / (REPLICAS * tf.repeat(totals, per_replica))
    weights = tf.repeat(tf.cast(weights, tf.float32), lengths)
    return inputs, labels, labels.with_flat_values(weights)


def make_datasets(case, strategy):
    """What `fit`, `evaluate` and `predict` take."""
    images, boxes, labels = make_arrays(case)
    rows = tf.data.Dataset.from_tensor_slices(((images, boxes), labels))
    batches = rows.batch(GLOBAL_BATCH)
    if strategy.num_replicas_in_sync == 1:
        return batches.map(weigh_replicas_alike) if case == "means" else batches, batches, batches

    def make_part(repeats=None):
        def make(context):
            # Labels may be dense here, with a row per box.
            part = rows.batch(context.get_per_replica_batch_size(GLOBAL_BATCH))
            part = part.map(lambda inputs, labels: (inputs, labels.flat_values)).repeat(repeats)
            return part.shard(context.num_input_pipelines, context.input_pipeline_id)

        return strategy.distribute_datasets_from_function(make)

    if case == "own parts":
        return make_part(), make_part(1), make_part(1)
    if case == "no image":
        return batches, batches, make_part(1)
    return batches, batches, batches


def run(case, strategy, path):
    train, test, predict = make_datasets(case, strategy)
    model = make_model(case, strategy, train)
    start = model.get_weights()
    history = model.fit(
        train,
        epochs=2,
        steps_per_epoch=3 if case == "own parts" else None,
        validation_data=test,
        shuffle=False,
        verbose=0,
    ).history
    loss, accuracy = model.evaluate(test, verbose=0)
    results = {"predict": model.predict(predict, verbose=0)}
    results |= {f"history {name}": values for name, values in history.items()}
    results |= {"evaluate loss": loss, "evaluate accuracy": accuracy}
    results |= {f"weights {i}": weights for i, weights in enumerate(model.get_weights())}
    results |= {f"start {i}": weights for i, weights in enumerate(start)}
    results["steps"] = model.optimizer.iterations.numpy()
    np.savez(path, **results)


def make_strategy(name):
    if name == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


if __name__ == "__main__":
    strategy = make_strategy(sys.argv[1])
    assert strategy.num_replicas_in_sync == (1 if sys.argv[1] == "none" else REPLICAS)
    for case in sys.argv[3:]:
        try:
            run(case, strategy, pathlib.Path(sys.argv[2]) / f"{case}.npz")
        except Exception:
            if sys.argv[1] == "multi_worker":
                raise  # the other worker would wait for this one
            print(f"{case}:", traceback.format_exc()[-3000:], file=sys.stderr)
