"""What pooling takes of a detector's training step, by pooler.

    make setup-detector
    .venv/bin/python benchmarks/detector_step.py

The detector of examples/detector trains the same batch with each of its poolers, and with one
that pools nothing: it gives numbers that do not depend on the maps, so that its step has no
forward and no gradient of any pooling. What a step takes more than that one is the pooler's.
Steps take turns in one process; medians and quartiles of the differences within a turn.
"""

import argparse
import dataclasses
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples"))
from detector import poolers
from detector.scenes import batches
from detector.settings import Settings
from detector.train import Plan, make_detector

NOTHING = "nothing"


class Nothing(keras.layers.Layer):
    """Pools nothing, in no time worth mentioning."""

    def __init__(self, bins, settings, **kwargs):
        super().__init__(**kwargs, autocast=False)
        self.bins = bins

    def call(self, pyramid, boxes):
        boxes, _ = poolers.flat_boxes(boxes)
        # Boxes are not learnt here; that the numbers come from them keeps XLA from folding them.
        row = tf.cast(boxes[:, :1, None, None] * 1e-3, pyramid[0].dtype)
        return tf.broadcast_to(
            row, [tf.shape(boxes)[0], self.bins, self.bins, pyramid[0].shape[-1]]
        )


def steps_of(name, settings, plan):
    """A function that trains one step on a batch that stays the same."""
    model = make_detector(dataclasses.replace(plan, pooler=name), settings)
    images, targets = next(iter(batches(plan.seed, plan.batch_size, settings, 0).take(1)))
    return lambda: model.train_on_batch(images, targets)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=15)
    add("--threads", type=int, default=2)
    add("--image-size", type=int, default=128)
    add("--channels", type=int, default=64, help="of the pyramid")
    add("--batch-size", type=int, default=8)
    add("--poolers", nargs="+", choices=list(poolers.POOLERS), default=list(poolers.POOLERS))
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)

    poolers.POOLERS[NOTHING] = Nothing
    settings = Settings(image_size=options.image_size, channels=options.channels)
    plan = Plan(batch_size=options.batch_size)
    steps = {name: steps_of(name, settings, plan) for name in [*options.poolers, NOTHING]}
    times = {name: [] for name in steps}
    for number in range(options.rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    times = {name: np.array(each) for name, each in times.items()}

    print(
        f"{options.image_size} px, {options.channels} channels, batch {options.batch_size}, "
        f"{options.threads} threads, TensorFlow {tf.__version__}\n"
    )
    print("| pooler | step, ms | of it pooling, ms | share |")
    print("| --- | --- | --- | --- |")
    for name, each in times.items():
        more = each - times[NOTHING]
        low, middle, high = np.percentile(more, [25, 50, 75])
        share = f"{100 * np.median(more / each):.0f} %"
        pooling = f"{middle:.1f} ({low:.1f}..{high:.1f})"
        print(
            f"| `{name}` | {np.median(each):.0f} | "
            + (" | " if name == NOTHING else f"{pooling} | {share}")
            + " |"
        )


if __name__ == "__main__":
    main()
