// Samples of several bins of one axis in shared memory, for mode "max".

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_SAMPLE_LIST_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_SAMPLE_LIST_H_

#include <cstdint>

#include "cc/core/cuda/platform/portable.h"
#include "cc/core/geometry/axis_sample.h"
#include "cc/core/geometry/max_samples.h"
#include "cc/core/geometry/taps.h"

namespace tf_roialign {
namespace cuda {

// How many samples a bin of an axis can have to look at; host only. Of each run
// between two pixels two, of each side that is outside one, and one where
// coordinates are clamped to the map.
inline int64_t MaxSamplesBound(int64_t sampling_ratio, int64_t length) {
  const int64_t by_pixel = 2 * length + 4;
  return sampling_ratio > 0 ? Min(sampling_ratio, by_pixel) : by_pixel;
}

// At most `capacity` samples of bin `p` from *place on, which moves. Returns
// how many there were, or -1 - that where they were the last.
template <typename W, typename B>
TF_ROIALIGN_DEVICE_CALL int TakeSamples(AxisOnMap<B, int> box, int64_t p,
                                        int capacity, MaxSamplesPlace* place,
                                        AxisSample<W, int>* samples) {
  MaxSamples<B, int> of_bin(box, p, *place);
  MaxSample<B> sample;
  int count = 0;
  while (count < capacity && of_bin.Next(&sample)) {
    samples[count] = WeighSample<W>(box, p, sample);
    ++count;
  }
  *place = of_bin.place();
  return of_bin.done() ? -1 - count : count;
}

// The next `capacity` samples of each bin, one bin by one thread.
template <typename W>
class SampleList {
 public:
  static int SharedBytes(int bins, int capacity) {
    return SharedPieces::Bytes<MaxSamplesPlace>(bins) +
           SharedPieces::Bytes<int>(bins) +
           SharedPieces::Bytes<AxisSample<W, int>>(bins * capacity);
  }

  TF_ROIALIGN_DEVICE SampleList(SharedPieces* shared, int bins, int capacity)
      : places_(shared->Take<MaxSamplesPlace>(bins)),
        counts_(shared->Take<int>(bins)),
        samples_(shared->Take<AxisSample<W, int>>(bins * capacity)),
        capacity_(capacity) {}

  // List `i` begins with the first sample again.
  TF_ROIALIGN_DEVICE void Restart(int i) { places_[i] = {}; }

  // The next samples of bin `p` into list `i`. Returns whether there are more.
  template <typename B>
  TF_ROIALIGN_DEVICE bool Fill(const AxisOnMap<B, int>& box, int64_t p, int i) {
    const int taken = TakeSamples<W>(box, p, capacity_, &places_[i],
                                     samples_ + i * capacity_);
    const bool more = taken >= 0;
    counts_[i] = more ? taken : -1 - taken;
    return more;
  }

  TF_ROIALIGN_DEVICE int count(int i) const { return counts_[i]; }
  TF_ROIALIGN_DEVICE const AxisSample<W, int>& sample(int i, int j) const {
    return samples_[i * capacity_ + j];
  }

 private:
  MaxSamplesPlace* places_;
  int* counts_;
  AxisSample<W, int>* samples_;
  int capacity_;
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_SAMPLE_LIST_H_
