"""`torchvision.ops.roi_align`."""

import functools

import torch
import torchvision

from peers import base


class Problem(base.BaseProblem):
    def __init__(self, workload):
        self.workload = workload
        self.features = functools.cache(self._features)
        self.upstream = functools.cache(self._upstream)

    def _features(self, dtype):
        return torch.from_numpy(self.workload.features("NCHW")).to(getattr(torch, dtype))

    def _upstream(self, dtype):
        return torch.from_numpy(self.workload.upstream("NCHW")).to(getattr(torch, dtype))

    def case(self, op, dtype, layout):
        workload = self.workload
        features = self.features(dtype)
        boxes = torch.from_numpy(workload.rois).to(features.dtype)  # it wants one dtype

        def forward(features):
            return torchvision.ops.roi_align(
                features,
                boxes,
                workload.output_size,
                workload.spatial_scale,
                workload.sampling_ratio,
                workload.aligned,
            )

        if op == base.FORWARD:
            return lambda: forward(features)
        upstream = self.upstream(dtype)
        differentiable = features.detach().requires_grad_()
        if op == base.GRADIENT:
            output = forward(differentiable)
            return lambda: torch.autograd.grad(output, differentiable, upstream, retain_graph=True)[
                0
            ]
        if op == base.BOTH:
            return lambda: torch.autograd.grad(forward(differentiable), differentiable, upstream)[0]
        raise base.Unsupported(op)

    def to_numpy(self, result):
        return result.detach().float().numpy()


class Peer(base.BasePeer):
    packages = ("torchvision", "torch")
    ops = (base.FORWARD, base.GRADIENT, base.BOTH)

    def __init__(self, threads):
        super().__init__(threads)
        torch.set_num_threads(threads)

    def load(self, workload):
        return Problem(workload)
