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
  constexpr std::size_t vectors = samples_to_a_flag / lanes<T>;
  std::size_t empty = 0;
  for (std::size_t j = 0; j < Z.rows; ++j) {
    Integers<T> occupied{};
#pragma GCC unroll 8
    for (std::size_t v = 0; v < vectors; ++v) {
      const std::size_t at = v * lanes<T>;
      const Vector<T> z = Z.cols == samples_to_a_flag ? load(Z.row(j) + at)
                          : at < Z.cols               ? load_part<Vector<T>>(Z.row(j) + at, Z.cols - at)
                                                      : Vector<T>{};
      occupied |= z != Vector<T>{};
    }
    const bool any = any_lane(occupied);
    flags[j] = any;
    empty += !any;
  }
  return empty;
}

}  // namespace
}  // namespace backsweep
