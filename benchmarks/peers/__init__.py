"""One module per peer, each with a class `Peer`; see `peers.base`.

A module is imported in its own worker process alone, for these libraries do not share a
process well and each has its own way to be given threads.
"""

OURS = "tf_roialign"
IDENTITY = "identity"  # no RoIAlign: the price of any TensorFlow op
CROP = "crop_and_resize"
SIMD_LEVEL = "SIMD level of tf_roialign"  # a fact that it reports
TENSORFLOW = (OURS, CROP, IDENTITY)
# How TensorFlow allocates on CPU, as environment variables. What is its default depends on the
# processor: its oneDNN build keeps buffers itself where there is AVX-512 VNNI.
ALLOCATORS = {
    # The C library, the default elsewhere; ours keeps memory of its large outputs.
    "plain": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    # The same, and every output is fresh from the system.
    "fresh": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_ROIALIGN_KEPT_MEMORY_MB": "0"},
    # TensorFlow's own, which keeps all buffers.
    "bfc": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPU_ALLOCATOR_USE_BFC": "1"},
}
VARIANTS = tuple(f"{OURS}@{name}" for name in ALLOCATORS) + (f"{CROP}@plain", f"{CROP}@bfc")
OTHERS = ("torchvision", "onnxruntime", "openvino", "paddle")
ALL = TENSORFLOW + VARIANTS + OTHERS


def split(peer):
    """("crop_and_resize", its environment variables) of "crop_and_resize@bfc"."""
    module, _, allocator = peer.partition("@")
    return module, ALLOCATORS.get(allocator, {})
