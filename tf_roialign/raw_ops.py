"""The graph ops as Python functions, without conversion of their arguments.

`roi_align`, `roi_align_grad` (gradient to the features) and
`roi_align_boxes_grad` are the ops `TfRoialign>RoiAlign`,
`TfRoialign>RoiAlignGrad` and `TfRoialign>RoiAlignBoxesGrad`.
`roi_align_max_grad` is the gradient to the features with `mode` "max".
`roi_align_boxes_tangent` (`TfRoialign>RoiAlignBoxesTangent`) is the derivative of
`roi_align` along a direction of the boxes, and `roi_align_boxes_tangent_grad` its
gradient to the features. `quantized_roi_align` (`TfRoialign>QuantizedRoiAlign`) is
the forward on quantized features. `multi_scale_roi_align` and the others with
`multi_scale` are the same on lists of maps. The docstrings are those of the ops. Use
`tf_roialign.roi_align` and `tf_roialign.multiscale_roi_align` unless you build on the ops.
"""

from collections.abc import Callable as _Callable

import tensorflow as _tf

from tf_roialign.library import ops as _ops

_Op = _Callable[..., _tf.Tensor]
_OpOfMaps = _Callable[..., list[_tf.Tensor]]  # one for each map

roi_align: _Op = _ops.tf_roialign_roi_align
roi_align_grad: _Op = _ops.tf_roialign_roi_align_grad
roi_align_max_grad: _Op = _ops.tf_roialign_roi_align_max_grad
roi_align_boxes_grad: _Op = _ops.tf_roialign_roi_align_boxes_grad
roi_align_boxes_tangent: _Op = _ops.tf_roialign_roi_align_boxes_tangent
roi_align_boxes_tangent_grad: _Op = _ops.tf_roialign_roi_align_boxes_tangent_grad
quantized_roi_align: _Op = _ops.tf_roialign_quantized_roi_align
multi_scale_roi_align: _Op = _ops.tf_roialign_multi_scale_roi_align
multi_scale_roi_align_grad: _OpOfMaps = _ops.tf_roialign_multi_scale_roi_align_grad
multi_scale_roi_align_max_grad: _OpOfMaps = _ops.tf_roialign_multi_scale_roi_align_max_grad
multi_scale_roi_align_boxes_grad: _Op = _ops.tf_roialign_multi_scale_roi_align_boxes_grad
multi_scale_roi_align_boxes_tangent: _Op = _ops.tf_roialign_multi_scale_roi_align_boxes_tangent
multi_scale_roi_align_boxes_tangent_grad: _OpOfMaps = (
    _ops.tf_roialign_multi_scale_roi_align_boxes_tangent_grad
)
quantized_multi_scale_roi_align: _Op = _ops.tf_roialign_quantized_multi_scale_roi_align

__all__ = [
    "multi_scale_roi_align",
    "multi_scale_roi_align_boxes_grad",
    "multi_scale_roi_align_boxes_tangent",
    "multi_scale_roi_align_boxes_tangent_grad",
    "multi_scale_roi_align_grad",
    "multi_scale_roi_align_max_grad",
    "quantized_multi_scale_roi_align",
    "quantized_roi_align",
    "roi_align",
    "roi_align_boxes_grad",
    "roi_align_boxes_tangent",
    "roi_align_boxes_tangent_grad",
    "roi_align_grad",
    "roi_align_max_grad",
]
