// Which sample is the largest of each bin, of all boxes of a call.

#ifndef TF_ROIALIGN_CC_CORE_CPU_WINNERS_H_
#define TF_ROIALIGN_CC_CORE_CPU_WINNERS_H_

#include <cstdint>
#include <limits>
#include <new>

#include "cc/core/base/span.h"
#include "cc/core/cpu/aligned_vector.h"
#include "cc/core/cpu/simd/kernels.h"

namespace tf_roialign {

// In bytes, where no bin has more samples than a byte has numbers.
class Winners {
 public:
  // `most`: samples of one bin. `count`: bins times channels.
  void Resize(int64_t most, int64_t count) {
    // Numbers have 31 bits, which takes a bin of 30000 pixels a side.
    if (most > std::numeric_limits<int32_t>::max()) throw std::bad_alloc();
    are_bytes_ = most <= std::numeric_limits<uint8_t>::max() + 1;
    bytes_.resize(are_bytes_ ? count : 0);
    numbers_.resize(are_bytes_ ? 0 : count);
  }

  // `begin`: where a box's begin.
  template <typename T>
  void Find(const CpuKernels<T>& kernels, const BoxSamples<Accumulator<T>>& box,
            const T* image, int64_t row_stride, int64_t channels,
            int64_t begin) {
    if (are_bytes_) {
      kernels.winners8(box, image, row_stride, channels, &bytes_[begin]);
    } else {
      kernels.winners32(box, image, row_stride, channels, &numbers_[begin]);
    }
  }

  template <typename T>
  void AddGrad(const CpuKernels<T>& kernels,
               const BoxSamples<Accumulator<T>>& box, const Tile& tile,
               const T* grad_output, int64_t channels, int64_t row_stride,
               int64_t begin, Accumulator<T>* map) const {
    if (are_bytes_) {
      kernels.max_feature_grad8(box, tile, grad_output, &bytes_[begin],
                                channels, row_stride, map);
    } else {
      kernels.max_feature_grad32(box, tile, grad_output, &numbers_[begin],
                                 channels, row_stride, map);
    }
  }

 private:
  bool are_bytes_ = true;
  AlignedVector<uint8_t> bytes_;
  AlignedVector<int32_t> numbers_;
};

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CPU_WINNERS_H_
