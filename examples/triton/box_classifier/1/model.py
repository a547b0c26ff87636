"""Runs a SavedModel with ragged boxes on what Triton's dynamic batcher collects.

For Triton's Python backend. The SavedModel beside this file is one that
tf_roialign.export_saved_model wrote; everything about it is read from its signature.
"""

import json
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
        parameters = json.loads(args["model_config"])["parameters"]
        self.max_pixels = int(parameters["max_pixels"]["string_value"])
        self.max_boxes = int(parameters["max_boxes"]["string_value"])

    def execute(self, requests):
        """One response per request; what is wrong with one request stays its own."""
        inputs = [
            [pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in ("images", "boxes")]
            for request in requests
        ]
        responses = [self._refusal(*each) for each in inputs]
        for run in self._runs(inputs, [i for i, each in enumerate(responses) if each is None]):
            for i, response in zip(run, self._responses([inputs[i] for i in run]), strict=True):
                responses[i] = response
        return responses

    def _refusal(self, images, boxes):
        """The response to a request that is too large to be run; None for others."""
        for count, limit, what in (
            (_pixels(images), self.max_pixels, "pixels in its images"),
            (_boxes(boxes), self.max_boxes, "boxes"),
        ):
            if count > limit:
                text = f"The request has {count} {what}, and this server takes {limit}."
                error = pb_utils.TritonError(text, pb_utils.TritonError.INVALID_ARG)
                return pb_utils.InferenceResponse(error=error)
        return None

    def _runs(self, inputs, places):
        """Lists of places of requests that run together: of images of one size, within the limits.

        A tensor holds images of one size.
        """
        open_runs = {}
        for i in places:
            images, boxes = inputs[i]
            size, pixels, count = images.shape[1:], _pixels(images), _boxes(boxes)
            run, pixels_before, boxes_before = open_runs.get(size, ([], 0, 0))
            if pixels_before + pixels > self.max_pixels or boxes_before + count > self.max_boxes:
                yield run
                run, pixels_before, boxes_before = [], 0, 0
            run.append(i)
            open_runs[size] = run, pixels_before + pixels, boxes_before + count
        for run, _, _ in open_runs.values():
            yield run

    def _responses(self, inputs):
        try:
            return [_response(outputs) for outputs in self._run(inputs)]
        except Exception as error:  # of any kind, such as memory that is not to be had
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


def _pixels(images):
    return images.shape[0] * images.shape[1] * images.shape[2]


def _boxes(boxes):
    return boxes.shape[0] * boxes.shape[1]


def _response(outputs):
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, x) for name, x in outputs.items()])


def _triton_error(error):
    is_sender_s = isinstance(error, tf.errors.InvalidArgumentError)
    code = pb_utils.TritonError.INVALID_ARG if is_sender_s else pb_utils.TritonError.INTERNAL
    return pb_utils.TritonError(getattr(error, "message", None) or str(error), code)
