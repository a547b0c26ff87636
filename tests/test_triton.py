"""Triton Inference Server itself, with the example of examples/triton, asked by many at once."""

import concurrent.futures
import http.client
import pathlib
import re
import signal
import subprocess
import time

import numpy as np
import programs
import pytest
import tensorflow as tf

WHY_SKIPPED = "the `triton` extra is not installed: `make test-triton` runs this"
pytest.importorskip("pytriton", reason=WHY_SKIPPED)
triton_http = pytest.importorskip("tritonclient.http", reason=WHY_SKIPPED)
triton_utils = pytest.importorskip("tritonclient.utils", reason=WHY_SKIPPED)
triton_grpc = pytest.importorskip("tritonclient.grpc", reason=WHY_SKIPPED)
EXAMPLE = pathlib.Path(__file__).resolve().parents[1] / "examples/triton/serve.py"
if not EXAMPLE.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)

MODEL = "box_classifier"
CLIENTS = 8
REQUESTS = 15  # of each client
START_SECONDS = 120


class Server:
    """A running server and the model that it serves."""

    def __init__(self, folder):
        example = programs.load(EXAMPLE)
        example.export(folder / "repository")
        path = folder / "repository" / MODEL / "1" / "saved_model"
        self.saved_model = tf.saved_model.load(str(path))
        self.http_port, self.grpc_port = programs.free_ports(2)
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = example.start(
                folder, self.http_port, self.grpc_port, stdout=log, stderr=log
            )

    def wait(self):
        end = time.monotonic() + START_SECONDS
        with self.grpc() as client:
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    if client.is_model_ready(MODEL):
                        return
                except triton_utils.InferenceServerException:  # nobody listens yet
                    pass
                time.sleep(0.2)
        raise AssertionError(f"Triton did not start:\n{self.log.read_text()[-4000:]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def http(self):
        return triton_http.InferenceServerClient(f"127.0.0.1:{self.http_port}")

    def grpc(self):
        return triton_grpc.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")

    def local(self, images, boxes):
        """The answer without a server: each image alone."""
        serve = self.saved_model.signatures["serving_default"]
        rows = [
            serve(
                images=tf.constant(image[None]),
                boxes=tf.constant(entry),
                boxes_row_lengths=tf.constant([len(entry)], tf.int64),
            )["output_0"].numpy()
            for image, entry in zip(images, boxes, strict=True)
        ]
        return np.stack(rows)


@pytest.fixture(name="server", scope="module")
def start_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("triton"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def random_request(rng):
    """1 to 3 images of one of two sizes, each with 0 to 6 boxes."""
    count, boxes = rng.integers(1, 4), rng.integers(0, 7)
    height, width = [(64, 80), (72, 56)][rng.integers(2)]
    corners = rng.uniform(-5, 60, (count, boxes, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, corners.shape)], axis=2)
    images = rng.uniform(size=(count, height, width, 3))
    return {"images": images.astype("float32"), "boxes": boxes.astype("float32")}


def good():
    return random_request(np.random.default_rng(0))


# What is wrong with a request, and what its sender is told.
IMAGE = np.zeros((1, 64, 64, 3), "float32")
BOX = np.array([[[0.0, 0, 9, 9]]], "float32")
MALFORMED = {
    "dtype": ({"images": IMAGE, "boxes": BOX.astype("int32")}, "'boxes' data-type is 'INT32'"),
    "columns": (
        {"images": IMAGE, "boxes": np.zeros((1, 2, 5), "float32")},
        r"'boxes' .* Expected \[-1,-1,4\], got \[1,2,5\]",
    ),
    "rank": (
        {"images": IMAGE, "boxes": BOX[0]},
        r"'boxes' .* Expected \[-1,-1,4\], got \[1,4\]",
    ),
    "missing": ({"images": IMAGE}, r"missing required input\(s\) \['boxes'\]"),
    "unknown": ({"images": IMAGE, "boxes": BOX, "masks": BOX}, "expected 2 inputs but got 3"),
    "images_and_boxes": (
        {"images": IMAGE, "boxes": np.repeat(BOX, 2, 0)},
        "'images' batch size does not match",
    ),
    "too_many": (
        {"images": np.repeat(IMAGE, 17, 0), "boxes": np.repeat(BOX, 17, 0)},
        "batch-size must be <= 16",
    ),
    # Found by the op, behind the batcher.
    "empty_map": (
        {"images": IMAGE[:, :2, :2], "boxes": BOX},
        "`features` must have a height and width of at least 1",
    ),
}


class Client:
    """Of HTTP or gRPC: arrays in, array out."""

    def __init__(self, server, protocol):
        self.module = {"http": triton_http, "grpc": triton_grpc}[protocol]
        self.client = {"http": server.http, "grpc": server.grpc}[protocol]()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def __call__(self, arrays):
        inputs = []
        for name, array in arrays.items():
            dtype = {"float32": "FP32", "int32": "INT32"}[array.dtype.name]
            tensor = self.module.InferInput(name, array.shape, dtype)
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        return self.client.infer(MODEL, inputs).as_numpy("output_0")


def statistics(server):
    with server.grpc() as client:
        return client.get_inference_statistics(MODEL, as_json=True)["model_stats"][0]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_one_request(server, protocol):
    with Client(server, protocol) as client:
        arrays = good()
        np.testing.assert_allclose(client(arrays), server.local(**arrays), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_malformed_requests_are_told_what_is_wrong(server, protocol, what):
    arrays, message = MALFORMED[what]
    with Client(server, protocol) as client:
        with pytest.raises(triton_utils.InferenceServerException, match=message):
            client(arrays)
        assert client(good()).shape[2] == 3, "the server goes on"


def test_a_body_that_is_no_request(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    connection.request("POST", f"/v2/models/{MODEL}/infer", body=b"{no json")
    response = connection.getresponse()
    assert response.status in (400, 500)
    assert b"error" in response.read()
    connection.close()


def test_concurrent_clients(server):
    """8 clients, every fourth request malformed: each gets its own answer or error."""

    def run(number):
        rng = np.random.default_rng(number)
        answers = []
        with Client(server, ("http", "grpc")[number % 2]) as client:
            for i in range(REQUESTS):
                what = rng.choice(sorted(MALFORMED)) if i % 4 == number % 4 else None
                arrays = MALFORMED[what][0] if what else random_request(rng)
                try:
                    answers.append((what, arrays, client(arrays)))
                except triton_utils.InferenceServerException as error:
                    answers.append((what, arrays, str(error)))
        return answers

    before = statistics(server)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        answers = [answer for some in threads.map(run, range(CLIENTS)) for answer in some]
    after = statistics(server)

    assert len(answers) == CLIENTS * REQUESTS
    malformed = [answer for answer in answers if answer[0]]
    assert len(malformed) >= CLIENTS * 3
    for what, arrays, answer in answers:
        if what:
            assert re.search(MALFORMED[what][1], answer), (what, answer)
        else:
            assert not isinstance(answer, str), answer
            # Convolutions of a batch round otherwise than those of one image.
            np.testing.assert_allclose(answer, server.local(**arrays), rtol=1e-4, atol=1e-6)

    # The batcher put requests with different numbers of boxes together.
    runs = int(after["execution_count"]) - int(before["execution_count"])
    assert 0 < runs < len(answers) - len(malformed)
