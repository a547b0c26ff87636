"""No call of a graph op does harm, whatever it is given: random calls, in processes of their own.

A call succeeds, or it raises one of a few errors that name an argument; a right one succeeds and
gives what the reference gives. `TF_ROIALIGN_EXAMPLES=20000` makes more calls than the default,
`TF_ROIALIGN_SEED=7` others.
"""

import collections
import json
import os
import subprocess
import sys

import every_op
import programs
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

EXAMPLES = int(os.environ.get("TF_ROIALIGN_EXAMPLES", 600))
SEED = int(os.environ.get("TF_ROIALIGN_SEED", 0))
# Traces and compilations take their time: one of so many.
FEWER = {"eager": 1, "function": 4, "xla": 6}


def work(tmp_path, *options, program=("-m", "random_calls.worker")):
    """Starts the worker; returns what came of its calls. Fails with the call that ended it."""
    current = tmp_path / "call.json"
    process = subprocess.run(
        [sys.executable, *program, f"--current={current}", *map(str, options)],
        env=programs.environment(TF_CPP_MIN_LOG_LEVEL="2"),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        call = current.read_text() if current.exists() else "none"
        pytest.fail(
            f"exit status {process.returncode}; the last call was\n{call}\n"
            "(in tests, `python -m random_calls.worker --replay=FILE` makes that of a file again)\n"
            + process.stderr[-6000:],
            pytrace=False,
        )
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", FEWER)
def test_calls(way, tmp_path, capsys):
    examples = max(EXAMPLES // FEWER[way], 1)
    of_ops = work(tmp_path, f"--way={way}", f"--examples={examples}", f"--seed={SEED}")
    total = sum(map(collections.Counter, of_ops.values()), collections.Counter())
    with capsys.disabled():
        print(f"\n{way}, seed {SEED}: {dict(sorted(total.items()))}")
    if EXAMPLES < 600:
        return
    # The calls are worth making: many succeed, and are compared, and many do not.
    made = total.total() - total["compared"]
    assert made >= examples
    assert total["compared"] > made / 10 and total["success"] > made / 3
    assert made - total["success"] > made / 6
    assert set(of_ops) == set(every_op.NAMES)
    assert all(outcomes["success"] for outcomes in of_ops.values())


# The worker, and a fault in its first call.
FAULTY = """
import os, sys, time
from random_calls import make, worker

def fault(self):
    {fault}

make.Call.run = fault
worker.main()
"""


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ("os.abort()", "exit status -6"),
        ("os._exit(3)", "exit status 3"),
        ("time.sleep(600)", "Timeout"),
        ("raise KeyError('no error of an op')", "KeyError from "),
        ("raise ValueError('of nothing')", "(?s)ValueError from |No argument is named: of nothing"),
    ],
    ids=["crash", "exit", "hang", "another-error", "no-argument"],
)
def test_a_fault_is_shown_with_its_call(fault, shown, tmp_path):
    """What the tests above are good for."""
    program = ("-c", FAULTY.format(fault=fault))
    with pytest.raises(pytest.fail.Exception, match=shown) as failure:
        work(tmp_path, "--examples=20", "--seconds=3", program=program)
    call = json.loads(str(failure.value).splitlines()[1])
    assert call["op"] in every_op.NAMES and call["inputs"]


def test_another_result_is_shown_with_its_call(tmp_path):
    fault = "return [output + 1 for output in run(self)]"
    text = FAULTY.format(fault=fault).replace("def fault", "run = make.Call.run\ndef fault")
    with pytest.raises(pytest.fail.Exception, match="Another result than the reference's"):
        work(tmp_path, "--examples=200", program=("-c", text))
