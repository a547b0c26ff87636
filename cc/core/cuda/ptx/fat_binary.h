// The PTX in what nvcc embeds into an object.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_PTX_FAT_BINARY_H_
#define TF_ROIALIGN_CC_CORE_CUDA_PTX_FAT_BINARY_H_

#include <map>
#include <string>

namespace tf_roialign {
namespace ptx {

// `wrapper`: what __cudaRegisterFatBinary is given. Texts by architecture, such
// as 90; those that are not compressed.
std::map<int, std::string> PtxOf(const void* wrapper);

}  // namespace ptx
}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_PTX_FAT_BINARY_H_
