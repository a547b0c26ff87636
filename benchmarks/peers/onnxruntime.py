"""ONNX `RoiAlign` (opset 16) in onnxruntime."""

import functools

import numpy as np
import onnx
import onnxruntime

from peers import base


def build_model(workload, element_type):
    """RoIAlign alone: inputs X, rois and batch_indices, output Y."""
    node = onnx.helper.make_node(
        "RoiAlign",
        ["X", "rois", "batch_indices"],
        ["Y"],
        mode="avg",
        output_height=workload.output_size[0],
        output_width=workload.output_size[1],
        sampling_ratio=max(workload.sampling_ratio, 0),
        spatial_scale=workload.spatial_scale,
        coordinate_transformation_mode="half_pixel" if workload.aligned else "output_half_pixel",
    )
    boxes = len(workload.rois)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "roi_align",
        [
            value("X", element_type, workload.input_shape),
            value("rois", element_type, [boxes, 4]),
            value("batch_indices", onnx.TensorProto.INT64, [boxes]),
        ],
        [value("Y", element_type, workload.output_shape)],
    )
    opsets = [onnx.helper.make_opsetid("", 16)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


class Problem(base.BaseProblem):
    def __init__(self, workload, threads):
        self.workload = workload
        self.threads = threads
        self.case = functools.cache(self.case)

    def case(self, op, dtype, layout):
        if dtype == "bfloat16":
            raise base.Unsupported("ONNX RoiAlign takes no bfloat16")
        workload = self.workload
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Idle threads that spin would slow whoever is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4
        element_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        session = onnxruntime.InferenceSession(
            build_model(workload, element_type).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )
        arrays = {
            "X": workload.features("NCHW").astype(dtype),
            "rois": workload.rois[:, 1:].astype(dtype),
            "batch_indices": workload.images.astype(np.int64),
        }
        inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            for name, array in arrays.items()
        }
        return lambda: session.run_with_ort_values(["Y"], inputs)[0]

    def to_numpy(self, result):
        return np.asarray(result.numpy(), np.float32)


class Peer(base.BasePeer):
    packages = ("onnxruntime", "onnx")

    def load(self, workload):
        return Problem(workload, self.threads)
