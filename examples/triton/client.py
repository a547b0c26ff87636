"""Asks the server of serve.py to score boxes: one request per image, all at once."""

import argparse
from concurrent import futures

import numpy as np
import tritonclient.grpc as triton


def make_inputs(images, boxes):
    """images [n, H, W, 3] and boxes [n, M, 4] as Triton's client wants them."""
    inputs = []
    for name, array in (("images", images), ("boxes", boxes)):
        tensor = triton.InferInput(name, array.shape, "FP32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def main():
    """Sends images with 1, 2, 3, ... boxes and prints the scores."""
    parser = argparse.ArgumentParser(description="Asks for scores of boxes.")
    parser.add_argument("--url", default="localhost:8001", help="the server's gRPC address")
    parser.add_argument("--images", type=int, default=4)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    requests = []
    for count in range(1, arguments.images + 1):
        images = random.uniform(size=(1, 128, 160, 3)).astype("float32")
        corners = random.uniform(0, 80, (1, count, 2))
        boxes = np.concatenate([corners, corners + 40], axis=2).astype("float32")
        requests.append(make_inputs(images, boxes))
    with (
        triton.InferenceServerClient(arguments.url) as client,
        futures.ThreadPoolExecutor(arguments.images) as threads,
    ):
        for result in threads.map(lambda inputs: client.infer("box_classifier", inputs), requests):
            print(result.as_numpy("output_0"))


if __name__ == "__main__":
    main()
