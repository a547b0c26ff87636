// The arrays of a file that unpack_npz.py wrote.

#ifndef TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_ARRAYS_H_
#define TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_ARRAYS_H_

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace tf_roialign {

struct Array {
  std::string dtype;  // NumPy's word, such as "<f4"
  std::vector<int64_t> shape;
  std::vector<char> bytes;

  int64_t size() const {
    int64_t count = 1;
    for (const int64_t length : shape) count *= length;
    return count;
  }

  // Of any dtype of numbers.
  double At(int64_t i) const {
    if (dtype == "<f4") return Read<float>(i);
    if (dtype == "<f8") return Read<double>(i);
    if (dtype == "<i4") return Read<int32_t>(i);
    if (dtype == "<i8") return double(Read<int64_t>(i));
    return Read<int8_t>(i);  // "|b1"
  }
  template <typename T>
  std::vector<T> Values() const {
    std::vector<T> values(size());
    for (int64_t i = 0; i < size(); ++i) values[i] = static_cast<T>(At(i));
    return values;
  }

 private:
  template <typename T>
  T Read(int64_t i) const {
    T value;
    std::memcpy(&value, &bytes[i * sizeof(T)], sizeof(T));
    return value;
  }
};

// Ends the program where there is no such file.
std::map<std::string, Array> ReadArrays(const std::string& path);

}  // namespace tf_roialign

#endif  // TF_ROIALIGN_CC_CORE_CUDA_DEVICE_TEST_ARRAYS_H_
