// Measures what this machine can do at best, for benchmarks/: memory bandwidth
// and multiply-adds per second, on one thread and on all that are asked for.
// Prints JSON: gigabytes (1e9) per second, counting what the program reads and
// writes, and 1e9 multiply-adds per second.
//
//   machine_limits [threads...]       default: 1 2

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr size_t kBytes = size_t{256} << 20;  // far more than any cache
constexpr size_t kAlign = size_t{2} << 20;
constexpr int kRepeats = 7;

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Runs `work(thread)` on each thread at once, several times over, and returns
// the seconds of the quickest time.
double BestSeconds(int threads, const std::function<void(int)>& work) {
  std::atomic<int> arrived{0};
  std::vector<double> begin(threads * kRepeats), end(threads * kRepeats);
  const auto body = [&](int thread) {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      ++arrived;
      while (arrived < (repeat + 1) * threads) std::this_thread::yield();
      begin[repeat * threads + thread] = Now();
      work(thread);
      end[repeat * threads + thread] = Now();
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(body, i);
  body(0);
  for (std::thread& other : others) other.join();

  double best = 1e30;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const size_t first = static_cast<size_t>(repeat) * threads;
    const double started =
        *std::min_element(&begin[first], &begin[first] + threads);
    const double ended = *std::max_element(&end[first], &end[first] + threads);
    best = std::min(best, ended - started);
  }
  return best;
}

// Keeps the compiler from dropping what led to `value`.
template <typename T>
void Keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

// --- Memory. `count` is in bytes, a multiple of 256. ---

#if defined(__x86_64__)

#define TF_ROIALIGN_TARGET(isa) __attribute__((target(isa)))

TF_ROIALIGN_TARGET("avx2") void Read(const char* from, size_t count) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (size_t i = 0; i < count; i += 128) {
    const auto* p = reinterpret_cast<const __m256i*>(from + i);
    a = _mm256_xor_si256(a, _mm256_load_si256(p));
    b = _mm256_xor_si256(b, _mm256_load_si256(p + 1));
    c = _mm256_xor_si256(c, _mm256_load_si256(p + 2));
    d = _mm256_xor_si256(d, _mm256_load_si256(p + 3));
  }
  Keep(_mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}

template <bool kStream>
TF_ROIALIGN_TARGET("avx2")
void Fill(char* to, size_t count) {
  const __m256i zero = _mm256_setzero_si256();
  for (size_t i = 0; i < count; i += 32) {
    auto* p = reinterpret_cast<__m256i*>(to + i);
    if (kStream) {
      _mm256_stream_si256(p, zero);
    } else {
      _mm256_store_si256(p, zero);
      asm volatile("" : : : "memory");  // not a call of memset
    }
  }
  _mm_sfence();
}

template <bool kStream>
TF_ROIALIGN_TARGET("avx2")
void Copy(char* to, const char* from, size_t count) {
  for (size_t i = 0; i < count; i += 32) {
    const auto* p = reinterpret_cast<const __m256i*>(from + i);
    auto* q = reinterpret_cast<__m256i*>(to + i);
    if (kStream) {
      _mm256_stream_si256(q, _mm256_load_si256(p));
    } else {
      _mm256_store_si256(q, _mm256_load_si256(p));
      asm volatile("" : : : "memory");
    }
  }
  _mm_sfence();
}

bool HasVectors() { return __builtin_cpu_supports("avx2"); }

#else

void Read(const char* from, size_t count) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i < count; i += 64) {
    uint64_t words[8];
    std::memcpy(words, from + i, sizeof(words));
    for (int j = 0; j < 8; ++j) sum[j] ^= words[j];
  }
  Keep(sum);
}

template <bool kStream>
void Fill(char* to, size_t count) {
  std::memset(to, 0, count);
  Keep(to);
}

template <bool kStream>
void Copy(char* to, const char* from, size_t count) {
  std::memcpy(to, from, count);
  Keep(to);
}

bool HasVectors() { return true; }

#endif

char* Map(size_t count) {
  void* memory = mmap(nullptr, count, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  return static_cast<char*>(memory);
}

// Writes memory that the program has just been given, as for the output of an
// op: the kernel has to find and clear each page first. With `huge`, asks for
// pages of 2 MiB.
void FillFresh(size_t count, bool huge) {
  char* memory = Map(count + kAlign);
  char* aligned = reinterpret_cast<char*>(
      (reinterpret_cast<uintptr_t>(memory) + kAlign - 1) / kAlign * kAlign);
  if (huge) madvise(aligned, count, MADV_HUGEPAGE);
  Fill<false>(aligned, count);
  munmap(memory, count + kAlign);
}

// --- Multiply-adds: independent chains in registers. ---

constexpr int64_t kSteps = 4'000'000;

// kChains vectors of T, which the compiler knows how to multiply and add.
template <typename T, int kChains>
inline __attribute__((always_inline)) void Chains(T scale, T offset) {
  T chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = offset * float(i);
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) {
      chain[i] = chain[i] * scale + offset;
      asm("" : "+x"(chain[i]));
    }
  }
  for (int i = 0; i < kChains; ++i) Keep(chain[i]);
}

#if defined(__x86_64__)
typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));

void Baseline() { Chains<Float4, 12>(Float4{} + 0.999f, Float4{} + 1e-3f); }

// In intrinsics, for contraction is off in this project.
TF_ROIALIGN_TARGET("avx2,fma") void Avx2() {
  __m256 chain[12];
  const __m256 scale = _mm256_set1_ps(0.999f), offset = _mm256_set1_ps(1e-3f);
  for (__m256& c : chain) c = offset;
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < 12; ++i) {
      chain[i] = _mm256_fmadd_ps(chain[i], scale, offset);
    }
  }
  for (__m256& c : chain) Keep(c);
}

TF_ROIALIGN_TARGET("avx512f") void Avx512() {
  __m512 chain[16];
  const __m512 scale = _mm512_set1_ps(0.999f), offset = _mm512_set1_ps(1e-3f);
  for (__m512& c : chain) c = offset;
  for (int64_t step = 0; step < kSteps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < 16; ++i) {
      chain[i] = _mm512_fmadd_ps(chain[i], scale, offset);
    }
  }
  for (__m512& c : chain) Keep(c);
}
#endif

class Json {
 public:
  void Add(const std::string& name, double value) {
    char text[64];
    std::snprintf(text, sizeof(text), "%.3f", value);
    fields_ += (fields_.empty() ? "\"" : ", \"") + name + "\": " + text;
  }
  std::string text() const { return "{" + fields_ + "}"; }

 private:
  std::string fields_;
};

std::string Bandwidth(int threads, char* from, char* to) {
  const size_t part = kBytes / threads / 4096 * 4096;
  Json json;
  const auto measure = [&](const char* name, double moved,
                           const std::function<void(size_t)>& work) {
    const double seconds =
        BestSeconds(threads, [&](int thread) { work(thread * part); });
    json.Add(name, moved * double(part) * threads / seconds * 1e-9);
  };
  measure("read", 1, [&](size_t at) { Read(from + at, part); });
  measure("fill", 1, [&](size_t at) { Fill<false>(to + at, part); });
  measure("fill_stream", 1, [&](size_t at) { Fill<true>(to + at, part); });
  measure("copy", 2, [&](size_t at) { Copy<false>(to + at, from + at, part); });
  measure("copy_stream", 2,
          [&](size_t at) { Copy<true>(to + at, from + at, part); });
  measure("fill_fresh", 1, [&](size_t) { FillFresh(part, false); });
  measure("fill_fresh_huge", 1, [&](size_t) { FillFresh(part, true); });
  return json.text();
}

std::string MultiplyAdds(int threads) {
  Json json;
#if defined(__x86_64__)
  const auto measure = [&](const char* name, int lanes, void (*work)()) {
    const double seconds = BestSeconds(threads, [&](int) { work(); });
    json.Add(name, double(kSteps) * lanes * threads / seconds * 1e-9);
  };
  measure("baseline", 12 * 4, Baseline);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    measure("avx2", 12 * 8, Avx2);
  }
  if (__builtin_cpu_supports("avx512f")) measure("avx512", 16 * 16, Avx512);
#endif
  return json.text();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<int> counts;
  for (int i = 1; i < argc; ++i) counts.push_back(std::atoi(argv[i]));
  if (counts.empty()) counts = {1, 2};
  for (int count : counts) {
    if (count < 1 || count > 256) {
      std::fprintf(stderr, "machine_limits: threads must be in [1, 256]\n");
      return 1;
    }
  }
  if (!HasVectors()) {
    std::fprintf(stderr, "machine_limits: this CPU has no AVX2\n");
    return 1;
  }
  char* from = Map(kBytes);
  char* to = Map(kBytes);
  Fill<false>(from, kBytes);
  Fill<false>(to, kBytes);
  std::string bandwidth, multiply_adds;
  for (int count : counts) {
    const std::string key =
        (bandwidth.empty() ? "\"" : ", \"") + std::to_string(count) + "\": ";
    bandwidth += key + Bandwidth(count, from, to);
    multiply_adds += key + MultiplyAdds(count);
  }
  std::printf("{\"bandwidth\": {%s}, \"multiply_adds\": {%s}}\n",
              bandwidth.c_str(), multiply_adds.c_str());
  return 0;
}
