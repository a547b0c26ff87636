"""Triton Inference Server itself, with the example of examples/triton, asked by many at once."""

import concurrent.futures
import re

import numpy as np
import pytest
import tensorflow as tf

WHY_SKIPPED = "the `triton` extra is not installed: `make test-triton` runs this"
pytest.importorskip("pytriton", reason=WHY_SKIPPED)
triton_utils = pytest.importorskip("tritonclient.utils", reason=WHY_SKIPPED)
serving = pytest.importorskip("serving.server", reason=WHY_SKIPPED)
if not serving.EXAMPLE.exists():
    pytest.skip("the example is only in the checkout", allow_module_level=True)

from serving.client import NO_REQUESTS, Client, post  # noqa: E402
from serving.traffic import MALFORMED, classify_alone, random_request  # noqa: E402

CLIENTS = 8
REQUESTS = 15  # of each client


@pytest.fixture(name="server", scope="module")
def start_server(tmp_path_factory):
    server = serving.Server(tmp_path_factory.mktemp("triton"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(name="classifier", scope="module")
def load_classifier(server):
    return tf.saved_model.load(str(server.saved_model))


def good():
    return random_request(np.random.default_rng(0))


def statistics(server):
    with server.grpc() as client:
        return client.get_inference_statistics(serving.BOX_CLASSIFIER, as_json=True)["model_stats"][
            0
        ]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_one_request(server, classifier, protocol):
    with Client(server, protocol) as client:
        arrays = good()
        expected = classify_alone(classifier, **arrays)
        np.testing.assert_allclose(client(arrays), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_malformed_requests_are_told_what_is_wrong(server, protocol, what):
    arrays, message = MALFORMED[what]
    with Client(server, protocol) as client:
        with pytest.raises(triton_utils.InferenceServerException, match=message):
            client(arrays)
        assert client(good()).shape[2] == 3, "the server goes on"


@pytest.mark.parametrize("what", sorted(NO_REQUESTS))
def test_a_body_that_is_no_request(server, what):
    status, text = post(server, *NO_REQUESTS[what])
    assert 400 <= status < 600
    assert "error" in text


def test_concurrent_clients(server, classifier):
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
            expected = classify_alone(classifier, **arrays)
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-6)

    # The batcher put requests with different numbers of boxes together.
    runs = int(after["execution_count"]) - int(before["execution_count"])
    assert 0 < runs < len(answers) - len(malformed)
