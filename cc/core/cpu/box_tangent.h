// How RoIAlign changes as its boxes move, on CPU: the derivative of its linear
// map A(boxes) along a direction in the space of boxes, applied to features,
// and its transpose, applied to upstream gradients. Forward-mode
// differentiation and the gradient of the box gradient need them.

#ifndef TF_ROIALIGN_CC_CORE_CPU_BOX_TANGENT_H_
#define TF_ROIALIGN_CC_CORE_CPU_BOX_TANGENT_H_

#include "cc/core/base/status.h"
#include "cc/core/base/visibility.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/feature_maps.h"
#include "cc/core/call/params.h"
#include "cc/core/cpu/context.h"
#include "cc/core/dtypes/dtypes.h"

namespace tf_roialign {

// `direction`: rows like those of the boxes; a column of image indices is not
// read. output and errors: as RoiAlignForward's. A box without meaning gets
// NaN.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxTangent(
    const CpuContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const B* direction,
    const FeatureMaps<const T>& features, T* output);

// grad_features: as RoiAlignFeatureGrad's, and as independent of the number of
// threads. A box without meaning adds nothing.
template <typename T, typename B>
TF_ROIALIGN_API Status RoiAlignBoxTangentGrad(
    const CpuContext& context, const Params& params, const Sizes& sizes,
    const Boxes<B>& boxes, const B* direction, const T* grad_output,
    const FeatureMaps<T>& grad_features);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_BOX_TANGENT_H_
