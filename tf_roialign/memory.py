"""The memory of large outputs on CPU, which is kept from call to call."""

import ctypes
import operator
from typing import NamedTuple

from tf_roialign.library import library_path


class KeptMemory(NamedTuple):
    """Bytes of the memory behind large outputs on CPU, of this process."""

    in_use: int
    """Behind tensors that are alive."""
    waiting: int
    """Of tensors that are gone, kept for the next ones."""
    limit: int
    """The most that may wait."""


def kept_memory() -> KeptMemory:
    """Returns how much memory the outputs of RoIAlign hold on CPU, and keep for later ones.

    A large tensor that is freed goes back to the system, and the next one costs a page fault
    for every page: up to half of a call's time. So outputs of 256 KB and more take the memory
    of former ones, where TensorFlow allocates with the C library. That is its default on
    processors without AVX-512 VNNI; its allocators of oneDNN and of TF_CPU_ALLOCATOR_USE_BFC=1
    keep memory themselves, and then nothing is counted here.

    Memory that waits is given up after one second to a system that runs short, and after ten
    to any. The limit is a sixteenth of the memory of the machine or the container and at most
    1 GiB, unless the environment variable `TF_ROIALIGN_KEPT_MEMORY_MB` or
    `tf_roialign.limit_kept_memory` says otherwise. A forked process begins with nothing that waits.
    """
    usage = (ctypes.c_int64 * 3)()
    ctypes.CDLL(library_path()).TfRoialignKeptMemory(usage)
    return KeptMemory(*usage)


def limit_kept_memory(limit: int) -> None:
    """Sets how much memory may be kept for later outputs on CPU: see `tf_roialign.kept_memory`.

    What is beyond it is returned to the system at once.

    Args:
        limit: in bytes, at least 0. With 0, nothing is kept.

    Raises:
        TypeError: `limit` is not an integer.
        ValueError: `limit` is negative.
    """
    try:
        number = operator.index(limit)
    except TypeError:
        raise TypeError(f"`limit` must be an integer, got {limit!r}") from None
    if number < 0:
        raise ValueError(f"`limit` must be at least 0, got {number}")
    ctypes.CDLL(library_path()).TfRoialignLimitKeptMemory(ctypes.c_int64(min(number, 2**62)))
