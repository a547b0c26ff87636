"""The fuzzer's inputs between the text files of cc/core/fuzz and a folder, as libFuzzer wants them.

    tools/fuzz_corpus.py unpack cc/core/fuzz/corpus.txt FOLDER
    tools/fuzz_corpus.py pack FOLDER cc/core/fuzz/corpus.txt

A line is an input in hexadecimal; one that begins with # is a comment.
"""

import hashlib
import pathlib
import sys


def unpack(text, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for line in text.read_text().splitlines():
        if not line.startswith("#"):
            content = bytes.fromhex(line)
            (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def pack(folder, text):
    inputs = sorted((file.read_bytes() for file in folder.iterdir()), key=lambda i: (len(i), i))
    text.write_text("".join(f"{content.hex()}\n" for content in inputs))


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("pack", "unpack"):
        sys.exit(__doc__)
    {"pack": pack, "unpack": unpack}[sys.argv[1]](*map(pathlib.Path, sys.argv[2:]))


if __name__ == "__main__":
    main()
