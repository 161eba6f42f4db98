// Which features of a tile of samples are not zero throughout: what products leave out is decided here.
#pragma once

#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// flags[j] for feature j of Z(n, m), with m as many samples as share a flag, or fewer. How many are 0.
template <class T>
std::size_t find_occupied(ConstMatrix<T> Z, unsigned char* flags) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits sign = Bits(1) << (8 * sizeof(T) - 1);
  std::size_t empty = 0;
  for (std::size_t j = 0; j < Z.rows; ++j) {
    Bits words[samples_to_a_flag] = {};
    std::memcpy(words, Z.row(j), Z.cols == samples_to_a_flag ? sizeof words : Z.cols * sizeof(T));
    Bits any = 0;
    for (const Bits word : words) any |= word & ~sign;  // -0 is zero too
    flags[j] = any != 0;
    empty += any == 0;
  }
  return empty;
}

}  // namespace
}  // namespace backsweep
