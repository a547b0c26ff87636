"""What type checkers find: an error in every line that ends in `# wrong`, and in no other."""

import tensorflow as tf

import tf_roialign
from tf_roialign.types import DataFormat, KerasDataFormat, Mode


def layouts(features: tf.Tensor, boxes: tf.Tensor, layout: str) -> None:
    """The functions' names and the layers' names are not mixed up."""
    tf_roialign.roi_align(features, boxes, 7, data_format="channels_last")  # wrong
    tf_roialign.roi_align(features, boxes, 7, data_format=layout)  # wrong
    tf_roialign.multiscale_roi_align([features], boxes, 7, [1.0], data_format="nhwc")  # wrong
    tf_roialign.RoIAlign(7, data_format="NHWC")  # wrong
    tf_roialign.MultiScaleRoIAlign(["0"], 7, 2, data_format="NCHW")  # wrong
    tf_roialign.check_boxes(features, boxes, data_format="channels_last")
    tf_roialign.check_boxes(features, boxes, data_format="NCHW")
    tf_roialign.check_boxes(features, boxes, data_format="CHWN")  # wrong
    of_functions: DataFormat = "channels_first"  # wrong
    of_layers: KerasDataFormat = "NCHW"  # wrong
    print(of_functions, of_layers)


def arguments(features: tf.Tensor, boxes: tf.Tensor) -> None:
    tf_roialign.roi_align(features, boxes)  # wrong
    tf_roialign.roi_align(features, boxes, "7")  # wrong
    tf_roialign.roi_align(features, boxes, 7, 1.0, 2, True, boxes[:, 0])  # wrong
    tf_roialign.roi_align(features, boxes, 7, mode="mean")  # wrong
    tf_roialign.roi_align(features, boxes, 7, spatial_scale="1/4")  # wrong
    tf_roialign.RoIAlign(7, sampling_ratio=0.5)  # wrong
    tf_roialign.RoIAlign()  # wrong
    tf_roialign.quantized_roi_align(features, boxes, 7)  # wrong
    tf_roialign.limit_kept_memory("1 GB")  # wrong
    of_bins: Mode = "sum"  # wrong
    print(of_bins)


def calls(features: tf.Tensor, boxes: tf.Tensor) -> None:
    tf_roialign.RoIAlign(7)(features, boxes, image_indices=boxes)  # wrong
    tf_roialign.RoIAlign(7)()  # wrong
    tf_roialign.MultiScaleRoIAlign(["0"], 7, 2)([features])  # wrong


def results(features: tf.Tensor, boxes: tf.Tensor) -> None:
    print(tf_roialign.kept_memory().free)  # wrong
    for finding in tf_roialign.check_boxes(features, boxes):
        print(finding.text)  # wrong
    flat, indices, images = tf_roialign.flatten_boxes(boxes)  # wrong
    print(tf_roialign.prepare_boxes)  # wrong
    path: int = tf_roialign.library_path()  # wrong
    print(flat, indices, images, path)
