// Serves one request to a SavedModel that uses RoIAlign, without Python:
//
//   host OP_LIBRARY SAVED_MODEL SIGNATURE REQUEST RESPONSE
//
// REQUEST and RESPONSE are TFRecord files with one NamedTensorProto a record:
// the inputs and the outputs of the signature, by name. docs/serving.md has the
// Python that writes and reads them.

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/lib/io/record_writer.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/protobuf/named_tensor.pb.h"
#include "tensorflow/core/public/session.h"

namespace {

using Tensors = std::map<std::string, tensorflow::Tensor>;

// The ops have to be there before the model that uses them is loaded.
absl::Status LoadOps(const std::string& path) {
  std::unique_ptr<TF_Status, decltype(&TF_DeleteStatus)> status(
      TF_NewStatus(), TF_DeleteStatus);
  // Never unloaded: TensorFlow keeps what the library registered.
  TF_LoadLibrary(path.c_str(), status.get());
  if (TF_GetCode(status.get()) == TF_OK) return absl::OkStatus();
  return absl::NotFoundError(TF_Message(status.get()));
}

absl::Status ReadTensors(const std::string& path, Tensors* tensors) {
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  TF_RETURN_IF_ERROR(
      tensorflow::Env::Default()->NewRandomAccessFile(path, &file));
  tensorflow::io::SequentialRecordReader reader(file.get());
  while (true) {
    tensorflow::tstring record;
    const absl::Status status = reader.ReadRecord(&record);
    if (absl::IsOutOfRange(status)) return absl::OkStatus();  // the end
    TF_RETURN_IF_ERROR(status);
    tensorflow::NamedTensorProto proto;
    tensorflow::Tensor tensor;
    if (!proto.ParseFromArray(record.data(), record.size()) ||
        !tensor.FromProto(proto.tensor())) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " must hold NamedTensorProtos, record ",
                       tensors->size() + 1, " is none"));
    }
    (*tensors)[proto.name()] = tensor;
  }
}

absl::Status WriteTensors(const std::string& path, const Tensors& tensors) {
  std::unique_ptr<tensorflow::WritableFile> file;
  TF_RETURN_IF_ERROR(tensorflow::Env::Default()->NewWritableFile(path, &file));
  tensorflow::io::RecordWriter writer(file.get());
  for (const auto& [name, tensor] : tensors) {
    tensorflow::NamedTensorProto proto;
    proto.set_name(name);
    if (tensor.dtype() == tensorflow::DT_STRING) {
      tensor.AsProtoField(proto.mutable_tensor());  // Python reads no others
    } else {
      tensor.AsProtoTensorContent(proto.mutable_tensor());
    }
    TF_RETURN_IF_ERROR(writer.WriteRecord(proto.SerializeAsString()));
  }
  TF_RETURN_IF_ERROR(writer.Close());
  return file->Close();
}

absl::Status RunSignature(const tensorflow::SavedModelBundleLite& model,
                          const std::string& name, const Tensors& inputs,
                          Tensors* outputs) {
  const auto found = model.GetSignatures().find(name);
  if (found == model.GetSignatures().end()) {
    return absl::NotFoundError(
        absl::StrCat("the SavedModel has no signature `", name, "`"));
  }
  const tensorflow::SignatureDef& signature = found->second;
  std::vector<std::pair<std::string, tensorflow::Tensor>> feeds;
  for (const auto& [input, info] : signature.inputs()) {
    const auto given = inputs.find(input);
    if (given == inputs.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the request must have an input `", input, "`"));
    }
    feeds.emplace_back(info.name(), given->second);
  }
  for (const auto& [input, tensor] : inputs) {
    if (signature.inputs().count(input) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "`", name, "` has no input `", input, "` that the request gives"));
    }
  }
  std::vector<std::string> keys, fetches;
  for (const auto& [output, info] : signature.outputs()) {
    keys.push_back(output);
    fetches.push_back(info.name());
  }
  std::vector<tensorflow::Tensor> results;
  TF_RETURN_IF_ERROR(model.GetSession()->Run(feeds, fetches, {}, &results));
  for (size_t i = 0; i < keys.size(); ++i) (*outputs)[keys[i]] = results[i];
  return absl::OkStatus();
}

absl::Status Serve(const std::string& op_library,
                   const std::string& saved_model, const std::string& signature,
                   const std::string& request, const std::string& response) {
  TF_RETURN_IF_ERROR(LoadOps(op_library));
  tensorflow::SavedModelBundleLite model;
  TF_RETURN_IF_ERROR(tensorflow::LoadSavedModel(
      tensorflow::SessionOptions(), tensorflow::RunOptions(), saved_model,
      {"serve"}, &model));
  Tensors inputs, outputs;
  TF_RETURN_IF_ERROR(ReadTensors(request, &inputs));
  TF_RETURN_IF_ERROR(RunSignature(model, signature, inputs, &outputs));
  return WriteTensors(response, outputs);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: " << argv[0]
              << " OP_LIBRARY SAVED_MODEL SIGNATURE REQUEST RESPONSE\n";
    return 2;
  }
  const absl::Status status =
      Serve(argv[1], argv[2], argv[3], argv[4], argv[5]);
  if (status.ok()) return 0;
  std::cerr << "error: " << status.message() << "\n";
  return 1;
}
