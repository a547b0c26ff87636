"""Builds the core's kernels with nvcc and g++ alone, and calls them by ctypes."""

import concurrent.futures
import ctypes
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
DTYPES = {"float32": ("float", 0), "float64": ("double", 1)}
DTYPES |= {"float16": ("Half", 2), "bfloat16": ("BFloat16", 3)}
CODE_DTYPES = {"int8": ("int8_t", 4), "uint8": ("uint8_t", 5), "int32": ("int32_t", 6)}
FLOAT_OPS = ("forward", "gradient", "box gradient", "box tangent", "tangent gradient")
OPS = {op: number for number, op in enumerate([*FLOAT_OPS, "codes"])}
# Their files in cc/core/cuda/launch.
SOURCES = dict.fromkeys(
    ("forward", "feature_grad", "max_feature_grad", "box_grad", "box_tangent", "box_tangent_grad"),
    DTYPES,
) | {"forward_quantized": CODE_DTYPES}
SIMD = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"],
}


class Call(ctypes.Structure):
    """Mirrors the struct of interface.cu.cc."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("op", "dtype", "boxes_are_double")),
        *((name, ctypes.c_int64) for name in ("pooled_height", "pooled_width")),
        ("spatial_scale", ctypes.c_double),
        *((name, ctypes.c_int64) for name in ("sampling_ratio", "aligned", "nchw")),
        *((name, ctypes.c_int64) for name in ("batch", "height", "width", "channels", "boxes")),
        *((name, ctypes.c_void_p) for name in ("rows", "features", "grad_output", "direction")),
        ("code_scale", ctypes.c_double),
        ("zero_point", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("result", "stream", "scratch")),
        ("scratch_bytes", ctypes.c_int64),
    ]


def find_nvcc():
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not os.path.exists(nvcc):
        raise RuntimeError("There is no nvcc on PATH, nor in /usr/local/cuda/bin.")
    return nvcc


def build(folder, architecture):
    """Builds for one architecture (90), all files side by side; returns the library's path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    common = [f"-I{ROOT}", "-std=c++17", "-O3"]
    core = ROOT / "cc" / "core"
    host = ["g++", *common, "-fPIC", "-ffp-contract=off", "-c"]
    jobs = {}
    for folder_of in ("call", "cpu", "cpu/simd"):
        for source in (core / folder_of).glob("*.cc"):
            if not source.name.endswith("_test.cc") and source.name != "one_level.cc":
                jobs[f"{source.stem}.o"] = [*host, source]
    levels = SIMD if os.uname().machine == "x86_64" else {"baseline": []}
    for level, flags in levels.items():
        # As cc/core/cpu/simd/BUILD has it: no geometry in there, multiply-adds may fuse.
        flags = ["-ffp-contract=fast", f"-DTF_ROIALIGN_LEVEL={level}", *flags]
        jobs[f"{level}.o"] = [*host, *flags, core / "cpu" / "simd" / "one_level.cc"]
    code = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
    nvcc = [find_nvcc(), *common, "-Xcompiler=-fPIC,-ffp-contract=off", code, "-lineinfo"]
    nvcc += ["-x", "cu", "-c"]
    for source, dtypes in SOURCES.items():
        for core_type, _ in dtypes.values():
            path = core / "cuda" / "launch" / f"{source}.cu.cc"
            define = f"-DTF_ROIALIGN_FEATURE_TYPE={core_type}"
            jobs[f"{source}_{core_type}.o"] = [*nvcc, define, path]
    interface = pathlib.Path(__file__).with_name("interface.cu.cc")
    jobs["interface.o"] = [*host, interface]

    def compile_one(job):
        target, command = job
        run([*command, "-o", folder / target])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, jobs.items()))
    library = folder / "roi_align.so"
    objects = [folder / target for target in jobs]
    run([find_nvcc(), "-shared", *objects, "-o", library])
    return library


def run(command):
    process = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{process.stderr[-3000:]}")


class Library:
    """The kernels. Arrays are pointers: `data_ptr()` of torch, `ctypes.data` of NumPy."""

    def __init__(self, path):
        self._run = ctypes.CDLL(str(path)).TfRoialignRun
        self._run.restype = ctypes.c_char_p

    def run(self, op, dtype, problem, *, on_gpu, **pointers):
        """`problem`: the other fields of Call, by name."""
        number = (DTYPES | CODE_DTYPES)[dtype][1]
        call = Call(op=OPS[op], dtype=number, **problem, **pointers)
        error = self._run(ctypes.byref(call), int(on_gpu)).decode()
        if error:
            raise RuntimeError(error)
