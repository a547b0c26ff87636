"""The CUDA kernels against torchvision's, on a machine with a GPU.

    python benchmarks/cuda/run.py --output results

needs nvcc, g++, NumPy, PyTorch and torchvision with CUDA; no TensorFlow, no Bazel, no network.
It builds the core for this GPU, checks it (golden cases, compute-sanitizer, random boxes
against the CPU kernels and torchvision, run-to-run equality, and `pytest -m gpu` where there
is a TensorFlow that sees the GPU), times W1 to W4, says which of `expectations.py` held, and
prints its tables last. Each stage stands alone: what fails is reported, and the rest goes on;
what is there is written after each stage.

Where a command may take ten minutes, in two, of which the second takes the library that the
first has built and adds to its tables:

    python benchmarks/cuda/run.py --output results --build /tmp/build --part checks
    python benchmarks/cuda/run.py --output results --build /tmp/build --part timings
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "benchmarks")]

import expectations  # noqa: E402
import library as core  # noqa: E402
import workloads  # noqa: E402

DEADLINE = 520.0  # seconds; stages that would begin later are left out
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}
LOOSE = ("box gradient", "tangent gradient")  # sums of many terms of either sign
START = time.monotonic()


def elapsed():
    return time.monotonic() - START


class Report:
    """What came out, stage by stage; printed and written at the end."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.facts, self.stages, self.rows = {}, {}, []

    def take_over(self):
        """Goes on where another part has stopped."""
        path = self.folder / "cuda.json"
        if path.exists():
            former = json.loads(path.read_text())
            self.facts, self.stages = former["facts"], former["stages"]
            self.rows = former["rows"]

    def stage(self, name, function, *arguments):
        if elapsed() > DEADLINE:
            self.stages[name] = "left out: no time"
            return None
        begin = time.monotonic()
        try:
            result = function(*arguments)
            outcome = result if isinstance(result, str) else "passed"
        except Exception as error:  # whatever it is, the next stage runs
            traceback.print_exc()
            result, outcome = None, f"FAILED: {type(error).__name__}: {error}"[:600]
        self.stages[name] = f"{outcome} ({time.monotonic() - begin:.0f} s)"
        print(f"{name}: {self.stages[name]}", flush=True)
        self.write()
        return result

    def markdown(self):
        lines = [f"* {name}: {value}" for name, value in self.facts.items()]
        lines += ["", "| check | outcome |", "|---|---|"]
        lines += [f"| {name} | {' '.join(text.split())} |" for name, text in self.stages.items()]
        lines += [
            "",
            "| workload | pass | dtype | layout | ours, us | torchvision, us | ratio "
            "| GB/s | of copy |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            theirs, ratio = row["torchvision_us"], row["ratio"]
            lines.append(
                f"| {row['workload']} | {row['pass']} | {row['dtype']} | {row['layout']} "
                f"| {row['ours_us']:.1f} | {'-' if theirs is None else f'{theirs:.1f}'} "
                f"| {'-' if ratio is None else f'{ratio:.2f}'} | {row['gb_per_s']:.0f} "
                f"| {row['of_copy']:.0%} |"
            )
        if self.rows:
            lines += ["", expectations.markdown(self.rows)]
        return "\n".join(lines) + "\n"

    def write(self):
        text = {"facts": self.facts, "stages": self.stages, "rows": self.rows}
        (self.folder / "cuda.json").write_text(json.dumps(text, indent=1))
        (self.folder / "cuda.md").write_text(self.markdown())


def problem_of(shape, boxes, output_size, scale, ratio, aligned, layout, box_dtype="float32"):
    """`shape` is (N, C, H, W), whatever the layout."""
    n, c, h, w = shape
    return {
        "boxes_are_double": int(box_dtype == "float64"),
        "pooled_height": output_size[0],
        "pooled_width": output_size[1],
        "spatial_scale": scale,
        "sampling_ratio": ratio,
        "aligned": int(aligned),
        "nchw": int(layout == "NCHW"),
        "batch": n,
        "height": h,
        "width": w,
        "channels": c,
        "boxes": boxes,
        "code_scale": 0.3,
        "zero_point": 7,
    }


def direction_of(rows):
    """Along which boxes move: the same for the same number of boxes."""
    return np.random.default_rng(len(rows)).standard_normal(rows.shape).astype(rows.dtype)


def in_layout(array, layout):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" else array


def to_nchw(array, layout):
    return array.transpose(0, 3, 1, 2) if layout == "NHWC" else array


class Cpu:
    """The CPU kernels on NumPy arrays."""

    def __init__(self, lib):
        self.lib = lib

    def run(self, op, problem, rows, features, upstream, shape):
        result = np.full(shape, 77, rows.dtype if op == "box gradient" else features.dtype)
        direction = direction_of(rows)
        self.lib.run(
            op,
            features.dtype.name,
            problem,
            on_gpu=False,
            rows=rows.ctypes.data,
            features=features.ctypes.data,
            grad_output=upstream.ctypes.data,
            direction=direction.ctypes.data,
            result=result.ctypes.data,
        )
        return result


class Gpu:
    """The CUDA kernels on torch tensors."""

    def __init__(self, lib):
        import torch

        self.lib, self.torch = lib, torch
        self.scratch = torch.empty(64 << 20, dtype=torch.uint8, device="cuda")

    def upload(self, array, dtype=None):
        tensor = self.torch.from_numpy(np.array(array, order="C")).cuda()
        return tensor if dtype is None else tensor.to(getattr(self.torch, dtype))

    def run(self, op, problem, rows, features, upstream, result, direction=None):
        if direction is None and "tangent" in op:
            direction = self.upload(direction_of(rows.cpu().numpy()))
        self.lib.run(
            op,
            str(features.dtype).removeprefix("torch."),
            problem,
            on_gpu=True,
            rows=rows.data_ptr(),
            features=features.data_ptr(),
            grad_output=upstream.data_ptr(),
            direction=None if direction is None else direction.data_ptr(),
            result=result.data_ptr(),
            stream=self.torch.cuda.current_stream().cuda_stream,
            scratch=self.scratch.data_ptr(),
            scratch_bytes=self.scratch.numel(),
        )
        return result

    def numpy(self, op, problem, rows, features, upstream, shape, dtype=None):
        """On NumPy arrays; features and upstream are cast to `dtype`."""
        rows_, features_ = self.upload(rows), self.upload(features, dtype)
        upstream_ = self.upload(upstream, dtype)
        like = rows_ if op == "box gradient" else features_
        result = self.torch.full(shape, 77, dtype=like.dtype, device="cuda")
        self.run(op, problem, rows_, features_, upstream_, result)
        return result.to(self.torch.float64).cpu().numpy()


def assert_close(got, expected, tolerance, what):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        raise AssertionError(f"{what}: NaN in other places")
    if got.size == 0:
        return
    difference = np.nanmax(np.abs(got - expected), initial=0)
    scale = np.nanmax(np.abs(expected), initial=1)
    if not difference <= tolerance * scale:
        raise AssertionError(f"{what}: differs by {difference:.3g} of {scale:.3g}")


def check_golden(runner):
    """`runner(op, problem, rows, features, upstream, shape)` on NumPy arrays."""
    with np.load(ROOT / "tests" / "golden" / "torchvision.npz") as stored:
        params = stored["params"]
        for i, (ph, pw, scale, ratio, aligned, grad_abs_max) in enumerate(params):
            case = {
                name: stored[f"{i:03}/{name}"]
                for name in ("input", "rois", "output", "grad_output", "grad_input")
            }
            dtype = case["input"].dtype.name
            for layout in ("NHWC", "NCHW"):
                problem = problem_of(
                    case["input"].shape,
                    len(case["rois"]),
                    (int(ph), int(pw)),
                    scale,
                    int(ratio),
                    aligned,
                    layout,
                    dtype,
                )
                features = in_layout(case["input"], layout)
                upstream = in_layout(case["grad_output"], layout)
                rows = np.ascontiguousarray(case["rois"])
                what = f"golden case {i} {layout}"
                output = runner("forward", problem, rows, features, upstream, upstream.shape)
                output = to_nchw(output, layout)
                assert_close(output, case["output"], TOLERANCE[dtype], what)
                grad = runner("gradient", problem, rows, features, upstream, features.shape)
                expected = case["grad_input"] / max(grad_abs_max, 1)
                got = to_nchw(grad, layout) / max(grad_abs_max, 1)
                assert_close(got, expected, TOLERANCE[dtype], what + " gradient")
    return f"{len(params)} cases, both layouts"


def random_case(rng, wild):
    """(shape, rows, output_size, scale, ratio, aligned); `wild` boxes may be anything."""
    channels = int(rng.choice([1, 3, 5, 8, 64, 130, 256]))
    shape = (int(rng.integers(1, 4)), channels, *(int(n) for n in rng.integers(1, 40, 2)))
    count = int(rng.integers(1, 60))
    low = rng.uniform(-20, 80, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 90, (count, 2))], axis=1)
    if wild:
        values = [np.nan, np.inf, -np.inf, 1e9, -1e9, 1e30, -3e38, 0.0, -0.5]
        mask = rng.random(boxes.shape) < 0.1
        boxes[mask] = rng.choice(values, mask.sum())
        swapped = rng.random(count) < 0.2
        boxes[swapped] = boxes[swapped][:, [2, 3, 0, 1]]
    rows = np.column_stack([rng.integers(0, shape[0], count), boxes])
    size = tuple(int(n) for n in rng.integers(1, 15, 2))
    return shape, rows, size, 0.5, int(rng.choice([-1, 0, 1, 2, 3, 7])), bool(rng.integers(2))


def random_arrays(rng, shape, count, size):
    features = rng.standard_normal(shape).astype(np.float32)
    return features, rng.standard_normal((count, shape[1], *size)).astype(np.float32)


def check_against_cpu(gpu, cpu, rounds=60):
    rng = np.random.default_rng(1)
    for i in range(rounds):
        shape, rows, size, scale, ratio, aligned = random_case(rng, wild=True)
        features, upstream = random_arrays(rng, shape, len(rows), size)
        dtype = ("float32", "float64", "float16", "bfloat16")[i % 4]
        rows = rows.astype(np.float64 if i % 3 == 0 else np.float32)
        # What the CPU is given is rounded as the GPU's is.
        tensor = getattr(gpu.torch, dtype)
        wide = np.float64 if dtype == "float64" else np.float32
        features, upstream = (
            gpu.torch.from_numpy(a).to(tensor).to(gpu.torch.float64).numpy().astype(wide)
            for a in (features, upstream)
        )
        for layout in ("NHWC", "NCHW"):
            problem = problem_of(
                shape, len(rows), size, scale, ratio, aligned, layout, rows.dtype.name
            )
            f, g = in_layout(features, layout), in_layout(upstream, layout)
            for op, result in (
                ("forward", g.shape),
                ("gradient", f.shape),
                ("box gradient", rows.shape),
                ("box tangent", g.shape),
                ("tangent gradient", f.shape),
            ):
                expected = cpu.run(op, problem, rows, f, g, result)
                got = gpu.numpy(op, problem, rows, f, g, result, dtype)
                finite = np.isfinite(rows[:, 1:]).all(axis=1) & (np.abs(rows).max(axis=1) < 1e6)
                if op in ("box gradient", "box tangent"):  # of giant boxes it is all rounding
                    expected, got = expected[finite], got[finite]
                tolerance = max(TOLERANCE[dtype], 1e-4 if op in LOOSE else 0)
                what = f"round {i} {layout} {dtype} {op}"
                assert_close(got, expected, tolerance, what)
    return f"{rounds} random calls, both layouts, all ops"


def check_codes(gpu, cpu, rounds=12):
    """Within rounding of a half either code is right; such values are few."""
    rng = np.random.default_rng(3)
    for i in range(rounds):
        shape, rows, size, scale, ratio, aligned = random_case(rng, wild=True)
        rows = rows.astype(np.float64 if i % 2 == 0 else np.float32)
        dtype = tuple(core.CODE_DTYPES)[i % 3]
        low, high = (-100, 100) if dtype == "int32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        codes = rng.integers(low, high, shape).astype(dtype)
        for layout in ("NHWC", "NCHW"):
            problem = problem_of(
                shape, len(rows), size, scale, ratio, aligned, layout, rows.dtype.name
            )
            f = in_layout(codes, layout)
            result = in_layout(np.empty((len(rows), shape[1], *size)), layout).shape
            upstream = np.zeros(1, dtype)  # which is not read
            expected = cpu.run("codes", problem, rows, f, upstream, result)
            got = gpu.numpy("codes", problem, rows, f, upstream, result)
            difference = np.abs(got - expected)
            if difference.max() > 1 or np.mean(difference > 0) > 0.01:
                raise AssertionError(f"round {i} {layout} {dtype}: {np.mean(difference > 0):.2%}")
    return f"{rounds} random calls, both layouts"


def check_bad_images(gpu):
    rows = np.array([[0, 1, 1, 5, 5], [2, 1, 1, 5, 5], [-1, 1, 1, 5, 5], [np.nan, 1, 1, 5, 5]])
    rows = rows.astype(np.float32)
    problem = problem_of((2, 4, 9, 9), 4, (2, 2), 1.0, 2, True, "NHWC")
    features, upstream = np.ones((2, 9, 9, 4), np.float32), np.ones((4, 2, 2, 4), np.float32)
    output = gpu.numpy("forward", problem, rows, features, upstream, upstream.shape)
    assert np.isfinite(output[0]).all() and np.isnan(output[1:]).all()
    grad = gpu.numpy("gradient", problem, rows, features, upstream, features.shape)
    assert np.isfinite(grad).all() and abs(grad.sum() - 16) < 1e-4
    box_grad = gpu.numpy("box gradient", problem, rows, features, upstream, rows.shape)
    assert np.isfinite(box_grad[0]).all() and np.isnan(box_grad[1:, 1:]).all()


def check_against_torchvision(gpu, rounds=30):
    torch, ops = gpu.torch, torchvision_ops()
    rng = np.random.default_rng(2)
    for i in range(rounds):
        shape, rows, size, scale, ratio, aligned = random_case(rng, wild=False)
        rows = rows.astype(np.float32)
        features, upstream = random_arrays(rng, shape, len(rows), size)
        f, g, r = (gpu.upload(a) for a in (features, upstream, rows))
        expected = ops.roi_align(f, r, scale, *size, ratio, aligned)
        expected_grad = ops._roi_align_backward(g, r, scale, *size, *shape, ratio, aligned)
        for layout in ("NHWC", "NCHW"):
            problem = problem_of(shape, len(rows), size, scale, ratio, aligned, layout)
            fl, gl = in_layout(features, layout), in_layout(upstream, layout)
            what = f"round {i} {layout}"
            output = gpu.numpy("forward", problem, rows, fl, gl, gl.shape)
            grad = gpu.numpy("gradient", problem, rows, fl, gl, fl.shape)
            output, grad = to_nchw(output, layout), to_nchw(grad, layout)
            # Samples on the rim are decided by rounding in torchvision's fused kernel: a few
            # bins may differ.
            close(output, expected.cpu().numpy(), what)
            close(grad, expected_grad.cpu().numpy(), what + " gradient")
    torch.cuda.synchronize()
    return f"{rounds} random calls, both layouts"


def close(got, expected, what):
    difference = np.abs(got - expected) > 1e-4 * max(1, np.abs(expected).max(initial=0))
    if difference.mean() > 1e-3:
        raise AssertionError(f"{what}: {difference.mean():.2%} of the elements differ")


def check_repeats(gpu, repeats=20):
    for layout in ("NHWC", "NCHW"):
        for dtype in ("float32", "bfloat16"):
            case = Timed(gpu, "W1", dtype, layout, copies=1)
            for op in core.FLOAT_OPS:
                first = case.run(op, 0).clone()
                for _ in range(repeats):
                    again = case.run(op, 0)
                    if not gpu.torch.equal(
                        first.view(gpu.torch.uint8), again.view(gpu.torch.uint8)
                    ):
                        raise AssertionError(f"{op} {dtype} {layout} differs from run to run")
    return f"{repeats} repeats, same bits"


def check_in_graph(gpu):
    """Capture fails if anything synchronises or allocates."""
    torch = gpu.torch
    case = Timed(gpu, "W2", "float32", "NHWC", copies=1)
    for op in core.FLOAT_OPS:
        expected = case.run(op, 0).clone()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            case.run(op, 0)
        case.results[op][0].zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(expected, case.results[op][0]), op


def sanitize(tool, library, folder):
    program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not pathlib.Path(program).exists():
        return "left out: there is no compute-sanitizer"
    limit = min(120, DEADLINE + 20 - elapsed())
    if limit < 20:
        return "left out: too little time is left"
    command = [program, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"]
    command += [sys.executable, __file__, "--sweep", str(library), "--output", str(folder)]
    # Tensors of their own, so that what leaves one is seen.
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the program that it watches
        process.communicate()
        return f"stopped after {limit:.0f} s without an answer"
    if process.returncode != 0:
        raise AssertionError(text[-1500:])
    return "no errors"


def sweep(library):
    """What runs under compute-sanitizer."""
    lib = core.Library(library)
    gpu = Gpu(lib)
    check_against_cpu(gpu, Cpu(lib), rounds=12)
    check_codes(gpu, Cpu(lib), rounds=3)
    check_bad_images(gpu)
    gpu.torch.cuda.synchronize()


def torchvision_ops():
    import torch
    import torchvision  # noqa: F401  (registers its operators)

    return torch.ops.torchvision


def pixels_under_boxes(workload):
    """How many pixels of the map lie in a box: what has to be read once."""
    n, _, h, w = workload.input_shape
    covered = np.zeros((n, h, w), bool)
    offset = 0.5 if workload.aligned else 0.0
    for image, *box in workload.rois:
        x1, y1, x2, y2 = (np.array(box) * workload.spatial_scale - offset).tolist()
        rows = slice(max(int(np.floor(y1)), 0), int(np.ceil(y2)) + 1)
        covered[int(image), rows, max(int(np.floor(x1)), 0) : int(np.ceil(x2)) + 1] = True
    return int(covered.sum())


class Timed:
    """A workload in `copies` sets of buffers that are used in turn."""

    def __init__(self, gpu, name, dtype, layout, copies):
        self.gpu, self.layout = gpu, layout
        self.workload = workload = workloads.by_name(name)
        torch = gpu.torch
        self.dtype = getattr(torch, dtype)
        self.rows = gpu.upload(workload.rois)
        features = gpu.upload(workload.features(layout), dtype)
        upstream = gpu.upload(workload.upstream(layout), dtype)
        self.features = [features.clone() for _ in range(copies)]
        self.upstream = [upstream.clone() for _ in range(copies)]
        self.results = {
            "forward": [torch.empty_like(upstream) for _ in range(copies)],
            "gradient": [torch.empty_like(features) for _ in range(copies)],
            "box gradient": [torch.empty_like(self.rows) for _ in range(copies)],
            "box tangent": [torch.empty_like(upstream) for _ in range(copies)],
            "tangent gradient": [torch.empty_like(features) for _ in range(copies)],
        }
        self.direction = gpu.upload(direction_of(workload.rois))
        self.problem = problem_of(
            workload.input_shape,
            len(workload.rois),
            tuple(workload.output_size),
            workload.spatial_scale,
            workload.sampling_ratio,
            workload.aligned,
            layout,
        )

    def run(self, op, i):
        i %= len(self.features)
        return self.gpu.run(
            op,
            self.problem,
            self.rows,
            self.features[i],
            self.upstream[i],
            self.results[op][i],
            self.direction,
        )

    def bytes(self, op):
        """That have to move: pixels in boxes and outputs once, or a whole gradient."""
        size = self.features[0].element_size()
        pixels = pixels_under_boxes(self.workload) * self.workload.input_shape[1] * size
        upstream = self.upstream[0].numel() * size
        return {
            "forward": pixels + upstream,
            "gradient": upstream + self.features[0].numel() * size,
            "box gradient": pixels + upstream,
            "box tangent": pixels + upstream,
            "tangent gradient": upstream + self.features[0].numel() * size,
        }[op]


def median_us(torch, run, seconds=0.15):
    for i in range(3):
        run(i)
    torch.cuda.synchronize()
    begin = time.monotonic()
    run(0)
    torch.cuda.synchronize()
    count = int(np.clip(seconds / max(time.monotonic() - begin, 1e-6), 5, 100))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    # About 10 ms for the host to run ahead: a kernel may be shorter than its launch.
    torch.cuda._sleep(20_000_000)
    events[0].record()
    for i in range(count):
        run(i)
        events[i + 1].record()
    torch.cuda.synchronize()
    pairs = zip(events, events[1:], strict=False)
    return statistics.median(a.elapsed_time(b) for a, b in pairs) * 1e3


def measure_copy(torch):
    source = torch.empty(1 << 28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    us = median_us(torch, lambda i: target.copy_(source))
    return 2 * source.numel() * 4 / us * 1e-3  # GB/s


def time_workload(gpu, report, copy, name, dtype, layout):
    torch, ops = gpu.torch, torchvision_ops()
    case = Timed(gpu, name, dtype, layout, copies=3)  # W3 is the smallest: 3 x 14 MB and outputs
    problem = case.problem
    size = (problem["pooled_height"], problem["pooled_width"])
    shape = case.workload.input_shape
    rest = (problem["sampling_ratio"], bool(problem["aligned"]))
    theirs = {}
    if dtype != "bfloat16":  # torchvision has none on CUDA
        rows = case.rows.to(case.dtype)
        features = [gpu.upload(case.workload.features("NCHW"), dtype) for _ in range(3)]
        upstream = [gpu.upload(case.workload.upstream("NCHW"), dtype) for _ in range(3)]
        scale = problem["spatial_scale"]

        def forward(i):
            return ops.roi_align(features[i % 3], rows, scale, *size, *rest)

        def gradient(i):
            return ops._roi_align_backward(upstream[i % 3], rows, scale, *size, *shape, *rest)

        theirs = {"forward": forward, "gradient": gradient}
    for op in core.FLOAT_OPS:
        ours = median_us(torch, lambda i, op=op: case.run(op, i))
        other = median_us(torch, theirs[op]) if op in theirs else None
        speed = case.bytes(op) / ours * 1e-3
        report.rows.append(
            {
                "workload": name,
                "pass": op,
                "dtype": dtype,
                "layout": layout,
                "ours_us": ours,
                "torchvision_us": other,
                "ratio": None if other is None else other / ours,
                "gb_per_s": speed,
                "of_copy": speed / copy,
            }
        )


def describe(report):
    import torch
    import torchvision

    properties = torch.cuda.get_device_properties(0)
    nvcc = subprocess.run([core.find_nvcc(), "--version"], capture_output=True, text=True)
    report.facts |= {
        "device": f"{properties.name}, {properties.multi_processor_count} multiprocessors",
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda})",
        "torchvision": torchvision.__version__,
        "nvcc": nvcc.stdout.strip().splitlines()[-1],
    }
    driver = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which("nvidia-smi"):
        driver = subprocess.run(driver, capture_output=True, text=True)
        report.facts["driver"] = driver.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True, help="folder for cuda.md and cuda.json")
    parser.add_argument("--sweep", metavar="LIBRARY", help="only compute-sanitizer's short sweep")
    parser.add_argument(
        "--without-gpu",
        action="store_true",
        help="only build, and check the golden cases on CPU: to try this script",
    )
    parser.add_argument("--part", choices=("all", "checks", "timings"), default="all")
    parser.add_argument("--build", metavar="FOLDER", help="where the library is built, and kept")
    options = parser.parse_args()
    if options.sweep:
        sweep(options.sweep)
        return 0

    report = Report(options.output)
    if options.part == "timings":
        report.take_over()
    folder = options.build or tempfile.mkdtemp(prefix="roi_align_cuda_")
    if options.without_gpu:
        path = report.stage("build", core.build, folder, 90)
        lib = core.Library(path)
        report.stage("golden cases on CPU", check_golden, Cpu(lib).run)
    else:
        report.stage("device", describe, report)
        run_on_gpu(report, folder, options.part)
    report.write()
    if options.build is None:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + report.markdown(), flush=True)
    return int(any("FAILED" in text for text in report.stages.values()))


def load(path):
    lib = core.Library(path)
    return Gpu(lib), Cpu(lib)


def check_operator():
    """The operator in TensorFlow."""
    program = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if seen.returncode != 0 or seen.stdout.strip() in ("", "0"):
        return "left out: no TensorFlow here that sees a GPU"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=max(1, DEADLINE - elapsed())
    )
    if done.returncode != 0:
        raise AssertionError(done.stdout[-1500:])
    return done.stdout.strip().splitlines()[-1]


def built_before(folder):
    path = pathlib.Path(folder) / "roi_align.so"
    return path if path.exists() else None


def run_on_gpu(report, folder, part):
    import torch

    major, minor = torch.cuda.get_device_capability()
    path = built_before(folder) if part == "timings" else None
    path = path or report.stage("build", core.build, folder, major * 10 + minor)
    if path is None:
        return
    loaded = report.stage("load", load, path)
    if loaded is None:
        return
    gpu, cpu = loaded
    if part != "timings":
        run_checks(report, path, gpu, cpu)
    if part != "checks":
        run_timings(report, gpu)


def run_checks(report, path, gpu, cpu):
    report.stage("golden cases", check_golden, gpu.numpy)
    for tool in ("memcheck", "racecheck", "synccheck"):
        report.stage(f"compute-sanitizer {tool}", sanitize, tool, path, report.folder)
    report.stage("random boxes against the CPU kernels", check_against_cpu, gpu, cpu)
    report.stage("codes against the CPU kernels", check_codes, gpu, cpu)
    report.stage("image indices out of range", check_bad_images, gpu)
    report.stage("random boxes against torchvision", check_against_torchvision, gpu)
    report.stage("run to run", check_repeats, gpu)
    report.stage("CUDA graph", check_in_graph, gpu)
    report.stage("pytest -m gpu", check_operator)


def run_timings(report, gpu):
    copy = report.stage("copy bandwidth", measure_copy, gpu.torch)
    if copy is None:
        return
    report.facts["copy bandwidth"] = f"{copy:.0f} GB/s"
    for dtype in ("float32", "float16", "bfloat16"):
        for layout in ("NHWC", "NCHW"):
            for name in workloads.STORED:
                report.stage(
                    f"timing {name} {dtype} {layout}",
                    *(time_workload, gpu, report, copy, name, dtype, layout),
                )


if __name__ == "__main__":
    sys.exit(main())
