"""Exports a trained detector to a SavedModel and to ONNX.

    cd examples
    ../.venv/bin/python -m detector.export

reads build/detector/detector.weights.h5, which `detector.train` wrote, and writes
build/detector/saved_model and build/detector/detector.onnx. Both take `images` `[N, S, S, 3]` in
[0, 1] and return what `Detector` does: `boxes`, `scores`, `classes`, `masks`.
"""

import argparse
import json
import os
import pathlib

import tensorflow as tf

from .train import OUTPUT_DIR, Plan, make_detector

OPSET = 17


def load(folder):
    """The detector that `detector.train` wrote to a folder."""
    plan = Plan(**json.loads((folder / "results.json").read_text())["plan"])
    model = make_detector(plan)
    model.load_weights(folder / "detector.weights.h5")
    return model


def serving_function(model):
    """`images` -> detections."""
    size = model.settings.image_size
    spec = tf.TensorSpec([None, size, size, 3], name="images")
    return tf.function(
        lambda images: model(images, training=False), input_signature=[spec], autograph=False
    )


def export_saved_model(model, path):
    """Writes a SavedModel; a process that loads it imports `tf_roialign` first."""
    module = tf.Module()
    module.variables_of_model = model.variables
    module.detect = serving_function(model)
    tf.saved_model.save(module, os.fspath(path), signatures=module.detect)


def export_onnx(model, path):
    """Writes an ONNX file, in which RoIAlign is ONNX' own operator."""
    import tf2onnx  # an extra: `tf_roialign[onnx]`

    function = serving_function(model)
    tf2onnx.convert.from_function(
        function, function.input_signature, opset=OPSET, output_path=os.fspath(path)
    )


def main():
    """Exports by the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", type=pathlib.Path, default=OUTPUT_DIR)
    parser.add_argument("--without-onnx", action="store_true", help="write the SavedModel alone")
    arguments = parser.parse_args()
    folder = arguments.output_dir
    model = load(folder)
    export_saved_model(model, folder / "saved_model")
    print(f"Written: {folder / 'saved_model'}")
    if not arguments.without_onnx:
        export_onnx(model, folder / "detector.onnx")
        print(f"Written: {folder / 'detector.onnx'}")


if __name__ == "__main__":
    main()
