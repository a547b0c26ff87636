"""The command line."""

import argparse
import pathlib
import sys

import peers
import workloads
from peers import base


def _names(choices, convert=str):
    def parse(text):
        names = [convert(name.strip()) for name in text.split(",") if name.strip()]
        for name in names:
            if name not in choices:
                known = ", ".join(map(str, choices))
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {known}")
        return names

    return parse


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py",
        description="Times tf_roialign against its peers and against the machine's limits. "
        "Lists are separated by commas.",
    )
    add = parser.add_argument
    names = (*workloads.STORED, *workloads.SERVING)
    add("--workloads", type=_names(names), default=names, help="default: all")
    add("--peers", type=_names(peers.ALL), default=peers.ALL, help="default: all")
    add("--ops", type=_names(base.OPS), default=base.OPS, help="forward,gradient,...")
    add("--threads", type=_names(range(1, 257), int), default=[1, 2])
    add("--dtypes", type=_names(DTYPES), default=DTYPES, help="default: all")
    add("--layouts", type=_names(LAYOUTS), default=LAYOUTS, help="of tf_roialign; default: both")
    add(
        "--peer-python",
        default=sys.executable,
        metavar="PATH",
        help="the Python that has torchvision, onnxruntime, openvino, paddle (default: this one)",
    )
    add("--seconds", type=float, help="time per contender, op and workload (default 0.5)")
    add("--min-rounds", type=int, help="rounds of slow contenders, at the least (default 3)")
    add("--quick", action="store_true", help="2 threads, float32, few rounds, no scaling plot")
    add("--no-scaling", dest="scaling", action="store_false", help="no scaling plot")
    add("--output-dir", type=pathlib.Path, default=pathlib.Path("build/benchmarks"))
    add(
        "--machine-limits",
        type=pathlib.Path,
        default=pathlib.Path(__file__).parent.parent / "bazel-bin/benchmarks/machine_limits",
        help="the program //benchmarks:machine_limits (default: as built by Bazel)",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.threads = options.threads[-1:]
        options.dtypes = options.dtypes[:1]
        options.scaling = False
    if options.seconds is None:
        options.seconds = 0.25 if options.quick else 0.5
    if options.min_rounds is None:
        options.min_rounds = 1 if options.quick else 3
    if peers.OURS not in options.peers:
        parser.error(f"{peers.OURS} has to be among the peers: all is compared with it")
    return options


DTYPES = ("float32", "float16", "bfloat16", "int8")
LAYOUTS = ("NHWC", "NCHW")
