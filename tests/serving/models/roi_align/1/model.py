"""tf_roialign.roi_align for Triton's Python backend."""

import tensorflow as tf
import triton_python_backend_utils as pb_utils

import tf_roialign

NAMES = ("features", "boxes", "box_indices")


class TritonPythonModel:
    """The class that the backend looks for."""

    def execute(self, requests):
        """One response per request."""
        return [_respond(request) for request in requests]


def _respond(request):
    features, boxes, box_indices = (
        tf.constant(pb_utils.get_input_tensor_by_name(request, name).as_numpy()) for name in NAMES
    )
    try:
        pooled = tf_roialign.roi_align(features, boxes, 3, box_indices=box_indices)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        text = str(getattr(error, "message", error))
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(text, pb_utils.TritonError.INVALID_ARG)
        )
    return pb_utils.InferenceResponse([pb_utils.Tensor("output_0", pooled.numpy())])
