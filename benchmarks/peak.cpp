// The most multiply-adds a core can do, in FLOP a second: `peak THREADS` prints it for so many threads together.
// Compiled on the machine that it measures, for that machine's instruction set.
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr std::size_t bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t bytes = 32;
#else
constexpr std::size_t bytes = 16; // SSE, NEON
#endif
typedef float Vector __attribute__((vector_size(bytes)));

constexpr int chains = 12; // enough to hide the latency of 4 cycles at two a cycle, few enough for 16 registers
constexpr long rounds = 200'000;
constexpr int repetitions = 12; // the fastest counts

static void multiply_add(float factor) {
  Vector a = Vector{} + factor, b = Vector{} + 1e-3F, sums[chains];
  for (int j = 0; j < chains; ++j)
    sums[j] = b * static_cast<float>(j); // all different, or one would do for all
  for (long i = 0; i < rounds; ++i)
    for (Vector &sum : sums)
      sum = sum * a + b; // contracted to one instruction
  for (Vector &sum : sums)
    asm volatile("" ::"m"(sum)); // the results are wanted
}

int main(int argc, char **argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 1;
  const float factor = argc > 2 ? 0.0F : 0.999F; // not known to the compiler
  double best = 1e300;
  for (int r = 0; r < repetitions; ++r) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (long t = 1; t < count; ++t)
      others.emplace_back(multiply_add, factor);
    multiply_add(factor);
    for (std::thread &other : others)
      other.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (seconds.count() < best)
      best = seconds.count();
  }
  const double flops = 2.0 * rounds * chains * (bytes / sizeof(float)) * static_cast<double>(count);
  std::printf("%.6g\n", flops / best);
}
