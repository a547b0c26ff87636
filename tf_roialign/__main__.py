"""The command line: `python -m tf_roialign` prints what a bug report needs, or runs a command."""

import argparse
import platform
from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_roialign import draw_command
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name, by default those of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m tf_roialign",
        description="Without a command: prints what a bug report needs.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    draw_command.add_to(commands)
    parser.set_defaults(run=report)
    options = parser.parse_args(arguments)
    options.run(options)


def report(options: argparse.Namespace | None = None) -> None:
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
