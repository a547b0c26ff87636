"""`paddle.vision.ops.roi_align`."""

import functools

import numpy as np
import paddle
from paddle.vision.ops import roi_align

from peers import base


class Problem(base.BaseProblem):
    def __init__(self, workload):
        self.workload = workload
        self.features = functools.cache(self._features)

    def _features(self, dtype):
        return paddle.to_tensor(self.workload.features("NCHW")).astype(dtype)

    def case(self, op, dtype, layout):
        workload = self.workload
        features = self.features(dtype)
        boxes = paddle.to_tensor(np.ascontiguousarray(workload.rois[:, 1:])).astype(dtype)
        boxes_per_image = paddle.to_tensor(workload.boxes_per_image.astype(np.int32))

        def forward(features):
            return roi_align(
                features,
                boxes,
                boxes_per_image,
                workload.output_size,
                workload.spatial_scale,
                workload.sampling_ratio,
                workload.aligned,
            )

        if op == base.FORWARD:
            return lambda: forward(features)
        upstream = paddle.to_tensor(workload.upstream("NCHW")).astype(dtype)
        differentiable = features.detach()
        differentiable.stop_gradient = False
        if op == base.GRADIENT:
            output = forward(differentiable)
            return lambda: paddle.grad(output, differentiable, upstream, retain_graph=True)[0]
        if op == base.BOTH:
            return lambda: paddle.grad(forward(differentiable), differentiable, upstream)[0]
        raise base.Unsupported(op)

    def to_numpy(self, result):
        return result.detach().astype("float32").numpy()


class Peer(base.BasePeer):
    packages = ("paddlepaddle",)
    ops = (base.FORWARD, base.GRADIENT, base.BOTH)

    def __init__(self, threads):
        super().__init__(threads)
        paddle.set_device("cpu")
        paddle.base.core.set_num_threads(threads)

    def load(self, workload):
        return Problem(workload)
