"""`python -m tf_roialign draw`: `tf_roialign.draw` on the command line."""

import argparse
import sys

import numpy as np
import tensorflow as tf

from tf_roialign.drawing import draw, import_picture


def add_to(commands) -> None:
    """Adds the command to those of a parser."""
    parser = commands.add_parser(
        "draw",
        help="draws what roi_align reads of an image for a box",
        description="Draws what roi_align reads of an image for a box: its bins and samples, the "
        "weight of each feature pixel in a bin, and what comes out. The features are the image "
        "itself, averaged down to the map that --spatial-scale asks for.",
    )
    add = parser.add_argument
    add("image", help="of any format that Pillow reads")
    add(
        "--box",
        nargs=4,
        type=float,
        required=True,
        metavar=("X1", "Y1", "X2", "Y2"),
        help="in pixels of the image",
    )
    add(
        "--output-size",
        nargs="+",
        type=int,
        required=True,
        metavar="BINS",
        help="pooled height and width, or one number for both",
    )
    add(
        "--spatial-scale",
        nargs="+",
        type=_number,
        default=[1.0],
        metavar="SCALE",
        help="size of the map over that of the image, such as 1/16; of y and x where they differ "
        "(default: 1)",
    )
    add(
        "--sampling-ratio",
        type=int,
        default=-1,
        metavar="N",
        help="samples per bin and axis (default: -1, adaptive)",
    )
    add("--aligned", action="store_true", help="shift coordinates by half a feature pixel")
    add("--mode", default="avg", help="avg (the default) or max")
    add(
        "--bin",
        nargs=2,
        type=int,
        metavar=("ROW", "COLUMN"),
        help="the bin to show close up (default: in the middle)",
    )
    add(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="what to write, in a format that its ending tells: png, svg, pdf, ...",
    )
    parser.set_defaults(run=_run)


def _run(options) -> None:
    """Writes the picture; exits with 2 and a sentence where it cannot."""
    try:
        _draw(options)
    except (ImportError, OSError, TypeError, ValueError, MemoryError, tf.errors.OpError) as error:
        print(f"error: {getattr(error, 'message', error)}", file=sys.stderr)
        sys.exit(2)


def _draw(options):
    import_picture()  # first: what is missing is to be said before what is wrong
    scale, size = options.spatial_scale, options.output_size
    figure = draw(
        _read(options.image),
        options.box,
        size[0] if len(size) == 1 else size,
        scale[0] if len(scale) == 1 else scale,
        options.sampling_ratio,
        options.aligned,
        bin=options.bin,
        mode=options.mode,
    )
    try:
        figure.savefig(options.output)
    except (OSError, ValueError) as error:  # of the folder, and of the format
        raise ValueError(f"`output` cannot be written: {error}") from None


def _read(path):
    """The pixels of an image."""
    from PIL import Image  # matplotlib brings it

    try:
        with Image.open(path) as image:
            # Of more than 8 bits there is grey alone, of which RGB would keep 8.
            return np.asarray(image if image.mode[0] in "IF" else image.convert("RGB"))
    except Exception as error:  # each format has errors of its own
        raise ValueError(f"`image` cannot be read: {error}") from None


def _number(text):
    """A number, or two with a stroke between."""
    numerator, stroke, denominator = text.partition("/")
    try:
        return float(numerator) / (float(denominator) if stroke else 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"invalid number: {text!r}") from None
