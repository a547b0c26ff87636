"""RoIAlign on a photograph: `python examples/demo.py [--output-dir build/demo]`.

1. Pools three objects out of a feature map with `tf_roialign.roi_align`, and the same
   boxes with `tf.image.crop_and_resize`; prints by how much the two differ.
2. Draws both, with the points that each of them reads: demo.png in the output folder.
3. Fits a small classifier of boxes through the Keras layer `tf_roialign.RoIAlign`.
"""

import argparse
import pathlib
import sys

import box_classifier
import keras
import numpy as np
import sampling_plot
import skimage.data
import tensorflow as tf

import tf_roialign

SEED = 7
OUTPUT_SIZE = 14
SAMPLING_RATIO = 2
# (x1, y1, x2, y2) in pixels of the photograph, between pixels as a detector puts them.
OBJECTS = {
    "face": (151.3, 10.6, 304.7, 193.4),
    "shuttle": (345.2, 5.5, 465.9, 287.8),
    "patch": (128.6, 342.7, 212.3, 426.1),
}


def naive_crop_and_resize(features, boxes, image_size, output_size):
    """What is often used for want of RoIAlign: normalised boxes, one sample a bin."""
    height, width = image_size
    x1, y1, x2, y2 = np.split(boxes, 4, axis=1)
    normalised = np.concatenate([y1 / height, x1 / width, y2 / height, x2 / width], axis=1)
    indices = np.zeros(len(boxes), np.int32)
    return tf.image.crop_and_resize(features, normalised, indices, [output_size, output_size])


def mean_of_photograph(photograph, box, bins, points=64):
    """What is in each bin of the photograph itself: the mean over very many points."""
    x1, y1, x2, y2 = box
    steps = (np.arange(bins * points) + 0.5) / (bins * points)
    rows = (y1 + steps * (y2 - y1)).astype(int)
    columns = (x1 + steps * (x2 - x1)).astype(int)
    pixels = photograph[rows][:, columns].reshape(bins, points, bins, points, -1)
    return pixels.mean(axis=(1, 3))


def bin_by_hand(feature_map, box, row, column):
    """One bin of RoIAlign (aligned), one sample at a time, straight from the paper."""
    x1, y1, x2, y2 = np.array(box) / box_classifier.STRIDE - 0.5
    samples = []
    for i in range(SAMPLING_RATIO):
        for j in range(SAMPLING_RATIO):
            y = y1 + (row + (i + 0.5) / SAMPLING_RATIO) * (y2 - y1) / OUTPUT_SIZE
            x = x1 + (column + (j + 0.5) / SAMPLING_RATIO) * (x2 - x1) / OUTPUT_SIZE
            top, left = int(y), int(x)
            dy, dx = y - top, x - left
            samples.append(
                (1 - dy) * (1 - dx) * feature_map[top, left]
                + (1 - dy) * dx * feature_map[top, left + 1]
                + dy * (1 - dx) * feature_map[top + 1, left]
                + dy * dx * feature_map[top + 1, left + 1]
            )
    return np.mean(samples, axis=0)


def print_differences(expected, aligned, cropped):
    """By how much the operators differ, and how far each is from the photograph."""
    print("            |roi_align - crop_and_resize|    mean distance of the colours from the")
    print("            in all channels                  photograph's mean in each bin")
    print("                max        mean                 roi_align   crop_and_resize")
    for name, truth, align, crop in zip(OBJECTS, expected, aligned, cropped, strict=True):
        difference = np.abs(align - crop)
        errors = [np.abs(pooled[..., :3] - truth).mean() for pooled in (align, crop)]
        print(
            f"  {name:<8}{difference.max():9.4f}{difference.mean():12.4f}"
            f"{errors[0]:26.4f}{errors[1]:18.4f}"
        )


def check_by_hand(features, aligned):
    """Whether some bins agree with the formula evaluated in NumPy, in float64."""
    feature_map = features.numpy()[0].astype(np.float64)
    worst = max(
        np.abs(aligned[k, row, column] - bin_by_hand(feature_map, box, row, column)).max()
        for k, box in enumerate(OBJECTS.values())
        for row, column in [(0, 0), (3, 9), (13, 13)]
    )
    print(f"Nine bins of roi_align against the formula in NumPy: largest difference {worst:.1e}")
    return worst < 1e-4


def compare(photograph, output_dir):
    """Steps 1 and 2; returns whether RoIAlign is what it should be."""
    boxes = np.array(list(OBJECTS.values()), np.float32)
    features = box_classifier.make_features()(photograph[None])
    aligned = tf_roialign.roi_align(
        features,
        [boxes],  # one entry per image
        OUTPUT_SIZE,
        spatial_scale=1 / box_classifier.STRIDE,
        sampling_ratio=SAMPLING_RATIO,
        aligned=True,
    ).numpy()
    cropped = naive_crop_and_resize(features, boxes, photograph.shape[:2], OUTPUT_SIZE).numpy()

    print(f"Features {features.shape}, {len(boxes)} boxes, pooled to {aligned.shape}\n")
    expected = [mean_of_photograph(photograph, box, OUTPUT_SIZE) for box in boxes]
    print_differences(expected, aligned, cropped)
    print()
    is_right = check_by_hand(features, aligned)

    path = output_dir / "demo.png"
    sampling_plot.draw(
        path,
        photograph,
        OBJECTS,
        expected,
        # The first three channels are the photograph's colours.
        aligned[..., :3],
        cropped[..., :3],
        stride=box_classifier.STRIDE,
        sampling_ratio=SAMPLING_RATIO,
    )
    print(f"Drawn: {path}\n")
    return is_right


def fit(photograph):
    """Step 3; returns whether the loss fell."""
    model = box_classifier.make_model(len(OBJECTS))
    dataset = box_classifier.make_dataset(photograph, list(OBJECTS.values()), SEED)
    print("Which object is in a box? A head behind tf_roialign.RoIAlign learns it:")
    losses = model.fit(dataset, epochs=4, shuffle=False).history["loss"]
    print(f"Loss: {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last")
    return losses[-1] < losses[0]


def main():
    """Runs the demo; exits with 1 if a step did not do what it should."""
    parser = argparse.ArgumentParser(description="RoIAlign on a photograph.")
    parser.add_argument("--output-dir", type=pathlib.Path, default=pathlib.Path("build/demo"))
    output_dir = parser.parse_args().output_dir
    output_dir.mkdir(parents=True, exist_ok=True)

    keras.utils.set_random_seed(SEED)
    photograph = skimage.data.astronaut().astype(np.float32) / 255
    if not compare(photograph, output_dir):
        sys.exit("error: roi_align does not agree with the formula.")
    if not fit(photograph):
        sys.exit("error: The loss did not fall.")


if __name__ == "__main__":
    main()
