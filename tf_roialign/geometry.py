"""The bins and samples of a box as the core has them, for pictures.

Nothing is computed here: the library answers (cc/kernels/geometry_info.cc) with what the kernels
compute with. All is in feature pixels, where pixel i is at the coordinate i.
"""

import ctypes

import numpy as np

from tf_roialign.library import library_path


class _Request(ctypes.Structure):
    """AxisRequest of cc/kernels/geometry_info.cc."""

    _fields_ = (
        ("c1", ctypes.c_double),
        ("c2", ctypes.c_double),
        ("spatial_scale", ctypes.c_double),
        ("pooled", ctypes.c_int64),
        ("sampling_ratio", ctypes.c_int64),
        ("aligned", ctypes.c_bool),
        ("boxes_are_double", ctypes.c_bool),
    )


class BoxAxis:
    """One axis of a box.

    Attributes:
      edges: `[bins + 1]`, where the bins begin and where the last one ends: descending for a
        reversed box, NaN for one that has no meaning.
      grid: Samples per bin, of which there may be none.
    """

    def __init__(self, c1, c2, spatial_scale, bins, sampling_ratio, aligned, boxes_are_double):
        self._request = _Request(
            c1, c2, spatial_scale, bins, sampling_ratio, aligned, boxes_are_double
        )
        self._library = ctypes.CDLL(library_path())
        self.edges = np.empty(bins + 1)
        count = self._library.TfRoialignAxisBins
        count.restype = ctypes.c_int64
        self.grid = max(count(ctypes.byref(self._request), _pointer(self.edges)), 0)

    def samples(self, bin, length):
        """The samples of a bin on a map of `length` pixels: two arrays `[grid]`.

        Their coordinates, and the places between pixels that they read: not the same where a
        sample is clamped to the map, and NaN where it is outside and counts as zero.
        """
        coordinates, places = np.empty(self.grid), np.empty(self.grid)
        self._library.TfRoialignAxisSamples(
            ctypes.byref(self._request),
            ctypes.c_int64(length),
            ctypes.c_int64(bin),
            _pointer(coordinates),
            _pointer(places),
        )
        return coordinates, places


def _pointer(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def box_axes(box, scale, output_size, sampling_ratio, aligned):
    """The y axis and the x axis of a box.

    Args:
      box: `[4]`, x1, y1, x2, y2, an array of float32 or float64 as the op reads it.
      scale: (y, x), as the op reads it.
      output_size: Pooled height and width.
      sampling_ratio: As the op's.
      aligned: As the op's.
    """
    x1, y1, x2, y2 = map(float, box)
    common = (sampling_ratio, aligned, box.dtype == np.float64)
    return (
        BoxAxis(y1, y2, scale[0], output_size[0], *common),
        BoxAxis(x1, x2, scale[1], output_size[1], *common),
    )
