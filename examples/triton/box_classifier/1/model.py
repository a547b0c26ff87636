"""Runs a SavedModel with ragged boxes on what Triton's dynamic batcher collects.

For Triton's Python backend. The SavedModel beside this file is one that
tf_roialign.export_saved_model wrote; everything about it is read from its signature.
"""

import collections
import os

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as pb_utils

import tf_roialign  # noqa: F401  (registers the op)


class TritonPythonModel:
    """The class that the backend looks for."""

    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"], "saved_model")
        self.model = tf.saved_model.load(folder)
        self.serve = self.model.signatures["serving_default"]

    def execute(self, requests):
        """One response per request; what is wrong with one request stays its own."""
        inputs = [
            [pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in ("images", "boxes")]
            for request in requests
        ]
        responses = [None] * len(requests)
        # A tensor holds images of one size: one run for each.
        groups = collections.defaultdict(list)
        for i, (images, _) in enumerate(inputs):
            groups[images.shape[1:]].append(i)
        for group in groups.values():
            for i, response in zip(group, self._responses([inputs[i] for i in group]), strict=True):
                responses[i] = response
        return responses

    def _responses(self, inputs):
        try:
            return [_response(outputs) for outputs in self._run(inputs)]
        except tf.errors.OpError as error:
            if len(inputs) == 1:
                return [pb_utils.InferenceResponse(error=_triton_error(error))]
            # One of them is wrong: which one is seen when each runs alone.
            return [response for one in inputs for response in self._responses([one])]

    def _run(self, inputs):
        """Runs requests of images [n, H, W, 3] and boxes [n, M, 4] as one."""
        lengths = [np.full(len(images), boxes.shape[1]) for images, boxes in inputs]
        outputs = self.serve(
            images=tf.constant(np.concatenate([images for images, _ in inputs])),
            boxes=tf.constant(np.concatenate([boxes.reshape(-1, 4) for _, boxes in inputs])),
            boxes_row_lengths=tf.constant(np.concatenate(lengths), tf.int64),
        )
        ends = np.cumsum([boxes.shape[0] * boxes.shape[1] for _, boxes in inputs])
        parts = {name: np.split(x.numpy(), ends[:-1]) for name, x in outputs.items()}
        for i, (_, boxes) in enumerate(inputs):
            yield {
                name: part[i].reshape(*boxes.shape[:2], *part[i].shape[1:])
                for name, part in parts.items()
            }


def _response(outputs):
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, x) for name, x in outputs.items()])


def _triton_error(error):
    is_sender_s = isinstance(error, tf.errors.InvalidArgumentError)
    code = pb_utils.TritonError.INVALID_ARG if is_sender_s else pb_utils.TritonError.INTERNAL
    return pb_utils.TritonError(error.message, code)
