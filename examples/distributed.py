"""Trains through RoIAlign on several devices or machines, and resumes after a failure.

In one process, on one device or on two logical ones:

    .venv/bin/python examples/distributed.py
    .venv/bin/python examples/distributed.py --strategy mirrored

On several machines, the same command on each, with its own task in TF_CONFIG:

    TF_CONFIG='{"cluster": {"worker": ["host-a:12345", "host-b:12345"]},
                "task": {"type": "worker", "index": 0}}' \\
      .venv/bin/python examples/distributed.py --strategy multi_worker --backup /mnt/backup

docs/distribution.md has the rest. Every strategy ends with the weights of one process.
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


def make_model():
    """(images, ragged boxes) -> one row of logits per box, with its optimizer."""
    keras.utils.set_random_seed(1)
    images = keras.Input([24, 32, 3])
    boxes = keras.Input([None, 4], ragged=True)
    x = keras.layers.Conv2D(4, 2, strides=2, activation="tanh")(images)
    x = tf_roialign.RoIAlign(3, spatial_scale=1 / 2, sampling_ratio=2, aligned=True)(x, boxes)
    model = keras.Model([images, boxes], keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x)))
    model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def make_dataset(batch_size):
    """Batches (images, ragged boxes, ragged labels): 1 to 4 boxes an image, each with a label."""
    random = np.random.default_rng(2)
    lengths = random.integers(1, 5, IMAGES)
    corners = random.uniform(0, 20, [lengths.sum(), 2])
    boxes = np.concatenate([corners, corners + random.uniform(2, 12, corners.shape)], axis=1)
    labels = random.integers(0, CLASSES, lengths.sum())
    slices = (
        random.uniform(-1, 1, [IMAGES, 24, 32, 3]).astype(np.float32),
        tf.RaggedTensor.from_row_lengths(boxes.astype(np.float32), lengths),
        tf.RaggedTensor.from_row_lengths(labels, lengths),
    )
    return tf.data.Dataset.from_tensor_slices(slices).batch(batch_size, drop_remainder=True)


def loss_and_gradients(model, images, boxes, labels):
    """Of one replica's part of a batch. Those of all parts add up to the batch's."""
    with tf.GradientTape() as tape:
        logits = model([images, boxes], training=True)
        losses = keras.losses.sparse_categorical_crossentropy(
            labels.flat_values, logits, from_logits=True
        )
        # By images of the global batch: parts may have different numbers of boxes.
        loss = tf.reduce_sum(losses) / GLOBAL_BATCH
    return loss, tape.gradient(loss, model.trainable_variables)


class Backup:
    """keras.callbacks.BackupAndRestore outside of `fit`."""

    def __init__(self, model, folder, is_chief=True):
        self._callback = None
        self._is_chief = is_chief
        if folder is not None:
            self._callback = keras.callbacks.BackupAndRestore(folder, double_checkpoint=True)
            self._callback.set_model(model)
            self._callback.on_train_begin()  # restores
        self.first_epoch = int(model.optimizer.iterations.numpy()) // STEPS_PER_EPOCH
        if self.first_epoch:
            print(f"resumes after epoch {self.first_epoch}", flush=True)

    def save(self, epoch):
        """At the end of an epoch. All read what the chief writes."""
        if self._callback and self._is_chief:
            self._callback.on_epoch_end(epoch)


def train_replicas(strategy, epochs, backup_folder):
    """One process, MirroredStrategy and MultiWorkerMirroredStrategy."""
    with strategy.scope():
        model = make_model()

    def make_part(context):
        batch_size = context.get_per_replica_batch_size(GLOBAL_BATCH)
        # Part by part of a batch to the workers, and in each to its replicas.
        return make_dataset(batch_size).shard(
            context.num_input_pipelines, context.input_pipeline_id
        )

    dataset = strategy.distribute_datasets_from_function(make_part)

    def replica_step(images, boxes, labels):
        loss, gradients = loss_and_gradients(model, images, boxes, labels)
        # Adds up the gradients of all replicas.
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function
    def train_step(batch):
        losses = strategy.run(replica_step, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    resolver = strategy.cluster_resolver
    backup = Backup(model, backup_folder, is_chief=not resolver or resolver.task_id in (0, None))
    for epoch in range(backup.first_epoch, epochs):
        loss = sum(train_step(batch).numpy() for batch in dataset) / STEPS_PER_EPOCH
        backup.save(epoch)
        print(f"epoch {epoch + 1} loss {loss:.6f}", flush=True)
    return model


def train_with_parameter_servers(epochs, backup_folder):
    """ParameterServerStrategy: what the chief runs; the others wait for its orders.

    It waits for all workers in each step, so that the weights are those of one process. For
    asynchronous training, apply the gradients on the workers, and join once an epoch.
    """
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    workers = len(resolver.cluster_spec().as_dict()["worker"])
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        model = make_model()

    @tf.function
    def worker_step(images, boxes, labels):
        return loss_and_gradients(model, images, boxes, labels)

    backup = Backup(model, backup_folder)
    for epoch in range(backup.first_epoch, epochs):
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
        backup.save(epoch)
        print(f"epoch {epoch + 1} loss {total / STEPS_PER_EPOCH:.6f}", flush=True)
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
        strategy = make_strategy(arguments.strategy)
        model = train_replicas(strategy, arguments.epochs, arguments.backup)
    if arguments.weights:
        np.savez(arguments.weights, *model.get_weights())


if __name__ == "__main__":
    main()
