"""One module per peer, each with a class `Peer`; see `peers.base`.

A module is imported in its own worker process alone, for these libraries do not share a
process well and each has its own way to be given threads.
"""

OURS = "tf_roialign"
IDENTITY = "identity"  # no RoIAlign: the price of any TensorFlow op
CROP = "crop_and_resize"
TENSORFLOW = (OURS, CROP, IDENTITY)
OTHERS = ("torchvision", "onnxruntime", "openvino", "paddle")
ALL = TENSORFLOW + OTHERS
