"""OpenVINO's `ROIAlign`."""

import numpy as np
import openvino
from openvino import opset15

from peers import base

_PRECISIONS = {"float32": openvino.Type.f32, "float16": openvino.Type.f16}


class Problem(base.BaseProblem):
    def __init__(self, workload, core, threads):
        self.workload = workload
        self.core = core
        self.threads = threads

    def case(self, op, dtype, layout):
        if dtype not in _PRECISIONS:
            raise base.Unsupported(f"not tried: NumPy arrays of {dtype} cannot be handed over")
        workload = self.workload
        element_type = _PRECISIONS[dtype]
        boxes = len(workload.rois)
        parameters = [
            opset15.parameter(workload.input_shape, element_type),
            opset15.parameter([boxes, 4], element_type),
            opset15.parameter([boxes], openvino.Type.i32),
        ]
        node = opset15.roi_align(
            *parameters,
            pooled_h=workload.output_size[0],
            pooled_w=workload.output_size[1],
            sampling_ratio=max(workload.sampling_ratio, 0),
            spatial_scale=workload.spatial_scale,
            mode="avg",
            # torchvision's `aligned`; "half_pixel" is something else here.
            aligned_mode="half_pixel_for_nn" if workload.aligned else "asymmetric",
        )
        compiled = self.core.compile_model(
            openvino.Model([node], parameters),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": self.threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": element_type,
            },
        )
        request = compiled.create_infer_request()
        inputs = [
            np.ascontiguousarray(workload.features("NCHW").astype(dtype)),
            np.ascontiguousarray(workload.rois[:, 1:].astype(dtype)),
            workload.images,
        ]
        # Without copies of inputs and outputs: the quickest that a user can have.
        return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[0]

    def to_numpy(self, result):
        return np.asarray(result, np.float32)


class Peer(base.BasePeer):
    packages = ("openvino",)

    def load(self, workload):
        return Problem(workload, openvino.Core(), self.threads)
