"""Converts the box classifier to ONNX and runs it in onnxruntime, beside TensorFlow.

    make onnx

installs what it needs. The model is written to build/onnx/box_classifier.onnx; it takes
images, the boxes of all images one after the other, and how many each image has.
"""

import argparse
import pathlib

import box_classifier
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

import tf_roialign


def convert(model, folder):
    """Returns (the served function, the path of its ONNX model)."""
    tf_roialign.export_saved_model(model, folder / "saved_model")
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    signature = loaded.signatures["serving_default"]

    @tf.function
    def serve(images, boxes, boxes_row_lengths):
        return signature(images=images, boxes=boxes, boxes_row_lengths=boxes_row_lengths)

    serve.owner = loaded  # its variables live as long
    path = folder / "box_classifier.onnx"
    specs = [
        tf.TensorSpec([None, None, None, 3], name="images"),
        tf.TensorSpec([None, 4], name="boxes"),
        tf.TensorSpec([None], tf.int64, name="boxes_row_lengths"),
    ]
    tf2onnx.convert.from_function(serve, specs, opset=16, output_path=str(path))
    return serve, path


def main():
    """Converts, runs both, and prints how far they are from each other."""
    parser = argparse.ArgumentParser(description="The box classifier in onnxruntime.")
    parser.add_argument("--output-dir", type=pathlib.Path, default=pathlib.Path("build/onnx"))
    folder = parser.parse_args().output_dir
    folder.mkdir(parents=True, exist_ok=True)
    serve, path = convert(box_classifier.make_model(num_classes=3), folder)

    random = np.random.default_rng(0)
    corners = random.uniform(0, 80, [6, 2])
    inputs = {
        "images": random.uniform(size=[3, 128, 160, 3]).astype(np.float32),
        "boxes": np.concatenate([corners, corners + 40], axis=1).astype(np.float32),
        "boxes_row_lengths": np.array([3, 1, 2]),
    }
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, inputs)
    expected = serve(**{name: tf.constant(x) for name, x in inputs.items()})["output_0"].numpy()
    print(f"{path}: {got.shape[0]} boxes, {got.shape[1]} scores each")
    print(f"Largest difference from TensorFlow: {np.abs(got - expected).max():.1e}")


if __name__ == "__main__":
    main()
