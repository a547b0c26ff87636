#include "cc/core/fuzz/naive_check.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cc/core/call/attributes.h"
#include "cc/core/call/boxes.h"
#include "cc/core/call/level_rule.h"
#include "cc/core/dtypes/quantization.h"
#include "cc/core/testing/naive_roi_align.h"

namespace tf_roialign {
namespace {

// Samples of a box, and terms of a call, that are gone through.
constexpr double kMostSamples = 1024;
constexpr double kMostTerms = 1 << 17;

struct NaiveMap {
  int64_t height;
  int64_t width;
  double scale_y;
  double scale_x;
};

// How far from exact arithmetic a dtype's results may be.
struct Precision {
  double relative;  // of what is stored
  double term;      // of each term of a sum
  double smallest;  // step
  double largest;
};

Precision PrecisionOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::k_Half:
      return {2e-3, 1.2e-7, 1.2e-7, 6e4};
    case Dtype::k_BFloat16:
      return {1.6e-2, 1.2e-7, 2e-40, 1e37};
    case Dtype::k_double:
      return {1e-13, 2.3e-16, 1e-320, 1e307};
    default:
      return {2e-6, 1.2e-7, 3e-45, 1e37};
  }
}

// A sum as it should be.
struct NaiveSum {
  double value = 0;
  double magnitude = 0;
  double terms = 0;
  // A term is no number: then nothing is said of the sum.
  bool poisoned = false;

  void Add(double term) {
    value += term;
    magnitude += std::abs(term);
    terms += 1;
    poisoned |= !std::isfinite(term);
  }
  void AddProduct(double weight, double factor) {
    Add(weight * factor);
    // A float may have lost digits, or be none any more, before they meet.
    const double w = std::abs(weight), f = std::abs(factor);
    poisoned |= w > 1e30 || f > 1e34 || (w > 0 && w < 1e-30 && f > 1) ||
                (f > 0 && f < 1e-30 && w > 1);
  }
};

bool IsNear(double got, const NaiveSum& sum, const Precision& precision) {
  // On the way sums are not divided by the number of samples yet.
  if (sum.poisoned || sum.magnitude * kMostSamples > precision.largest) {
    return true;
  }
  const double tolerance =
      sum.magnitude * (precision.relative + sum.terms * precision.term) +
      (1 + sum.terms) * precision.smallest;
  return std::abs(got - sum.value) <= tolerance;
}

template <typename B>
class NaiveCheck {
 public:
  explicit NaiveCheck(const CheckedCall& checked)
      : call_(checked.call),
        signature_(checked.signature),
        sizes_(checked.signature.sizes) {
    for (size_t i = 0; i < call_.operands.size(); ++i) {
      const AnyCall::Operand& operand = call_.operands[i];
      const int input = static_cast<int>(operand.input);
      if (operand.map == 0) data_[input] = &checked.data[i];
      if (operand.input == Input::kFeatures) {
        features_[operand.map] = &checked.data[i];
      }
    }
    scales_are_right_ = MakeMaps();
    MakeBoxes();
    PlaceBoxes();
  }

  bool IsToFail() const {
    if (!scales_are_right_) return true;
    if (call_.info.Has(Input::kScale) && !CodesAreRight()) return true;
    for (int64_t k = 0; k < sizes_.boxes; ++k) {
      if (Image(k) < 0 || Map(k) < 0) return true;
      const NaiveMap& map = maps_[Map(k)];
      if (map.height == 0 || map.width == 0) return true;
    }
    return false;
  }

  std::string Difference(const std::vector<Tensor>& outputs) {
    outputs_ = &outputs;
    switch (call_.info.op) {
      case Op::kForward:
      case Op::kForwardQuantized:
      case Op::kBoxTangent:
        return OfPooled();
      case Op::kFeatureGrad:
      case Op::kBoxTangentGrad:
        return OfFeatureGrad();
      case Op::kMaxFeatureGrad:
        return OfMaxFeatureGrad();
      case Op::kBoxGrad:
        return OfBoxGrad();
    }
    return "an op that nobody checks";
  }

 private:
  const Tensor* Data(Input input) const {
    return data_[static_cast<int>(input)];
  }
  static B Narrow(double value) {
    return value > std::numeric_limits<B>::max()
               ? std::numeric_limits<B>::infinity()
               : static_cast<B>(value);
  }

  bool MakeMaps() {
    bool right = true;
    for (int m = 0; m < signature_.map_count; ++m) {
      Scale scale = call_.params.spatial_scale;
      if (call_.params.maps == Maps::kMany) {
        const Tensor* scales = Data(Input::kSpatialScales);
        scale = {scales->at(2 * m), scales->at(2 * m + 1)};
      }
      right = right && CheckAttribute("scale", scale).ok();
      scales_[m] = scale;
      maps_[m] = {signature_.maps[m].height, signature_.maps[m].width, scale.y,
                  scale.x};
    }
    return right;
  }

  // As RunOp makes them.
  void MakeBoxes() {
    boxes_ = {signature_.form,
              reinterpret_cast<const B*>(Data(Input::kBoxes)->data()),
              signature_.columns, sizes_.boxes};
    if (boxes_.form == BoxForm::kSeparate) {
      boxes_.box_indices = Data(Input::kBoxIndices)->data();
      boxes_.indices_are_64_bit = call_.indices_are_64_bit;
    }
    if (call_.params.maps == Maps::kOne || !scales_are_right_) return;
    if (Data(Input::kLevels)->count() > 0) {
      boxes_.map_indices = Data(Input::kLevels)->data();
      boxes_.map_indices_are_64_bit = call_.levels_are_64_bit;
    } else if (signature_.map_count > 1) {
      level_rule_ = MakeLevelRule<B>(call_.params.canonical_scale,
                                     call_.params.canonical_level, scales_,
                                     signature_.map_count);
      boxes_.level_rule = &level_rule_;
    }
  }

  // The lowest and the highest code.
  std::pair<double, double> RangeOfCodes() const {
    std::pair<double, double> range = {0, 0};
    WithDtype(call_.dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (kIsCode<T>) {
        range = {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
      }
    });
    return range;
  }

  bool CodesAreRight() const {
    const double zero_point = Data(Input::kZeroPoint)->at(0);
    const double scale = Data(Input::kScale)->at(0);
    const auto [lowest, highest] = RangeOfCodes();
    return std::isfinite(scale) && scale > 0 && zero_point >= lowest &&
           zero_point <= highest;
  }

  // Once for each box: it is asked for at each pixel.
  void PlaceBoxes() {
    if (!scales_are_right_) return;
    for (int64_t k = 0; k < sizes_.boxes; ++k) {
      box_images_.push_back(ImageOfBox(boxes_, k, sizes_.batch));
      box_maps_.push_back(
          MapOfBox(boxes_, boxes_.level_rule, k, signature_.map_count));
    }
  }
  int64_t Image(int64_t k) const { return box_images_[k]; }
  int Map(int64_t k) const { return box_maps_[k]; }
  int64_t Channels() const { return sizes_.channels; }
  int64_t Bins() const {
    return call_.params.pooled_height() * call_.params.pooled_width();
  }
  int64_t Index(int64_t n, int64_t place, int64_t places, int64_t c) const {
    return call_.params.data_format == Layout::kNHWC
               ? (n * places + place) * Channels() + c
               : (n * Channels() + c) * places + place;
  }
  int64_t Bin(int64_t k, int64_t p, int64_t q, int64_t c) const {
    return Index(k, p * call_.params.pooled_width() + q, Bins(), c);
  }
  int64_t Pixel(int64_t k, int64_t y, int64_t x, int64_t c) const {
    const NaiveMap& map = maps_[Map(k)];
    return Index(Image(k), y * map.width + x, map.height * map.width, c);
  }
  double Feature(int64_t k, int64_t y, int64_t x, int64_t c) const {
    return features_[Map(k)]->at(Pixel(k, y, x, c));
  }

  struct Extent {
    B start, extent;
    bool finite;
    double samples;  // of all bins of the axis
  };
  Extent AxisOf(int64_t k, int first, double map_scale, int64_t pooled) const {
    const B* box = boxes_.coordinates(k) + first;
    const B scale = Narrow(map_scale);
    const B offset = call_.params.aligned ? B(0.5) : B(0);
    const B start = box[0] * scale - offset, end = box[2] * scale - offset;
    Extent axis = {start, end - start, false, 0};
    axis.finite = std::isfinite(start) && std::isfinite(end) &&
                  std::isfinite(axis.extent);
    const double ratio = static_cast<double>(call_.params.sampling_ratio);
    axis.samples =
        double(pooled) *
        (ratio > 0
             ? ratio
             : std::ceil(std::max(double(axis.extent), 1.0) / double(pooled)));
    return axis;
  }
  enum class Kind { kNoMeaning, kGoneThrough, kTooMuch };
  Kind KindOf(int64_t k) {
    const NaiveMap& map = maps_[Map(k)];
    const Extent x = AxisOf(k, 0, map.scale_x, call_.params.pooled_width());
    const Extent y = AxisOf(k, 1, map.scale_y, call_.params.pooled_height());
    if (!x.finite || !y.finite) return Kind::kNoMeaning;
    const double samples = x.samples * y.samples;
    if (samples > kMostSamples || std::abs(double(x.start)) > 1e6 ||
        std::abs(double(y.start)) > 1e6 || std::abs(double(x.extent)) > 1e6 ||
        std::abs(double(y.extent)) > 1e6) {
      return Kind::kTooMuch;
    }
    if (!(Steepest(k) <= 1e30)) return Kind::kTooMuch;
    terms_ += samples * double(Channels()) * 4;
    return terms_ > kMostTerms ? Kind::kTooMuch : Kind::kGoneThrough;
  }

  double Direction(int64_t k, int i) const {
    const int64_t columns = signature_.columns;
    return Data(Input::kDirection)
        ->at(k * columns + columns - kCoordinates + i);
  }

  // What the coordinates of a sample move by at most. A clamped one does not
  // move, but for that it is added and taken away on the way.
  double Steepest(int64_t k) const {
    if (!call_.info.Has(Input::kDirection)) return 0;
    double sum = 0;  // NaN if any of them is
    for (int i = 0; i < kCoordinates; ++i) sum += std::abs(Direction(k, i));
    const NaiveMap& map = maps_[Map(k)];
    return sum * std::max(double(map.scale_x), double(map.scale_y));
  }

  // The pixels of a box with what they weigh, or what that changes by.
  void Visit(int64_t k, const VisitPixel& visit) const {
    const B* box = boxes_.coordinates(k);
    if (!call_.info.Has(Input::kDirection)) {
      VisitPixels(call_.params, maps_[Map(k)], box, visit);
      return;
    }
    double direction[kCoordinates];
    for (int i = 0; i < kCoordinates; ++i) direction[i] = Direction(k, i);
    VisitWeightTangents(call_.params, maps_[Map(k)], box, direction, visit);
  }

  // Of sums that the slopes of coordinates are in.
  Precision PrecisionOfOutput() const {
    Precision precision = PrecisionOf(call_.dtype);
    if (call_.info.Has(Input::kDirection)) {
      precision.relative += PrecisionOf(call_.box_dtype).relative;
    }
    return precision;
  }

  std::string Wrong(int output, int64_t i, const NaiveSum& sum) const {
    return "element " + std::to_string(i) + " of output " +
           std::to_string(output) + " is " +
           std::to_string((*outputs_)[output].at(i)) + ", not " +
           std::to_string(sum.value) + ", a sum of " +
           std::to_string(sum.terms) + " terms of magnitude " +
           std::to_string(sum.magnitude);
  }

  bool IsRightCode(double got, const NaiveSum& sum, double zero_point) const {
    const auto [lowest, highest] = RangeOfCodes();
    const double right = std::clamp(sum.value + zero_point, lowest, highest);
    return std::abs(got - right) <= 0.5 + 2e-3;
  }

  std::string OfPooled() {
    const Tensor& output = (*outputs_)[0];
    const bool of_codes = IsOnCodes(call_.info.op);
    const double zero_point = of_codes ? Data(Input::kZeroPoint)->at(0) : 0;
    const Precision precision = PrecisionOfOutput();
    std::vector<NaiveSum> sums;
    for (int64_t k = 0; k < sizes_.boxes && Channels() > 0; ++k) {
      const Kind kind = KindOf(k);
      if (kind == Kind::kTooMuch) continue;
      const double steepest = Steepest(k);
      sums.assign(Bins() * Channels(), {});
      const auto place = [&](int64_t p, int64_t q, int64_t c) {
        return (p * call_.params.pooled_width() + q) * Channels() + c;
      };
      if (kind == Kind::kGoneThrough) {
        if (call_.params.mode == Mode::kMax) {
          VisitLargest(
              k, [&](int64_t p, int64_t q, int64_t c, const NaiveSum& sum) {
                sums[place(p, q, c)] = sum;
              });
        } else {
          Visit(k,
                [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                  for (int64_t c = 0; c < Channels(); ++c) {
                    const double value = Feature(k, y, x, c) - zero_point;
                    NaiveSum& sum = sums[place(p, q, c)];
                    sum.Add(weight * value);
                    sum.poisoned |= steepest * std::abs(value) > 1e30;
                  }
                });
        }
      }
      for (int64_t p = 0; p < call_.params.pooled_height(); ++p) {
        for (int64_t q = 0; q < call_.params.pooled_width(); ++q) {
          for (int64_t c = 0; c < Channels(); ++c) {
            const NaiveSum& sum = sums[place(p, q, c)];
            const int64_t i = Bin(k, p, q, c);
            const double got = output.at(i);
            const bool right =
                kind == Kind::kNoMeaning
                    ? of_codes ? got == zero_point : std::isnan(got)
                : of_codes ? IsRightCode(got, sum, zero_point)
                           : IsNear(got, sum, precision);
            if (!right) return Wrong(0, i, sum);
          }
        }
      }
    }
    return "";
  }

  // Calls visit(p, q, c, largest) for the bins that have samples.
  template <typename VisitBin>
  void VisitLargest(int64_t k, const VisitBin& visit) const {
    const int64_t columns = call_.params.pooled_width();
    std::vector<NaiveSum> largest(Bins() * Channels());
    VisitSamples(
        call_.params, maps_[Map(k)], boxes_.coordinates(k),
        [&](const NaiveSample& s) {
          for (int64_t c = 0; c < Channels(); ++c) {
            NaiveSum& most = largest[(s.p * columns + s.q) * Channels() + c];
            NaiveSum value;
            if (s.is_inside) {
              value.Add((1 - s.fy) * (1 - s.fx) *
                        Feature(k, s.y_low, s.x_low, c));
              value.Add((1 - s.fy) * s.fx * Feature(k, s.y_low, s.x_high, c));
              value.Add(s.fy * (1 - s.fx) * Feature(k, s.y_high, s.x_low, c));
              value.Add(s.fy * s.fx * Feature(k, s.y_high, s.x_high, c));
            }
            if (most.terms == 0 || value.value > most.value) {
              most.value = value.value;
            }
            most.terms = 4;
            most.magnitude = std::max(most.magnitude, value.magnitude);
            most.poisoned |= value.poisoned;
          }
        });
    for (int64_t p = 0; p < call_.params.pooled_height(); ++p) {
      for (int64_t q = 0; q < columns; ++q) {
        for (int64_t c = 0; c < Channels(); ++c) {
          visit(p, q, c, largest[(p * columns + q) * Channels() + c]);
        }
      }
    }
  }

  // Whether all boxes can be gone through.
  bool AllAreGoneThrough() {
    for (int64_t k = 0; k < sizes_.boxes; ++k) {
      if (KindOf(k) == Kind::kTooMuch) return false;
    }
    return true;
  }

  std::string OfFeatureGrad() {
    if (!AllAreGoneThrough()) return "";
    std::vector<std::vector<NaiveSum>> grads;
    for (const Tensor& output : *outputs_) grads.emplace_back(output.count());
    const Tensor* upstream = Data(Input::kGradOutput);
    for (int64_t k = 0; k < sizes_.boxes && Channels() > 0; ++k) {
      if (KindOf(k) == Kind::kNoMeaning) continue;
      std::vector<NaiveSum>& grad = grads[Map(k)];
      const double steepest = Steepest(k);
      Visit(k, [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
        for (int64_t c = 0; c < Channels(); ++c) {
          const double g = upstream->at(Bin(k, p, q, c));
          NaiveSum& sum = grad[Pixel(k, y, x, c)];
          sum.AddProduct(weight, g);
          sum.poisoned |= steepest * std::abs(g) > 1e30;
        }
      });
    }
    const Precision precision = PrecisionOfOutput();
    for (size_t m = 0; m < grads.size(); ++m) {
      for (size_t i = 0; i < grads[m].size(); ++i) {
        if (!IsNear((*outputs_)[m].at(i), grads[m][i], precision)) {
          return Wrong(static_cast<int>(m), i, grads[m][i]);
        }
      }
    }
    return "";
  }

  // Which of several equal samples was found the largest need not be known: the
  // gradient along the features is what the upstream gradient is along the
  // outputs.
  std::string OfMaxFeatureGrad() {
    if (!AllAreGoneThrough()) return "";
    const Tensor* upstream = Data(Input::kGradOutput);
    NaiveSum pooled, sum;
    for (int64_t k = 0; k < sizes_.boxes && Channels() > 0; ++k) {
      if (KindOf(k) == Kind::kNoMeaning) continue;
      VisitLargest(
          k, [&](int64_t p, int64_t q, int64_t c, const NaiveSum& largest) {
            const double g = upstream->at(Bin(k, p, q, c));
            pooled.Add(g * largest.value);
            pooled.magnitude += std::abs(g) * largest.magnitude;
            pooled.poisoned |= largest.poisoned;
          });
    }
    double elements = 0, most = 0;
    for (size_t m = 0; m < outputs_->size(); ++m) {
      for (int64_t i = 0; i < (*outputs_)[m].count(); ++i) {
        const double feature = features_[m]->at(i);
        sum.Add((*outputs_)[m].at(i) * feature);
        elements += 1;
        most = std::max(most, std::abs(feature));
      }
    }
    const Precision precision = PrecisionOf(call_.dtype);
    if (pooled.poisoned || sum.poisoned ||
        pooled.magnitude * kMostSamples > precision.largest) {
      return "";
    }
    const double tolerance =
        (pooled.magnitude + sum.magnitude) *
            (precision.relative + 4 * pooled.terms * precision.term) +
        elements * precision.smallest * (1 + most);
    if (std::abs(sum.value - pooled.value) <= tolerance) return "";
    return "the gradient along the features is " + std::to_string(sum.value) +
           ", not " + std::to_string(pooled.value) + " within " +
           std::to_string(tolerance);
  }

  std::string OfBoxGrad() {
    const Tensor& output = (*outputs_)[0];
    const int64_t columns = signature_.columns;
    const Tensor* upstream = Data(Input::kGradOutput);
    const bool in_double =
        call_.dtype == Dtype::k_double && call_.box_dtype == Dtype::k_double;
    Precision precision =
        PrecisionOf(in_double ? Dtype::k_double : Dtype::k_float);
    precision.relative *= 10;
    for (int64_t k = 0; k < sizes_.boxes; ++k) {
      for (int64_t i = 0; i < columns - 4; ++i) {
        if (output.at(k * columns + i) != 0) return "an image has a gradient";
      }
      const Kind kind = KindOf(k);
      if (kind == Kind::kTooMuch) continue;
      for (int i = 0; i < 4; ++i) {
        const int64_t place = k * columns + columns - 4 + i;
        NaiveSum sum;
        double direction[4] = {};
        direction[i] = 1;
        if (kind == Kind::kGoneThrough) {
          // Of the largest samples it is not known which they are.
          if (call_.params.mode == Mode::kMax && Channels() > 0) continue;
          VisitWeightTangents(
              call_.params, maps_[Map(k)], boxes_.coordinates(k), direction,
              [&](int64_t p, int64_t q, int64_t y, int64_t x, double weight) {
                for (int64_t c = 0; c < Channels(); ++c) {
                  const double g = upstream->at(Bin(k, p, q, c));
                  const double feature = Feature(k, y, x, c);
                  sum.AddProduct(weight, g * feature);
                  // A product on the way may leave the range.
                  sum.poisoned |= !std::isfinite(g * feature) ||
                                  std::abs(g * feature) > precision.largest;
                }
              });
        }
        const double got = output.at(place);
        if (kind == Kind::kNoMeaning ? !std::isnan(got)
                                     : !IsNear(got, sum, precision)) {
          return Wrong(0, place, sum);
        }
      }
    }
    return "";
  }

  const AnyCall& call_;
  const Signature& signature_;
  const Sizes sizes_;
  const Tensor* data_[kInputs] = {};
  const Tensor* features_[kMaxMaps] = {};
  NaiveMap maps_[kMaxMaps] = {};
  Scale scales_[kMaxMaps];
  bool scales_are_right_;
  LevelRule level_rule_ = {};
  Boxes<B> boxes_ = {};
  std::vector<int64_t> box_images_;
  std::vector<int> box_maps_;
  const std::vector<Tensor>* outputs_ = nullptr;
  double terms_ = 0;
};

}  // namespace

bool IsToFail(const CheckedCall& call) {
  return call.call.box_dtype == Dtype::k_double
             ? NaiveCheck<double>(call).IsToFail()
             : NaiveCheck<float>(call).IsToFail();
}

std::string DifferenceFromNaive(const CheckedCall& call,
                                const std::vector<Tensor>& outputs) {
  return call.call.box_dtype == Dtype::k_double
             ? NaiveCheck<double>(call).Difference(outputs)
             : NaiveCheck<float>(call).Difference(outputs);
}

}  // namespace tf_roialign
