"""What it all ran on."""

import contextlib
import datetime
import os
import pathlib
import platform
import re
import time


def describe():
    """Name and value of everything about the machine that matters for the times."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": _cpu_model(),
        "cores": f"{os.cpu_count()} ({len(os.sched_getaffinity(0))} usable)",
        "caches": _caches(),
        "RAM": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "transparent huge pages": _selected("/sys/kernel/mm/transparent_hugepage/enabled"),
        "hypervisor": "yes" if "hypervisor" in _cpuinfo("flags").split() else "none seen",
        "system": platform.platform(),
        "Python": platform.python_version(),
    }


class Disturbance:
    """How much of the machine went to others while something was timed.

    Attributes:
      shares: By what was timed, the share of all CPU time that (other programs took, the
        hypervisor took).
    """

    def __init__(self):
        self.shares = {}

    @contextlib.contextmanager
    def during(self, what, pids):
        """`pids`: the processes that are not others, beside this one."""
        pids = [os.getpid(), *pids]
        start, before = time.monotonic(), _cpu_seconds(pids)
        yield
        passed = (time.monotonic() - start) * os.cpu_count()
        others, stolen = (max(b - a, 0) for a, b in zip(before, _cpu_seconds(pids), strict=True))
        self.shares[what] = (others / passed, stolen / passed)


def _cpu_seconds(pids):
    """CPU seconds since the start of time: (of other programs, stolen by the hypervisor)."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [
        int(n) / ticks for n in (_read("/proc/stat").partition("\n")[0].split()[1:] or [0] * 8)
    ]
    user, nice, system, _, _, irq, softirq, stolen = fields[:8]
    own = 0
    for pid in pids:
        after_name = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        own += sum(int(n) / ticks for n in after_name[11:13])
    return user + nice + system + irq + softirq - own, stolen


def _cpuinfo(key):
    text = _read("/proc/cpuinfo")
    match = re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else ""


def _cpu_model():
    model = _cpuinfo("model name") or platform.processor() or platform.machine()
    numbers = [_cpuinfo(key) for key in ("cpu family", "model", "stepping")]
    return f"{model} (family/model/stepping {'/'.join(numbers)})" if all(numbers) else model


def _caches():
    found = []
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size, shared = (
            _read(index / name).strip() for name in ("level", "type", "size", "shared_cpu_list")
        )
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        found.append(f"L{level}{suffix} {size} (CPUs {shared})")
    return ", ".join(found) or "unknown"


def _selected(path):
    match = re.search(r"\[(.+?)\]", _read(path))
    return match[1] if match else "unknown"


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
