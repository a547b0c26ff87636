"""Compares the detections of the ONNX file in onnxruntime with those of the SavedModel.

    cd examples
    ../.venv/bin/python -m detector.onnx_check

Exits with 1 unless both find the same objects.
"""

import argparse
import pathlib
import sys

import numpy as np
import onnxruntime
import tensorflow as tf

import tf_roialign  # noqa: F401  (registers the op, before the SavedModel is loaded)

from .evaluate import average_precision, without_padding
from .scenes import make_scenes, to_floats
from .train import OUTPUT_DIR, VALIDATION_SEED

TOLERANCES = {"boxes": 0.05, "scores": 1e-3, "classes": 0, "masks": 5e-3}


def run_both(folder, images):
    """Detections of images in [0, 1]: (SavedModel's, onnxruntime's), as dicts of arrays."""
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    expected = loaded.signatures["serving_default"](images=tf.constant(images))
    expected = {name: value.numpy() for name, value in expected.items()}
    session = onnxruntime.InferenceSession(
        folder / "detector.onnx", providers=["CPUExecutionProvider"]
    )
    # tf2onnx names outputs Identity, Identity_1, ... in the order of the names.
    outputs = session.run(None, {session.get_inputs()[0].name: images})
    return expected, dict(zip(sorted(expected), outputs, strict=True))


def differences(expected, got):
    """The largest difference of each output, over the detections that there are."""
    is_any = (expected["scores"] > 0) | (got["scores"] > 0)
    return {
        name: float(abs(got[name][is_any].astype(np.float64) - expected[name][is_any]).max())
        for name in expected
    }


def main():
    """Checks by the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=pathlib.Path, default=OUTPUT_DIR)
    parser.add_argument("--scenes", type=int, default=64)
    arguments = parser.parse_args()
    scenes = make_scenes(VALIDATION_SEED, arguments.scenes)
    images = to_floats(np.stack([scene.image for scene in scenes])).numpy()
    expected, got = run_both(arguments.output_dir, images)

    for name, outputs in ("TensorFlow", expected), ("onnxruntime", got):
        found = [without_padding({k: v[i] for k, v in outputs.items()}) for i in range(len(scenes))]
        count = sum(len(detections["scores"]) for detections in found)
        averages = average_precision(scenes, found)
        print(
            f"{name:<12}{count:5d} detections, box AP {averages['box_ap']:.4f}, "
            f"mask AP {averages['mask_ap']:.4f}"
        )
    is_same = True
    for name, difference in differences(expected, got).items():
        print(f"largest difference of {name:<8}{difference:.1e}")
        is_same &= difference <= TOLERANCES[name]
    if not is_same:
        sys.exit("error: onnxruntime finds something else.")


if __name__ == "__main__":
    main()
