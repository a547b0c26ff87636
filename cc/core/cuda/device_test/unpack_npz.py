"""NumPy's archive as a file that C++ reads without a library (arrays.h).

For each array a line, "NAME DTYPE SIZE...", and its bytes.

    unpack_npz.py ARCHIVE.npz > FILE
"""

import ast
import struct
import sys
import zipfile


def read(file):
    """The dtype, shape and bytes of one .npy file."""
    magic, major = file.read(6), file.read(2)[0]
    assert magic == b"\x93NUMPY"
    length = struct.unpack("<H" if major == 1 else "<I", file.read(2 if major == 1 else 4))[0]
    header = ast.literal_eval(file.read(length).decode())
    assert not header["fortran_order"]
    return header["descr"], header["shape"], file.read()


def main():
    """Writes all arrays of the archive that the command line names."""
    output = sys.stdout.buffer
    with zipfile.ZipFile(sys.argv[1]) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                dtype, shape, data = read(file)
            words = [name.removesuffix(".npy"), dtype, *shape]
            output.write(" ".join(map(str, words)).encode() + b"\n")
            output.write(data)


main()
