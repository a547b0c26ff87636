"""All that was measured, and questions to it."""

import dataclasses

import limits
import workloads
from measure import Contender, ratio
from peers import OURS


def ours(layout="NHWC", dtype="float32", threads=2):
    return Contender(OURS, layout, dtype, threads)


@dataclasses.dataclass
class Results:
    timings: list
    absent: list  # (who, workload, op, reason)
    versions: dict
    machine: dict
    limits: limits.MachineLimits
    scaling: list  # of scaling.Series
    disturbance: dict  # see machine.Disturbance

    def __post_init__(self):
        self._by_key = {(t.contender, t.workload, t.op): t for t in self.timings}
        self.demands = {
            name: limits.demands(workloads.by_name(name))
            for name in dict.fromkeys(t.workload for t in self.timings)
        }

    @property
    def threads(self):
        """The largest number measured."""
        return max(t.contender.threads for t in self.timings)

    def get(self, contender, workload, op):
        return self._by_key.get((contender, workload, op))

    def ratio(self, slow, fast, workload, op):
        """Median of `slow`'s time over `fast`'s, round by round; None if not both ran."""
        pair = self.get(slow, workload, op), self.get(fast, workload, op)
        return ratio(*pair) if all(pair) else None

    def over_limit(self, contender, workload, op):
        """How many times the machine's limit it took."""
        timing = self.get(contender, workload, op)
        if timing is None or not self.limits.values:
            return None
        demand = self.demands[workload][op]
        item_size = {"float32": 4, "int8": 1}.get(contender.dtype, 2)
        return timing.median / max(self.limits.seconds(demand, contender.threads, item_size))

    def workloads(self, op):
        return list(dict.fromkeys(t.workload for t in self.timings if t.op == op))

    def contenders(self, op, names):
        return list(
            dict.fromkeys(t.contender for t in self.timings if t.op == op and t.workload in names)
        )

    def ops(self, names):
        return list(dict.fromkeys(t.op for t in self.timings if t.workload in names))
