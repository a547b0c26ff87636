"""Tests marked `gpu` run on a GPU, or are skipped with the reason; all others run on CPU."""

import contextlib
import inspect

import keras
import pytest
import tensorflow as tf

from tf_roialign.library import build_info


def skip_ragged_inputs():
    """Keras takes ragged tensors from the start, and has inputs for them since 3.10 or so."""
    make_input = keras.Input
    if "ragged" in inspect.signature(make_input).parameters:
        return

    def input_or_skip(*arguments, ragged=False, **others):
        if ragged:
            pytest.skip(f"Keras {keras.__version__} has no ragged inputs")
        return make_input(*arguments, **others)

    keras.Input = input_or_skip


skip_ragged_inputs()


def why_no_gpu():
    """What is missing to run the op on a GPU; None if nothing is."""
    if build_info.CUDA is None:
        return "the library has no CUDA kernels"
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built without CUDA"
    if not tf.config.list_physical_devices("GPU"):
        return "TensorFlow sees no GPU"
    return None


def pytest_collection_modifyitems(items):
    reason = why_no_gpu()
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def device(request):
    """Without a GPU, nothing: TensorFlow places everything on CPU by itself."""
    on_gpu = request.node.get_closest_marker("gpu") is not None
    name = "GPU:0" if on_gpu else "CPU:0"
    with tf.device(name) if why_no_gpu() is None else contextlib.nullcontext():
        yield name
