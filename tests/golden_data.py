"""torchvision's own results, from golden/torchvision.npz (see golden/README.md)."""

import dataclasses
import functools
import pathlib

import numpy as np

FILE = pathlib.Path(__file__).parent / "golden" / "torchvision.npz"


@dataclasses.dataclass
class Case:
    input: np.ndarray  # [N, C, H, W]
    rois: np.ndarray  # [K, 5]
    output: np.ndarray  # [K, C, PH, PW]
    grad_output: np.ndarray  # [K, C, PH, PW]
    grad_input: np.ndarray  # [N, C, H, W]
    box_kind: list  # K names
    output_size: tuple
    spatial_scale: float
    sampling_ratio: int
    aligned: bool
    grad_abs_max: float


@functools.cache
def archive():
    return np.load(FILE, allow_pickle=False)


def names():
    return sorted({key.split("/")[0] for key in archive().files if "/" in key})


@functools.cache
def load(name):
    file = archive()
    ph, pw, scale, ratio, aligned, grad_abs_max = file["params"][int(name)]
    return Case(
        **{
            key: file[f"{name}/{key}"]
            for key in ("input", "rois", "output", "grad_output", "grad_input")
        },
        box_kind=[kind.decode() for kind in file[f"{name}/box_kind"]],
        output_size=(int(ph), int(pw)),
        spatial_scale=float(scale),
        sampling_ratio=int(ratio),
        aligned=bool(aligned),
        grad_abs_max=float(grad_abs_max),
    )
