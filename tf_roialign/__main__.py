"""Prints what a bug report needs: `python -m tf_roialign`."""

import platform

import keras
import tensorflow as tf

from tf_roialign.library import (
    build_info,
    built_for,
    cuda_kernels,
    gpu_problem,
    library_path,
    simd_level,
    xla_problem,
)
from tf_roialign.memory import kept_memory
from tf_roialign.version import __version__


def main() -> None:
    """Prints one fact a line."""
    facts = {
        "tf_roialign": __version__,
        "TensorFlow": f"{tf.__version__} (built for {built_for()})",
        "Keras": keras.__version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "compiler": build_info.COMPILER,
        "SIMD level": simd_level(),
        "kept memory": f"at most {kept_memory().limit / 2**20:g} MB",
        "CUDA": cuda_kernels(),
        "GPU": "no: " + problem if (problem := gpu_problem()) else "yes",
        "XLA": "no: " + xla_problem if xla_problem else "yes",
        "library": library_path(),
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
