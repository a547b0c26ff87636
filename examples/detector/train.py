"""Trains the detector, evaluates it and draws what it finds.

    cd examples
    ../.venv/bin/python -m detector.train

Scalars and pictures for TensorBoard, a checkpoint of each epoch, the results and a picture are
written to build/detector, or where `--output-dir` says. `--resume` goes on from the checkpoint.
"""

import argparse
import dataclasses
import json
import pathlib
import resource
import time

import keras
import numpy as np
import tensorflow as tf

from . import pictures
from .evaluate import average_precision, detect, mask_iou
from .model import Detector
from .poolers import POOLERS
from .scenes import batches, make_scenes
from .settings import Settings

OUTPUT_DIR = pathlib.Path(__file__).resolve().parents[2] / "build" / "detector"
VALIDATION_SEED = 1_000_000  # of other scenes than any that are trained on
PICTURED = 8


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long and how it is trained."""

    epochs: int = 12
    steps: int = 150  # of each epoch
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup: int = 100
    seed: int = 0
    pooler: str = "fused"
    ragged: bool = False
    xla: bool = False
    mixed: str | None = None  # "float16" or "bfloat16"
    validation_scenes: int = 200


def make_detector(plan, settings=None):
    """A detector that is ready for `fit`."""
    keras.utils.set_random_seed(plan.seed)
    policy = f"mixed_{plan.mixed}" if plan.mixed else "float32"
    keras.mixed_precision.set_dtype_policy(policy)
    model = Detector(settings or Settings(), plan.pooler, plan.ragged, plan.seed)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        plan.epochs * plan.steps - plan.warmup,
        warmup_target=plan.learning_rate,
        warmup_steps=plan.warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-3, global_clipnorm=5.0)
    # All losses are the model's own, with one row per box.
    model.compile(optimizer, jit_compile=plan.xla)
    # Keras makes its state in the first step, and a checkpoint is loaded before.
    model.optimizer.build(model.trainable_variables)
    return model


def train(plan, output_dir=None, resume=False, callbacks=(), settings=None, verbose="auto"):
    """Returns the trained model and the times of its steps, in seconds."""
    model = make_detector(plan, settings)
    first_epoch = 0
    times = StepTimes()
    callbacks = [*callbacks, times]
    if output_dir is not None:
        checkpoint = output_dir / "checkpoint.weights.h5"
        if resume and checkpoint.exists():
            model.load_weights(checkpoint)
            first_epoch = int(model.optimizer.iterations.numpy()) // plan.steps
            print(f"Resumes after epoch {first_epoch}.")
        callbacks += [
            keras.callbacks.TensorBoard(output_dir / "logs", write_graph=False),
            # With the state of the optimizer, so that what follows is what it would have been.
            keras.callbacks.ModelCheckpoint(checkpoint, save_weights_only=True),
        ]
    model.fit(
        batches(plan.seed, plan.batch_size, model.settings, first_epoch * plan.steps),
        initial_epoch=first_epoch,
        epochs=plan.epochs,
        steps_per_epoch=plan.steps,
        shuffle=False,
        callbacks=callbacks,
        verbose=verbose,
    )
    return model, times.seconds


def evaluate(model, scenes):
    """Returns the results by name, and the detections."""
    found = detect(model, scenes)
    results = average_precision(scenes, found)
    results["mask_iou"] = mask_iou(model, scenes)
    return results, found


class StepTimes(keras.callbacks.Callback):
    """How long each step took."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self._begin)


class Pictures(keras.callbacks.Callback):
    """AP and a picture of detections for TensorBoard, after every few epochs."""

    def __init__(self, folder, scenes, every=3):
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(folder))
        self._scenes, self._every = scenes, every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every:
            return
        found = detect(self.model, self._scenes)
        averages = average_precision(self._scenes, found)
        picture = pictures.draw(self._scenes[:PICTURED], found[:PICTURED])
        with self._writer.as_default(step=epoch):
            for name, value in averages.items():
                tf.summary.scalar(name, value)
            tf.summary.image("detections", picture[None])
        self._writer.flush()
        print(f" - box AP {averages['box_ap']:.3f} - mask AP {averages['mask_ap']:.3f}")


def make_parser():
    """Arguments of the command line: those of `Plan` and where to write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=pathlib.Path, default=OUTPUT_DIR)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--epochs", type=int, default=Plan.epochs)
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of each epoch")
    parser.add_argument("--batch-size", type=int, default=Plan.batch_size)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--pooler", choices=POOLERS, default=Plan.pooler)
    parser.add_argument("--ragged", action="store_true", help="pool the real boxes alone")
    parser.add_argument("--xla", action="store_true", help="compile with XLA")
    parser.add_argument("--mixed", choices=["float16", "bfloat16"], help="mixed precision")
    parser.add_argument("--validation-scenes", type=int, default=Plan.validation_scenes)
    return parser


def main():
    """Trains by the command line."""
    arguments = vars(make_parser().parse_args())
    output_dir, resume = arguments.pop("output_dir"), arguments.pop("resume")
    plan = Plan(**arguments)
    if plan.xla and plan.ragged:
        raise SystemExit("error: XLA wants fixed shapes: --xla goes without --ragged.")
    output_dir.mkdir(parents=True, exist_ok=True)

    scenes = make_scenes(VALIDATION_SEED, plan.validation_scenes)
    watch = Pictures(output_dir / "logs" / "detections", scenes[:64])
    begin = time.perf_counter()
    model, seconds = train(plan, output_dir, resume, [watch])
    minutes = (time.perf_counter() - begin) / 60
    model.save_weights(output_dir / "detector.weights.h5")

    results, found = evaluate(model, scenes)
    results["train_minutes"] = minutes
    results["step_ms"] = float(np.median(seconds) * 1000) if seconds else None
    results["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    summary = {"plan": dataclasses.asdict(plan), "results": results}
    (output_dir / "results.json").write_text(json.dumps(summary, indent=2) + "\n")
    pictures.save(output_dir / "detections.png", pictures.draw(scenes[:PICTURED], found[:PICTURED]))
    for name, value in results.items():
        print(f"{name:<16}" + ("         -" if value is None else f"{value:10.3f}"))
    print(f"Written: {output_dir}")


if __name__ == "__main__":
    main()
