"""Serves a request with the C++ host, and compares its answer with Python's.

    make cpp-host

builds the host and runs this on the model of examples/box_classifier.py.
"""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import named_tensor_pb2

import tf_roialign

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = ROOT / "bazel-bin/examples/cpp_host/host"


def write_tensors(path, tensors):
    """Writes a request: {name of an input: array}."""
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for name, value in tensors.items():
            proto = named_tensor_pb2.NamedTensorProto(name=name, tensor=tf.make_tensor_proto(value))
            writer.write(proto.SerializeToString())


def read_tensors(path):
    """Reads a response: {name of an output: array}."""
    protos = [
        named_tensor_pb2.NamedTensorProto.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(os.fspath(path))
    ]
    return {proto.name: tf.make_ndarray(proto.tensor) for proto in protos}


def main():
    """Exports, asks the host, and prints how far its answer is from Python's."""
    parser = argparse.ArgumentParser(description="RoIAlign in a C++ program.")
    parser.add_argument("--output-dir", type=pathlib.Path, default=pathlib.Path("build/cpp_host"))
    folder = parser.parse_args().output_dir
    folder.mkdir(parents=True, exist_ok=True)

    sys.path.insert(0, str(ROOT / "examples"))
    import box_classifier

    saved_model = folder / "saved_model"
    tf_roialign.export_saved_model(box_classifier.make_model(num_classes=3), saved_model)
    random = np.random.default_rng(0)
    corners = random.uniform(0, 80, [6, 2])
    inputs = {
        "images": random.uniform(size=[3, 128, 160, 3]).astype(np.float32),
        "boxes": np.concatenate([corners, corners + 40], axis=1).astype(np.float32),
        "boxes_row_lengths": np.array([3, 1, 2]),
    }
    write_tensors(folder / "request", inputs)
    arguments = [saved_model, "serving_default", folder / "request", folder / "response"]
    subprocess.run([HOST, tf_roialign.library_path(), *arguments], check=True)

    got = read_tensors(folder / "response")["output_0"]
    served = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    expected = served(**{name: tf.constant(x) for name, x in inputs.items()})["output_0"].numpy()
    print(f"{got.shape[0]} boxes, {got.shape[1]} scores each")
    same = "the same bits as" if got.tobytes() == expected.tobytes() else "NOT the same bits as"
    print(f"The host's scores are {same} Python's.")


if __name__ == "__main__":
    main()
