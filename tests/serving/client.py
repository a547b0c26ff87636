"""Clients of HTTP and gRPC, those that go away before they have an answer, and raw bytes."""

import http.client
import json
import socket

import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from .server import BOX_CLASSIFIER

PATIENCE = 60  # seconds that a client waits for an answer
# What a client sees of a server that is gone. (ValueError: of gevent's closed sockets.)
FAILURES = (InferenceServerException, OSError, http.client.HTTPException, ValueError)


class Client:
    """Of HTTP or gRPC: arrays in, array out."""

    def __init__(self, server, protocol):
        self._server = server
        self._protocol = protocol
        self._module = {"http": triton_http, "grpc": triton_grpc}[protocol]
        self._options = {"http": {}, "grpc": {"client_timeout": PATIENCE}}[protocol]
        self.connect()

    def connect(self):
        if self._protocol == "http":
            self.client = self._server.http(network_timeout=PATIENCE, connection_timeout=PATIENCE)
        else:
            self.client = self._server.grpc()

    def connect_again(self):
        """A channel of gRPC that found nobody waits longer and longer before it tries again."""
        self.client.close()
        self.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def __call__(self, arrays, model=BOX_CLASSIFIER):
        inputs = make_inputs(self._module, arrays)
        return self.client.infer(model, inputs, **self._options).as_numpy("output_0")


def make_inputs(module, arrays):
    inputs = []
    for name, array in arrays.items():
        dtype = {"float32": "FP32", "int32": "INT32"}[array.dtype.name]
        tensor = module.InferInput(name, array.shape, dtype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def _http_request(arrays, model):
    """The bytes of a request, as the client library would send them."""
    body, header_length = triton_http.InferenceServerClient.generate_request_body(
        make_inputs(triton_http, arrays)
    )
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Inference-Header-Content-Length: {header_length}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + bytes(body)


# How clients go away. Each takes a server, a good request and a number in [0, 1).


def close_in_the_middle(server, request, part):
    """Sends a part of the request, and closes the connection."""
    data = _http_request(request.arrays, request.model)
    with socket.create_connection(("127.0.0.1", server.http_port), PATIENCE) as connection:
        connection.sendall(data[: int(part * len(data))])


def close_after_sending(server, request, part):
    """Sends all, and does not wait for the answer."""
    data = _http_request(request.arrays, request.model)
    with socket.create_connection(("127.0.0.1", server.http_port), PATIENCE) as connection:
        connection.sendall(data)


def run_out_of_time(server, request, part):
    """Waits for some milliseconds."""
    with server.grpc() as client:
        inputs = make_inputs(triton_grpc, request.arrays)
        client.infer(request.model, inputs, client_timeout=0.001 + 0.02 * part)


def cancel(server, request, part):
    """Sends all, and then says that the answer is not wanted."""
    with server.grpc() as client:
        inputs = make_inputs(triton_grpc, request.arrays)
        call = client.async_infer(request.model, inputs, callback=lambda result, error: None)
        call.cancel()


WAYS_OF_HTTP = (close_in_the_middle, close_after_sending)
WAYS_OF_GRPC = (run_out_of_time, cancel)


def _claim(shape, data=b"\0" * 64):
    """A body that claims a tensor of a shape, and brings these bytes of it."""
    header = {
        "inputs": [
            {
                "name": name,
                "shape": sizes,
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(data)},
            }
            for name, sizes in (("images", shape), ("boxes", [1, 1, 4]))
        ]
    }
    text = json.dumps(header).encode()
    return text + data + data, {"Inference-Header-Content-Length": str(len(text))}


# Bodies that are no requests: (body, headers).
NO_REQUESTS = {
    "no_json": (b"{no json", {}),
    "empty": (b"", {}),
    "another_type": (b'{"inputs": 3}', {}),
    "gigantic_shape": _claim([1, 2**30, 2**30, 3]),
    "shape_of_overflow": _claim([1, 2**32, 2**32, 3]),
    "negative_shape": _claim([1, -64, -64, 3]),
    "too_few_bytes": _claim([1, 64, 64, 3]),
    "no_bytes": _claim([1, 64, 64, 3], b""),
    "header_past_the_end": (b"{}", {"Inference-Header-Content-Length": str(2**40)}),
    "header_of_no_number": (b"{}", {"Inference-Header-Content-Length": "-1"}),
}


def post(server, body, headers):
    """(status, text of the answer) to bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE)
    try:
        connection.request("POST", f"/v2/models/{BOX_CLASSIFIER}/infer", body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
