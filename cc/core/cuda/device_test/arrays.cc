#include "cc/core/cuda/device_test/arrays.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace tf_roialign {

std::map<std::string, Array> ReadArrays(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "There is no file %s.\n", path.c_str());
    std::abort();
  }
  std::map<std::string, Array> arrays;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    Array array;
    words >> name >> array.dtype;
    for (int64_t length; words >> length;) array.shape.push_back(length);
    const int bytes = std::atoi(array.dtype.c_str() + 2);
    array.bytes.resize(array.size() * bytes);
    file.read(array.bytes.data(),
              static_cast<std::streamsize>(array.bytes.size()));
    arrays[name] = array;
  }
  return arrays;
}

}  // namespace tf_roialign
