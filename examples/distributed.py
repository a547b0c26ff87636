"""Trains through RoIAlign on several devices or machines, and resumes after a failure.

In one process, on one device or on two logical ones:

    .venv/bin/python examples/distributed.py
    .venv/bin/python examples/distributed.py --strategy mirrored

On several machines, the same command on each, with its own task in TF_CONFIG:

    TF_CONFIG='{"cluster": {"worker": ["host-a:12345", "host-b:12345"]},
                "task": {"type": "worker", "index": 0}}' \\
      .venv/bin/python examples/distributed.py --strategy multi_worker --backup /mnt/backup

docs/distribution.md has the rest. Every strategy ends with the weights of one process, by
Keras' `fit` as by a loop of one's own.
"""

import argparse
import json
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

import tf_roialign

IMAGES, GLOBAL_BATCH, CLASSES = 32, 8, 3  # the batch is that of all replicas together
STEPS_PER_EPOCH = IMAGES // GLOBAL_BATCH


def make_model(strategy):
    """(images, ragged boxes) -> one row of logits per box, ready to train."""
    with strategy.scope():
        keras.utils.set_random_seed(1)
        images = keras.Input([24, 32, 3])
        boxes = keras.Input([None, 4], ragged=True)
        x = keras.layers.Conv2D(4, 2, strides=2, activation="tanh")(images)
        x = tf_roialign.RoIAlign(3, spatial_scale=1 / 2, sampling_ratio=2, aligned=True)(x, boxes)
        logits = keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x))
        model = tf_roialign.BoxModel([images, boxes], logits)
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            # By images of the global batch: replicas may have different numbers of boxes.
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
            loss_weights=1 / GLOBAL_BATCH,
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
    return model


def make_dataset(batch_size):
    """Batches ((images, ragged boxes), ragged labels): 1 to 4 boxes an image, each labelled."""
    random = np.random.default_rng(2)
    lengths = random.integers(1, 5, IMAGES)
    corners = random.uniform(0, 20, [lengths.sum(), 2])
    boxes = np.concatenate([corners, corners + random.uniform(2, 12, corners.shape)], axis=1)
    labels = random.integers(0, CLASSES, lengths.sum())
    images = random.uniform(-1, 1, [IMAGES, 24, 32, 3]).astype(np.float32)
    boxes = tf.RaggedTensor.from_row_lengths(boxes.astype(np.float32), lengths)
    labels = tf.RaggedTensor.from_row_lengths(labels, lengths)
    dataset = tf.data.Dataset.from_tensor_slices(((images, boxes), labels))
    return dataset.batch(batch_size, drop_remainder=True)


class Backup(keras.callbacks.Callback):
    """Every worker writes one after each epoch; all start from that of the first."""

    def __init__(self, folder, worker):
        super().__init__()
        self._folder, self._worker = folder, worker

    def restore(self, model):
        path = self._folder / "0.weights.h5"
        if path.exists():
            model.load_weights(path)
            print(f"resumes after epoch {finished_epochs(model)}", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"new-{self._worker}.weights.h5"
        # Keras makes a variable to save, which the workers can only do together.
        self.model.save_weights(new)
        new.replace(self._folder / f"{self._worker}.weights.h5")  # there is never half a backup


class Report(keras.callbacks.Callback):
    """Prints the loss of each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        print(f"epoch {epoch + 1} loss {logs['loss']:.6f}", flush=True)


def finished_epochs(model):
    return int(model.optimizer.iterations.numpy()) // STEPS_PER_EPOCH


def restore(model, strategy, backup_folder):
    """From the backup, if there is one. Returns the callbacks of the training."""
    if backup_folder is None:
        return [Report()]
    resolver = strategy.cluster_resolver
    backup = Backup(backup_folder, resolver.task_id or 0 if resolver else 0)
    backup.restore(model)
    return [backup, Report()]


def train_with_fit(strategy, epochs, backup_folder):
    """One process, MirroredStrategy and MultiWorkerMirroredStrategy, by Keras."""
    model = make_model(strategy)
    callbacks = restore(model, strategy, backup_folder)
    model.fit(
        make_dataset(GLOBAL_BATCH),  # of which each replica gets its part
        initial_epoch=finished_epochs(model),
        epochs=epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return model


def train_with_own_loop(strategy, epochs, backup_folder):
    """The same, by a loop of one's own."""
    model = make_model(strategy)

    def make_part(context):
        batch_size = context.get_per_replica_batch_size(GLOBAL_BATCH)
        # Part by part of a batch to the workers, and in each to its replicas.
        return make_dataset(batch_size).shard(
            context.num_input_pipelines, context.input_pipeline_id
        )

    dataset = strategy.distribute_datasets_from_function(make_part)

    def replica_step(inputs, labels):
        loss, gradients = loss_and_gradients(model, inputs, labels)
        # Adds up the gradients of all replicas.
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function
    def train_step(batch):
        losses = strategy.run(replica_step, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def train_epoch():
        return sum(train_step(batch).numpy() for batch in dataset)

    run_epochs(strategy, model, epochs, backup_folder, train_epoch)
    return model


def run_epochs(strategy, model, epochs, backup_folder, train_epoch):
    """What `fit` does around its steps. `train_epoch` returns the sum of the steps' losses."""
    callbacks = keras.callbacks.CallbackList(restore(model, strategy, backup_folder), model=model)
    for epoch in range(finished_epochs(model), epochs):
        callbacks.on_epoch_end(epoch, {"loss": train_epoch() / STEPS_PER_EPOCH})


def loss_and_gradients(model, inputs, labels):
    """Of one replica's part of a batch. Those of all parts add up to the batch's."""
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)
        loss = model.compute_loss(y=labels.flat_values, y_pred=logits)
    return loss, tape.gradient(loss, model.trainable_variables)


def train_with_parameter_servers(epochs, backup_folder):
    """ParameterServerStrategy: what the chief runs; the others wait for its orders.

    It waits for all workers in each step, so that the weights are those of one process. For
    asynchronous training, apply the gradients on the workers, and join once an epoch.
    """
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    workers = len(resolver.cluster_spec().as_dict()["worker"])
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    model = make_model(strategy)

    @tf.function
    def worker_step(inputs, labels):
        return loss_and_gradients(model, inputs, labels)

    def train_epoch():
        total = 0.0
        parts = iter(make_dataset(GLOBAL_BATCH // workers))
        for _ in range(STEPS_PER_EPOCH):
            # A part of a worker that fails goes to another one.
            results = [coordinator.schedule(worker_step, next(parts)) for _ in range(workers)]
            coordinator.join()
            losses, gradients = zip(*coordinator.fetch(results), strict=True)
            summed = [sum(parts_of_one) for parts_of_one in zip(*gradients, strict=True)]
            model.optimizer.apply(
                [tf.convert_to_tensor(gradient) for gradient in summed], model.trainable_variables
            )
            total += sum(losses)
        return total

    run_epochs(strategy, model, epochs, backup_folder, train_epoch)
    return model


def run_server():
    """A worker or a parameter server: does what the chief asks for, until it is stopped."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
    server = tf.distribute.Server(
        resolver.cluster_spec(),
        job_name=resolver.task_type,
        task_index=resolver.task_id,
        protocol="grpc",
        start=True,
    )
    server.join()


def make_strategy(name):
    """The strategy of one that runs replicas."""
    if name == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def main():
    """Trains, and writes the weights if asked for."""
    parser = argparse.ArgumentParser(description="Distributed training through RoIAlign.")
    strategies = ["none", "mirrored", "multi_worker", "parameter_server"]
    parser.add_argument("--strategy", choices=strategies, default="none")
    parser.add_argument("--loop", choices=["fit", "own"], default="fit")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--backup", type=pathlib.Path, help="folder that all machines see")
    parser.add_argument("--weights", type=pathlib.Path, help="an .npz to write at the end")
    arguments = parser.parse_args()

    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    if arguments.strategy == "parameter_server":
        if task.get("type") in ("worker", "ps"):
            run_server()
        model = train_with_parameter_servers(arguments.epochs, arguments.backup)
    else:
        train = {"fit": train_with_fit, "own": train_with_own_loop}[arguments.loop]
        strategy = make_strategy(arguments.strategy)
        model = train(strategy, arguments.epochs, arguments.backup)
    if arguments.weights:
        np.savez(arguments.weights, *model.get_weights())


if __name__ == "__main__":
    main()
