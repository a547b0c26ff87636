"""Looks at a library's file before the system loads it.

Of half a file the system's loader maps what is not there, and the first access ends the process. Of
a file for another processor it says that there is none.
"""

import os
import platform
import struct

_MAGIC = b"\x7fELF"
_CLASS_64, _LITTLE_ENDIAN = 2, 1
# The processors for which there are libraries, by ELF's numbers.
_MACHINES = {62: "x86_64", 183: "aarch64"}
# What is read of ELF's header: magic, class, order of bytes, machine, where the tables of segments
# and of sections are, and the size and the number of their entries.
_HEADER = struct.Struct("<4sBB10x2xH4x8xQQ4x2xHHHH2x")
# And of a segment's entry: where it is in the file, and its size there.
_SEGMENT = struct.Struct("<8xQ8x8xQ8x8x")


def problem_of(path) -> str | None:
    """Why the library at `path` cannot be loaded, if its file says it; None if not."""
    try:
        with open(path, "rb") as file:
            return _problem_of(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        return "the file is not there"
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"


def _problem_of(file, size):
    own = platform.machine()
    if own not in _MACHINES.values():
        return None  # what its header has to be is not known here
    start = file.read(_HEADER.size)
    if not start.startswith(_MAGIC[: len(start)]):
        return "the file is no shared library"
    if len(start) < _HEADER.size:
        return f"the file is cut off after {size} bytes"
    _, kind, order, machine, segments_at, sections_at, *tables = _HEADER.unpack(start)
    name = _MACHINES.get(machine, f"another processor (ELF's number {machine})")
    if (name, kind, order) != (own, _CLASS_64, _LITTLE_ENDIAN):
        return f"it is for {name}, and this machine is {own}"
    segment_size, segments, section_size, sections = tables
    ends = [sections_at + section_size * sections, segments_at + segment_size * segments]
    if ends[-1] <= size and segment_size == _SEGMENT.size:
        file.seek(segments_at)
        ends += [sum(_SEGMENT.unpack(file.read(_SEGMENT.size))) for _ in range(segments)]
    if max(ends) > size:
        return f"the file is cut off: it has {size} bytes of {max(ends)}"
    return None
