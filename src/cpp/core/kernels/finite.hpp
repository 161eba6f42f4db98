// Whether numbers are finite: what all input is asked first.
#pragma once

#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

// From several places at once, since memory answers several requests in the time of one.
template <class T>
bool all_finite(const T* x, std::size_t n) {
  constexpr std::size_t places = 4, ahead = 2048 / sizeof(T);
  const std::size_t part = n / (places * lanes<T>)*lanes<T>;
  Vector<T> zeros[places] = {};  // Σ 0 · x, which is NaN where an x is not finite
  for (std::size_t i = 0; i < part; i += lanes<T>) {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < places; ++k) {
      const T* p = x + k * part + i;
      ask_for(p + ahead);
      zeros[k] += T(0) * load(p);
    }
  }
  for (std::size_t i = places * part; i < n; i += lanes<T>) {
    zeros[0] += T(0) * load_part<Vector<T>>(x + i, n - i);
  }
  const Vector<T> sum = (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]);
  return !any_lane(sum != sum);
}

}  // namespace
}  // namespace backsweep
