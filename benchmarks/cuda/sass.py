"""What ptxas made of the kernels: registers, and where it spills.

    python -m venv sass && sass/bin/pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
    TF_ROIALIGN_CUDA_ARCHITECTURES=90 bazelisk build --config=cuda //cc/core/cuda
    sass/bin/python benchmarks/cuda/sass.py bazel-bin/cc/core/cuda/*_float.pic.o

prints a row for each kernel of the objects. No GPU is needed. Columns:

* registers: of a thread;
* blocks: how many of --threads threads the registers of a multiprocessor (65536) have room for;
* instructions: of the whole kernel;
* spills: loads from and stores to local memory. Arrays that are indexed at run time lie there too;
* in loops: those of them that some loop repeats;
* in hot loops: those in an innermost loop that reads global memory and multiplies and adds;
* x128: loads from global memory of 16 bytes a thread, of all such loads.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys

REGISTERS = 65536  # of a multiprocessor, of every architecture so far
FUSED = {"FFMA", "DFMA", "HFMA2"}
ALLOCATION = 8  # registers are given out by so many a thread

_FUNCTION = re.compile(r"Function : (\S+)")
_INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+ +)?([A-Z][\w.]*)\s*(.*?);")
_USAGE = re.compile(r"Function (\S+):\s+REG:(\d+)")
_TARGET = re.compile(r"0x([0-9a-f]+)")


@dataclasses.dataclass
class Instruction:
    address: int
    name: str  # with its modifiers
    operands: str

    @property
    def opcode(self):
        return self.name.split(".")[0]

    @property
    def target(self):
        """Where a branch goes; None if this is none."""
        if self.opcode != "BRA":
            return None
        found = _TARGET.search(self.operands.split("`")[0])
        return int(found[1], 16) if found else None


def find_cuobjdump():
    beside = pathlib.Path(sys.prefix).glob("lib*/python*/site-packages/nvidia/*/bin/cuobjdump")
    found = next(iter(sorted(beside)), None) or shutil.which("cuobjdump")
    if found is None:
        raise SystemExit(
            "There is no cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
        )
    return str(found)


def parse(text):
    """Kernels' instructions, by mangled name."""
    kernels = collections.defaultdict(list)
    name = None
    for line in text.splitlines():
        if found := _FUNCTION.search(line):
            name = found[1]
        elif name and (found := _INSTRUCTION.match(line)):
            kernels[name].append(Instruction(int(found[1], 16), found[2], found[3]))
    return dict(kernels)


def loops(instructions):
    """[first, last] address of each loop: what a branch back closes.

    The branch to itself that ends a kernel is none.
    """
    return [
        (i.target, i.address) for i in instructions if i.target is not None and i.target < i.address
    ]


def innermost(found):
    return [a for a in found if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in found)]


def inside(instruction, ranges):
    return any(first <= instruction.address <= last for first, last in ranges)


def measure(instructions):
    all_loops = loops(instructions)
    hot = [
        loop
        for loop in innermost(all_loops)
        if (opcodes := {i.opcode for i in instructions if inside(i, [loop])}) & FUSED
        and "LDG" in opcodes
    ]
    spills = [i for i in instructions if i.opcode in ("LDL", "STL")]
    loads = [i for i in instructions if i.opcode == "LDG"]
    return {
        "instructions": len(instructions),
        "spills": len(spills),
        "in loops": sum(inside(i, all_loops) for i in spills),
        "in hot loops": sum(inside(i, hot) for i in spills),
        "x128": f"{sum('.128' in i.name for i in loads)} of {len(loads)}",
    }


def readable(names):
    """Without namespaces, RunKernel and what all have in common."""
    filt = shutil.which("c++filt")
    if filt is None:
        return {name: name for name in names}
    text = "\n".join(names)
    lines = subprocess.run([filt], input=text, capture_output=True, text=True, check=True)
    short = {}
    for name, line in zip(names, lines.stdout.splitlines(), strict=True):
        line = re.sub(r"tf_roialign::(cuda::)?|void |\(bool\)|\(int\)", "", line)
        found = re.match(r"RunKernel<(.*?) ?>\(", line)
        short[name] = re.sub(r" >", ">", found[1]) if found else line
    return short


def rows_of(path, cuobjdump, threads):
    def dump(*options):
        command = [cuobjdump, *options, path]
        # It looks for nvdisasm there, which PyPI's packages put beside it.
        places = os.path.dirname(cuobjdump) + os.pathsep + os.environ["PATH"]
        environment = {**os.environ, "PATH": places}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return done.stdout

    registers = {name: int(n) for name, n in _USAGE.findall(dump("--dump-resource-usage"))}
    kernels = parse(dump("--dump-sass"))
    names = readable(sorted(kernels))
    for name, short in names.items():
        count = registers[name]
        each = -(-count // ALLOCATION) * ALLOCATION
        yield {
            "kernel": short,
            "registers": count,
            "blocks": REGISTERS // (each * threads),
            **measure(kernels[name]),
        }


def table(rows):
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row[column]) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("objects", nargs="+", help="objects of nvcc, of one architecture each")
    parser.add_argument("--threads", type=int, default=128, help="of a block")
    options = parser.parse_args()
    cuobjdump = find_cuobjdump()
    rows = [row for path in options.objects for row in rows_of(path, cuobjdump, options.threads)]
    if not rows:
        raise SystemExit(f"No machine code in {', '.join(map(os.path.basename, options.objects))}")
    print(table(rows))


if __name__ == "__main__":
    main()
