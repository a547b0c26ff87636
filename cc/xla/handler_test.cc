// What handlers read out of a custom call, of either platform.

#include "cc/xla/handler.h"

#include <cstdint>
#include <string>
#include <vector>

#include "cc/core/call/op.h"
#include "cc/core/call/params.h"
#include "cc/xla/testing/call_frame.h"
#include "gtest/gtest.h"
#include "xla/ffi/api/c_api.h"
#include "xla/ffi/api/ffi.h"

namespace tf_roialign {
namespace {

namespace ffi = ::xla::ffi;

class Frame : public CallFrame {
 public:
  using CallFrame::CallFrame;

  // The text of an error, or none.
  std::string Read(const OpInfo& info, bool on_host, HandledCall* call) {
    return With([&](const XLA_FFI_Args& operands, const XLA_FFI_Rets& results,
                    const XLA_FFI_Attrs& attributes) {
      return ReadCall(info, on_host, ffi::RemainingArgs(&operands, 0),
                      ffi::RemainingRets(&results, 0),
                      ffi::Dictionary(&attributes), call)
          .message();
    });
  }
};

// Addresses that nothing is at.
void* const kFeatures = reinterpret_cast<void*>(0x1000);
void* const kBoxes = reinterpret_cast<void*>(0x2000);
void* const kIndices = reinterpret_cast<void*>(0x3000);
void* const kOutput = reinterpret_cast<void*>(0x4000);
void* const kCount = reinterpret_cast<void*>(0x5000);

OpParams ParamsOf(Maps maps) {
  OpParams params;
  params.maps = maps;
  params.output_size = {3, 2};
  return params;
}

Frame CodesFrame() {
  Frame frame(ParamsOf(Maps::kOne));
  frame.Operand(kFeatures, XLA_FFI_DataType_S8, {2, 9, 13, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 4});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {20});
  frame.Result(kOutput, XLA_FFI_DataType_S8, {20, 3, 2, 5});
  return frame;
}

TEST(Handler, TakesScaleAndZeroPointFromTheHost) {
  const OpInfo info = InfoOf(Op::kForwardQuantized);
  const float scale = 0.3f;
  const int32_t zero_point = -7;
  Frame frame = CodesFrame();
  frame.Operand(&scale, XLA_FFI_DataType_F32, {});
  frame.Operand(&zero_point, XLA_FFI_DataType_S32, {});
  HandledCall call;
  EXPECT_EQ(frame.Read(info, /*on_host=*/true, &call), "");
  EXPECT_EQ(*call.inputs.Get<float>(Input::kScale), scale);
  EXPECT_EQ(*call.inputs.Get<int32_t>(Input::kZeroPoint), zero_point);
  EXPECT_EQ(call.features_type, ffi::DataType::S8);
  EXPECT_EQ(call.inputs.Features<int8_t>(0), kFeatures);
  EXPECT_EQ(call.outputs.data[0], kOutput);
}

TEST(Handler, TakesScaleAndZeroPointFromAttributes) {
  const OpInfo info = InfoOf(Op::kForwardQuantized);
  Frame frame = CodesFrame();
  frame.Attribute("scale", Bits({0.3f}));
  frame.Attribute("zero_point", Bits({-7}));
  HandledCall call;
  EXPECT_EQ(frame.Read(info, /*on_host=*/false, &call), "");
  EXPECT_EQ(*call.inputs.Get<float>(Input::kScale), 0.3f);
  EXPECT_EQ(*call.inputs.Get<int32_t>(Input::kZeroPoint), -7);
  EXPECT_EQ(call.inputs.Get<void>(Input::kBoxes), kBoxes);
  EXPECT_EQ(call.inputs.box_count, nullptr);
  EXPECT_EQ(call.signature.sizes.boxes, 20);
}

TEST(Handler, SaysWhichAttributeIsNotThere) {
  Frame frame = CodesFrame();
  frame.Attribute("scale", Bits({0.3f}));
  HandledCall call;
  const std::string text =
      frame.Read(InfoOf(Op::kForwardQuantized), /*on_host=*/false, &call);
  EXPECT_NE(text.find("lacks the attribute zero_point"), std::string::npos)
      << text;
}

TEST(Handler, SaysWhichAttributeIsTooShort) {
  Frame frame(ParamsOf(Maps::kMany));
  frame.Attribute("map_count", int64_t{2});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 4, 6, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 5});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
  frame.Attribute("spatial_scales", Bits({1, 0.5, 0.25}));
  HandledCall call;
  const std::string text =
      frame.Read(InfoOf(Op::kForward, Maps::kMany), /*on_host=*/false, &call);
  EXPECT_NE(text.find("lacks the attribute spatial_scales"), std::string::npos)
      << text;
}

TEST(Handler, TakesScalesOfMapsFromAttributes) {
  Frame frame(ParamsOf(Maps::kMany));
  frame.Attribute("map_count", int64_t{2});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 4, 6, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 5});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
  frame.Attribute("spatial_scales", Bits({1, 0.5, 0.25, 0.125}));
  HandledCall call;
  EXPECT_EQ(frame.Read(InfoOf(Op::kForward, Maps::kMany), false, &call), "");
  const double* scales = call.inputs.Get<double>(Input::kSpatialScales);
  EXPECT_EQ(scales[1], 0.5);
  EXPECT_EQ(scales[3], 0.125);
  EXPECT_EQ(call.signature.map_count, 2);
}

TEST(Handler, TakesAllThatTheHostReadsFromAttributes) {
  Frame frame(ParamsOf(Maps::kMany));
  frame.Attribute("map_count", int64_t{2});
  frame.Operand(kFeatures, XLA_FFI_DataType_S8, {2, 9, 13, 5});
  frame.Operand(kFeatures, XLA_FFI_DataType_S8, {2, 4, 6, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 5});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Result(kOutput, XLA_FFI_DataType_S8, {20, 3, 2, 5});
  frame.Attribute("spatial_scales", Bits({1, 0.5, 0.25, 0.125}));
  frame.Attribute("scale", Bits({0.3f}));
  frame.Attribute("zero_point", Bits({-7}));
  HandledCall call;
  EXPECT_EQ(
      frame.Read(InfoOf(Op::kForwardQuantized, Maps::kMany), false, &call), "");
  const double* scales = call.inputs.Get<double>(Input::kSpatialScales);
  EXPECT_EQ(std::vector<double>(scales, scales + 4),
            std::vector<double>({1, 0.5, 0.25, 0.125}));
  EXPECT_EQ(*call.inputs.Get<float>(Input::kScale), 0.3f);
  EXPECT_EQ(*call.inputs.Get<int32_t>(Input::kZeroPoint), -7);
}

// From the compiler's side to the handlers', as numbers in this order.
TEST(Attributes, HaveYBeforeX) {
  EXPECT_EQ(AttributeText(Scale{0.5, 0.25}),
            "array<i64: 4602678819172646912, 4598175219545276416>");
  EXPECT_EQ(AttributeText(OutputSize{3, 2}), "array<i64: 3, 2>");
  OpParams params = ParamsOf(Maps::kOne);
  params.spatial_scale = {0.5, 0.25};
  Frame frame(params);
  frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
  frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 5});
  frame.Operand(kIndices, XLA_FFI_DataType_S32, {0});
  frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
  HandledCall call;
  EXPECT_EQ(frame.Read(InfoOf(Op::kForward), /*on_host=*/true, &call), "");
  EXPECT_EQ(call.params.spatial_scale.y, 0.5);
  EXPECT_EQ(call.params.spatial_scale.x, 0.25);
  EXPECT_EQ(call.params.output_size.height, 3);
}

TEST(Handler, LeavesANumberOfBoxesOnTheDevice) {
  const OpInfo info = InfoOf(Op::kForward);
  const int32_t count = 11;
  for (const bool on_host : {true, false}) {
    Frame frame(ParamsOf(Maps::kOne));
    frame.Operand(kFeatures, XLA_FFI_DataType_F32, {2, 9, 13, 5});
    frame.Operand(kBoxes, XLA_FFI_DataType_F32, {20, 4});
    frame.Operand(kIndices, XLA_FFI_DataType_S32, {20});
    frame.Operand(on_host ? &count : kCount, XLA_FFI_DataType_S32, {});
    frame.Result(kOutput, XLA_FFI_DataType_F32, {20, 3, 2, 5});
    HandledCall call;
    EXPECT_EQ(frame.Read(info, on_host, &call), "");
    EXPECT_EQ(call.signature.sizes.boxes, on_host ? 11 : 20);
    EXPECT_EQ(call.inputs.box_count, on_host ? nullptr : kCount);
  }
}

}  // namespace
}  // namespace tf_roialign
