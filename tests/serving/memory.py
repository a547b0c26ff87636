"""What the server's processes hold, while they live."""

import collections
import dataclasses
import statistics

import psutil


@dataclasses.dataclass(frozen=True)
class Sample:
    """Of one process at one time."""

    seconds: float
    rss: float  # MiB
    files: int
    threads: int


class Watch:
    """Samples of all processes that a server has had, by name and process id."""

    def __init__(self):
        self.lives = collections.defaultdict(list)

    def look(self, server, seconds):
        for name, process in server.processes().items():
            try:
                with process.oneshot():
                    sample = Sample(
                        seconds,
                        process.memory_info().rss / 2**20,
                        process.num_fds(),
                        process.num_threads(),
                    )
            except psutil.NoSuchProcess:
                continue
            self.lives[name, process.pid].append(sample)

    def growths(self):
        """By name, of the life that went on to the end: what it held after warming up and last."""
        last = max(samples[-1].seconds for samples in self.lives.values())
        found = {}
        for (name, _), samples in self.lives.items():
            if samples[-1].seconds == last:
                found[name] = Growth.of(samples)
        return found


@dataclasses.dataclass(frozen=True)
class Growth:
    """What a process held after a quarter of its life and at its end: medians of an eighth."""

    seconds: float  # between the two
    before: Sample
    after: Sample

    @classmethod
    def of(cls, samples):
        eighth = max(len(samples) // 8, 1)
        before = _median(samples[2 * eighth : 3 * eighth] or samples[-1:])
        after = _median(samples[-eighth:])
        return cls(after.seconds - before.seconds, before, after)

    @property
    def mebibytes(self):
        return self.after.rss - self.before.rss


def _median(samples):
    columns = zip(*map(dataclasses.astuple, samples), strict=True)
    return Sample(*map(statistics.median, columns))
