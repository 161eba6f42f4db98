#include <cstdlib>
#include <cstring>

#include "core/kernels/kernels.hpp"

namespace backsweep {

// The tables that this build has; see CMakeLists.txt.
#define BACKSWEEP_DECLARE(isa)             \
  namespace isa {                          \
  const Kernels<float>& float_kernels();   \
  const Kernels<double>& double_kernels(); \
  }
BACKSWEEP_DECLARE(baseline)
#if defined(BACKSWEEP_X86_KERNELS)
BACKSWEEP_DECLARE(avx2)
BACKSWEEP_DECLARE(avx512)
#endif
#undef BACKSWEEP_DECLARE
#if defined(BACKSWEEP_BF16_KERNELS)
namespace avx512_bf16 {
void product(bool p_along_rows, const Matrix<const float>& A, const Matrix<const float>& B, const float* init,
             const Matrix<float>& C, const ProductOptions<float>&);
}
#endif

namespace {

struct InstructionSet {
  const char* name;
  bool (*present)();
  const Kernels<float>& (*float_kernels)();
  const Kernels<double>& (*double_kernels)();
};

// The best first. The last is what the compiler takes for granted.
const InstructionSet all_sets[] = {
#if defined(BACKSWEEP_X86_KERNELS)
    {"avx512",
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("fma");
     },
     &avx512::float_kernels, &avx512::double_kernels},
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
     &avx2::float_kernels, &avx2::double_kernels},
#endif
    {"baseline", [] { return true; }, &baseline::float_kernels, &baseline::double_kernels},
};

const InstructionSet& choose() {
  const char* wanted = std::getenv("BACKSWEEP_ISA");
  const InstructionSet* best = nullptr;
  for (const InstructionSet& set : all_sets) {
    if (!set.present()) continue;
    if (wanted != nullptr && std::strcmp(wanted, set.name) == 0) return set;
    if (best == nullptr) best = &set;
  }
  return *best;
}

const InstructionSet& chosen() {
  static const InstructionSet& set = choose();
  return set;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const Kernels<float>& table = chosen().float_kernels();
  return table;
}

template <>
const Kernels<double>& kernels<double>() {
  static const Kernels<double>& table = chosen().double_kernels();
  return table;
}

Product<float> bf16_instructions() {
#if defined(BACKSWEEP_BF16_KERNELS)
  const bool is_chosen = &kernels<float>() == &avx512::float_kernels();
  if (is_chosen && __builtin_cpu_supports("avx512bf16")) return &avx512_bf16::product;
#endif
  return nullptr;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : all_sets) {
    if (set.present()) names.emplace_back(set.name);
  }
  return names;
}

std::string instruction_set() { return chosen().name; }

}  // namespace backsweep
