"""torchvision's side of `pyramid.py`, in a process of its own: TensorFlow and PyTorch in one crash.

    python benchmarks/pyramid_torchvision.py P7 2

reads "forward" and "gradient", a line each, does that once and writes the seconds it took.
"""

import sys
import time

import numpy as np
import torch
import torchvision
from workloads import pyramid


def make_runs(workload):
    names = [str(i) for i in range(len(workload.scales))]
    pool = torchvision.ops.MultiScaleRoIAlign(names, workload.output_size, workload.sampling_ratio)
    leaves = {
        name: torch.from_numpy(np.ascontiguousarray(each.transpose(0, 3, 1, 2))).requires_grad_()
        for name, each in zip(names, workload.features(), strict=True)
    }
    boxes = [torch.from_numpy(workload.boxes[workload.images == i]) for i in range(pyramid.IMAGES)]
    sizes = [pyramid.IMAGE_SIZE] * pyramid.IMAGES
    upstream = torch.from_numpy(np.ascontiguousarray(workload.upstream().transpose(0, 3, 1, 2)))

    def forward():
        with torch.no_grad():
            pool(leaves, boxes, sizes)

    output = pool(leaves, boxes, sizes)

    def gradient():
        torch.autograd.grad(output, list(leaves.values()), upstream, retain_graph=True)

    return {"forward": forward, "gradient": gradient}


def main():
    name, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    runs = make_runs(pyramid.by_name(name))
    print(f"torchvision {torchvision.__version__}", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        runs[line.strip()]()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
