// The gradient to the features. Each element has one owner, a thread that adds
// what tile.h lists in a fixed order and stores the sum once.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FEATURE_GRAD_H_
#define TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FEATURE_GRAD_H_

#include <cstdint>

#include "cc/core/cuda/kernels/problem.h"
#include "cc/core/cuda/kernels/tile.h"
#include "cc/core/cuda/kernels/upstream.h"
#include "cc/core/cuda/kernels/vectors.h"
#include "cc/core/cuda/platform/portable.h"
#include "cc/core/cuda/tuning.h"

namespace tf_roialign {
namespace cuda {

// Channels last: threads along the channels, several pixels of the tile each,
// one after the other.
template <typename T, int V, typename Upstream>
struct FeatureGradNhwc {
  using W = Accumulator<T>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = 0;
  using TileOf = Tile<typename Upstream::Weight, kThreads>;
  static constexpr int kPixels = kTilePixels;
  static constexpr int kEntries = kNhwcTileEntries;

  Problem problem;
  OrderedBoxes boxes;
  Upstream upstream;
  TileShape shape;  // of kThreads / lanes * kPixels pixels
  int lanes;        // threads along the channels, a power of two
  int slice_groups;
  int64_t first_unit;

  static int SharedBytes() { return TileOf::SharedBytes(kEntries); }

  TF_ROIALIGN_DEVICE void operator()() const {
    const TilePlace place =
        PlaceOfTile(first_unit + BlockIndex(), problem, shape, slice_groups);
    const int64_t channels = problem.channels;
    TileOf tile(problem, boxes, shape, kEntries, problem.bins() * channels,
                channels, place);
    bool ready = false;
    for (int c0 = place.slice_group * lanes * V; c0 < problem.channels;
         c0 += slice_groups * lanes * V) {
      const int c = c0 + (ThreadIndex() & (lanes - 1)) * V;
      // Sums wait here where the lists of the tile do not fit at once.
      // Otherwise it is not touched.
      Sums<W, V> waiting[kPixels];
      const auto add = [&](bool first, bool last) {
        AddLists(tile, place, c, first, last, waiting);
      };
      if (ready) {
        add(true, true);
      } else {
        ready = tile.ForEachList(add);
      }
    }
  }

 private:
  TF_ROIALIGN_DEVICE void AddLists(const TileOf& tile, const TilePlace& place,
                                   int c, bool first, bool last,
                                   Sums<W, V>* waiting) const {
    if (c >= problem.channels) return;
    const int groups = kThreads / lanes, group = ThreadIndex() / lanes;
    const DeviceMap& map = problem.maps[place.map];
    const Upstream from = upstream.From(c);
    T* const to =
        Settled(map.As<T>() +
                ((place.image * map.height + place.y) * map.width + place.x) *
                    problem.channels +
                c);
    TF_ROIALIGN_NO_UNROLL
    for (int i = 0; i < kPixels; ++i) {
      const int pixel = i * groups + group;
      const int row = tile.row(pixel), column = tile.column(pixel);
      const int y = place.y + row, x = place.x + column;
      if (y >= map.height || x >= map.width) continue;
      Sums<W, V> sum;
      sum.Clear();
      if (!first) sum = waiting[i];
      AddList(tile, pixel, {y, x}, from, &sum);
      if (last) {
        sum.StoreTo(to +
                    (int64_t(row) * map.width + column) * problem.channels);
      } else {
        waiting[i] = sum;
      }
    }
  }

  // Several loads at a time.
  TF_ROIALIGN_DEVICE static void AddList(const TileOf& tile, int index,
                                         const Pixel& pixel,
                                         const Upstream& upstream,
                                         Sums<W, V>* sum) {
    constexpr int kTogether = Upstream::kTogether;
    const TileEntry<W>* entry = &tile.entry(index, 0);
    const int step = tile.entry_step();
    int left = tile.count(index);
    TF_ROIALIGN_NO_UNROLL
    for (; left >= kTogether; left -= kTogether) {
      AddEntries<kTogether>(entry, step, pixel, upstream, sum);
      entry += kTogether * step;
    }
    AddFewEntries<kTogether - 1>(left, entry, step, pixel, upstream, sum);
  }

  // `count` of them, at most N.
  template <int N>
  TF_ROIALIGN_DEVICE static void AddFewEntries(int count,
                                               const TileEntry<W>* entry,
                                               int step, const Pixel& pixel,
                                               const Upstream& upstream,
                                               Sums<W, V>* sum) {
    if constexpr (N > 0) {
      if (count == N) {
        AddEntries<N>(entry, step, pixel, upstream, sum);
      } else {
        AddFewEntries<N - 1>(count, entry, step, pixel, upstream, sum);
      }
    }
  }

  template <int N>
  TF_ROIALIGN_DEVICE static void AddEntries(const TileEntry<W>* entry, int step,
                                            const Pixel& pixel,
                                            const Upstream& upstream,
                                            Sums<W, V>* sum) {
    typename Upstream::template Part<V> parts[N];
    TF_ROIALIGN_UNROLL
    for (int u = 0; u < N; ++u) {
      const TileEntry<W>& of = entry[u * step];
      parts[u] = upstream.template Get<V>(of.offset, of.weight);
    }
    TF_ROIALIGN_UNROLL
    for (int u = 0; u < N; ++u) parts[u].AddTo(pixel, sum);
  }
};

// Channels first: threads along the pixels, several channels each.
template <typename T, typename Upstream>
struct FeatureGradNchw {
  using W = Accumulator<T>;
  static constexpr int kThreads = kBlockThreads;
  static constexpr int kMinBlocks = kMinTileBlocks;
  using TileOf = Tile<typename Upstream::Weight, kThreads>;
  static constexpr int kChannels = Upstream::kPlanes;
  static constexpr int kEntries = kNchwTileEntries;

  Problem problem;
  OrderedBoxes boxes;
  Upstream upstream;
  TileShape shape;
  int slice_groups;
  int64_t first_unit;

  static int SharedBytes() { return TileOf::SharedBytes(kEntries); }

  TF_ROIALIGN_DEVICE void operator()() const {
    const TilePlace place =
        PlaceOfTile(first_unit + BlockIndex(), problem, shape, slice_groups);
    const int bins = static_cast<int>(problem.bins());
    TileOf tile(problem, boxes, shape, kEntries,
                problem.bins() * problem.channels, 1, place);
    const int pixel = ThreadIndex() & (shape.pixels() - 1);
    const int groups = kThreads >> (shape.width_log2 + shape.height_log2);
    const int group = ThreadIndex() >> (shape.width_log2 + shape.height_log2);
    const int y = place.y + tile.row(pixel), x = place.x + tile.column(pixel);
    const DeviceMap& map = problem.maps[place.map];
    const bool inside = y < map.height && x < map.width;
    const int64_t plane = map.pixels();
    bool ready = false;
    for (int c0 = place.slice_group * groups * kChannels; c0 < problem.channels;
         c0 += slice_groups * groups * kChannels) {
      const int c = c0 + group * kChannels;
      const int channels = Min(kChannels, problem.channels - c);
      Sums<W, 1> sums[kChannels];
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kChannels; ++u) sums[u].Clear();
      const auto add = [&](bool, bool) {
        if (!inside || channels <= 0) return;
        const Upstream from = upstream.From(c * problem.bins());
        if (channels == kChannels) {
          AddList<true>(tile, pixel, {y, x}, from, bins, channels, sums);
        } else {
          AddList<false>(tile, pixel, {y, x}, from, bins, channels, sums);
        }
      };
      if (ready) {
        add(true, true);
      } else {
        ready = tile.ForEachList(add);
      }
      if (!inside) continue;
      T* to = map.As<T>() + (place.image * problem.channels + c) * plane +
              int64_t(y) * map.width + x;
      if (channels == kChannels) {
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kChannels; ++u) {
          sums[u].StoreTo(to);
          to = Settled(to + plane);
        }
      } else {
        TF_ROIALIGN_UNROLL
        for (int u = 0; u < kChannels; ++u) {
          if (u < channels) sums[u].StoreTo(to + u * plane);
        }
      }
    }
  }

 private:
  // kAll: of kChannels.
  template <bool kAll>
  TF_ROIALIGN_DEVICE static void AddList(const TileOf& tile, int index,
                                         const Pixel& pixel,
                                         const Upstream& upstream, int bins,
                                         int channels, Sums<W, 1>* sums) {
    const TileEntry<W>* entry = &tile.entry(index, 0);
    TF_ROIALIGN_NO_UNROLL
    for (int left = tile.count(index); left > 0; --left) {
      const Upstream from = upstream.From(entry->offset);
      const W weight = entry->weight;
      typename Upstream::template Part<1> parts[kChannels];
      ForEachBelow<kChannels>([&](auto constant) {
        constexpr int u = decltype(constant)::value;
        if (kAll || u < channels) {
          parts[u] = from.template GetPlane<u>(bins, weight);
        }
      });
      TF_ROIALIGN_UNROLL
      for (int u = 0; u < kChannels; ++u) parts[u].AddTo(pixel, &sums[u]);
      entry += tile.entry_step();
    }
  }
};

}  // namespace cuda
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_KERNELS_FEATURE_GRAD_H_
