// Rows of data as T: see core/conversion.hpp.
#pragma once

#include "core/ahead.hpp"
#include "core/conversion.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

template <class E>
inline E element(const unsigned char* x, std::size_t j) {
  E value;
  std::memcpy(&value, x + j * sizeof(E), sizeof(E));
  return value;
}

template <class T, class E>
inline T converted(E x) {
  return static_cast<T>(x);
}

// Without a branch, so that loops vectorise. A half's subnormal numbers are made of their integers: as those
// of float they would count as 0 where such do.
template <class T>
inline T converted(Half half) {
  const std::uint32_t exponent = half.bits >> 10 & 0x1fu, mantissa = half.bits & 0x3ffu;
  // The exponent's bias moves from 15 to 127; all ones stay all ones (infinity, NaN).
  const std::uint32_t moved = exponent == 31 ? 255 : exponent + 112;
  const std::uint32_t bits = moved << 23 | mantissa << 13;
  float normal;
  std::memcpy(&normal, &bits, sizeof normal);
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(mantissa)) * 0x1p-24f;
  const float magnitude = exponent == 0 ? subnormal : normal;
  return static_cast<T>((half.bits & 0x8000u) != 0 ? -magnitude : magnitude);
}

template <class T, class E>
void convert(const unsigned char* x, std::size_t n, T* z) {
  for (std::size_t j = 0; j < n; ++j) z[j] = converted<T>(element<E>(x, j));
}

// The difference is taken in double: a column of large values that vary little keeps its digits.
template <class T, class E>
void standardise(const unsigned char* x, std::size_t n, const double* mean, const double* inverse_scale,
                 T* z) {
  for (std::size_t j = 0; j < n; ++j) {
    z[j] = static_cast<T>((converted<double>(element<E>(x, j)) - mean[j]) * inverse_scale[j]);
  }
}

// From several places at once, since memory answers several requests in the time of one.
template <class T, class E>
bool all_finite(const unsigned char* x, std::size_t n) {
  constexpr std::size_t places = 4, ahead = 2048, size = sizeof(E), width = lanes<T>;
  using Stored = VectorOf<E, width * size>;
  const std::size_t part = n / (places * width) * width;
  Vector<T> zeros[places] = {};  // Σ 0 · x, which is NaN where an x is not finite
  for (std::size_t i = 0; i < part; i += width) {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < places; ++k) {
      const unsigned char* p = x + (k * part + i) * size;
      ask_for(p + ahead);
      Stored stored;
      std::memcpy(&stored, p, sizeof stored);
      zeros[k] += T(0) * __builtin_convertvector(stored, Vector<T>);
    }
  }
  T rest = 0;
  for (std::size_t j = places * part; j < n; ++j) rest += T(0) * converted<T>(element<E>(x, j));
  const Vector<T> sum = (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]) + (rest - Vector<T>{});
  return !any_lane(sum != sum);
}

template <class T>
bool all_halves_finite(const unsigned char* x, std::size_t n) {
  constexpr std::uint16_t not_finite = 0x7c00;
  unsigned any = 0;
  for (std::size_t j = 0; j < n; ++j) any |= (element<std::uint16_t>(x, j) & not_finite) == not_finite;
  return any == 0;
}

template <class T>
constexpr Conversions<T> conversions = {
    {&convert<T, std::uint8_t>, &standardise<T, std::uint8_t>, nullptr},
    {&convert<T, Half>, &standardise<T, Half>, &all_halves_finite<T>},
    {&convert<T, float>, &standardise<T, float>, &all_finite<T, float>},
    {&convert<T, double>, &standardise<T, double>, &all_finite<T, double>}};

}  // namespace
}  // namespace backsweep
