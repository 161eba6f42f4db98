// A vector of T as wide as the instruction set that this file is compiled for, by the vector extension of GCC
// and Clang: + - * / and comparisons work entry by entry. Only the files of this folder include it, and all
// that they define has internal linkage, because they are compiled once for each instruction set.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace backsweep {
namespace {

#if defined(BACKSWEEP_VECTOR_BYTES)
constexpr std::size_t vector_bytes = BACKSWEEP_VECTOR_BYTES;
#else
constexpr std::size_t vector_bytes = 16;
#endif

template <class T, std::size_t bytes>
struct VectorType {
  typedef T type __attribute__((vector_size(bytes)));
};
template <class T, std::size_t bytes>
using VectorOf = typename VectorType<T, bytes>::type;
template <class T>
using Vector = VectorOf<T, vector_bytes>;
template <class T>
using Integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
template <class T>
using Integers = VectorOf<Integer<T>, vector_bytes>;

template <class T>
constexpr std::size_t lanes = vector_bytes / sizeof(T);

template <class T>
inline Vector<T> load(const T* p) {
  Vector<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
inline void store(T* p, Vector<T> v) {
  std::memcpy(p, &v, sizeof v);
}

// A part of a vector: the first n entries at p, and zeros. V may be narrower than a register.
#if defined(__AVX512VL__)
inline void load_masked(const float* p, unsigned n, VectorOf<float, 64>& v) {
  v = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
inline void load_masked(const float* p, unsigned n, VectorOf<float, 32>& v) {
  v = _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void load_masked(const float* p, unsigned n, VectorOf<float, 16>& v) {
  v = _mm_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void load_masked(const double* p, unsigned n, VectorOf<double, 64>& v) {
  v = _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void load_masked(const double* p, unsigned n, VectorOf<double, 32>& v) {
  v = _mm256_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void load_masked(const double* p, unsigned n, VectorOf<double, 16>& v) {
  v = _mm_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
inline void store_masked(float* p, unsigned n, VectorOf<float, 64> v) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
inline void store_masked(float* p, unsigned n, VectorOf<float, 32> v) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), v);
}
inline void store_masked(float* p, unsigned n, VectorOf<float, 16> v) {
  _mm_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), v);
}
inline void store_masked(double* p, unsigned n, VectorOf<double, 64> v) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
inline void store_masked(double* p, unsigned n, VectorOf<double, 32> v) {
  _mm256_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
inline void store_masked(double* p, unsigned n, VectorOf<double, 16> v) {
  _mm_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
#else
template <class T, class V>
inline void load_masked(const T* p, unsigned n, V& v) {
  v = V{};
  for (unsigned i = 0; i < n; ++i) v[i] = p[i];
}
template <class T, class V>
inline void store_masked(T* p, unsigned n, V v) {
  for (unsigned i = 0; i < n; ++i) p[i] = v[i];
}
#endif

template <class V, class T>
inline V load_part(const T* p, std::size_t n) {
  V v;
  if (n >= sizeof(V) / sizeof(T)) {
    std::memcpy(&v, p, sizeof(V));
  } else {
    load_masked(p, static_cast<unsigned>(n), v);
  }
  return v;
}

template <class V, class T>
inline void store_part(T* p, V v, std::size_t n) {
  if (n >= sizeof(V) / sizeof(T)) {
    std::memcpy(p, &v, sizeof(V));
  } else {
    store_masked(p, static_cast<unsigned>(n), v);
  }
}

template <class T>
inline Vector<T> splat(T x) {
  return x - Vector<T>{};  // x - 0 is x, even for -0
}

template <class T>
inline Vector<T> larger(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}

// √x, rounded correctly.
template <class V>
inline V square_root(V x) {
#if defined(__AVX512F__)
  // With a mask of all ones: the form without one trips a warning of GCC's.
  if constexpr (sizeof(x[0]) == 4) return _mm512_maskz_sqrt_ps(0xffff, x);
  if constexpr (sizeof(x[0]) == 8) return _mm512_maskz_sqrt_pd(0xff, x);
#elif defined(__AVX2__)
  if constexpr (sizeof(x[0]) == 4) return _mm256_sqrt_ps(x);
  if constexpr (sizeof(x[0]) == 8) return _mm256_sqrt_pd(x);
#endif
  for (std::size_t l = 0; l < sizeof(V) / sizeof(x[0]); ++l) x[l] = std::sqrt(x[l]);
  return x;
}

// exp, to about 1 ULP: x = n ln 2 + r with |r| ≤ ln 2 / 2, a polynomial in r (Cephes), and 2ⁿ put into the
// exponent in two steps, so that results near the ends of the range come out right.
inline Vector<float> exponential(Vector<float> x) {
  constexpr float log2_e = 1.44269504088896341f;
  constexpr float ln2_high = 0.693359375f;
  constexpr float ln2_low = -2.12194440e-4f;
  const Vector<float> low = splat(-104.0f), high = splat(89.0f);
  // Comparisons with NaN are false: it stays what it is.
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Vector<float> shift = splat(12582912.0f);  // 1.5 · 2²³: adding it rounds to an integer
  const Vector<float> n = (x * log2_e + shift) - shift;
  const Vector<float> r = (x - n * ln2_high) - n * ln2_low;
  Vector<float> p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Integers<float> exponent = __builtin_convertvector(n, Integers<float>);
  const Integers<float> half = exponent >> 1;
  const Integers<float> scale1 = (half + 127) << 23, scale2 = (exponent - half + 127) << 23;
  Vector<float> s1, s2;
  std::memcpy(&s1, &scale1, sizeof s1);
  std::memcpy(&s2, &scale2, sizeof s2);
  const Vector<float> result = p * s1 * s2;
  return x == x ? result : x;
}

// log of a positive normal number, to about 1 ULP: x = 2ᵉ (1 + f) with 1 + f in [√½, √2), a polynomial in f
// (Cephes). NaN and infinity stay what they are.
inline Vector<float> logarithm(Vector<float> x) {
  Integers<float> bits;
  std::memcpy(&bits, &x, sizeof bits);
  Integers<float> exponent = (bits >> 23) - 126;
  const Integers<float> fraction = (bits & 0x007fffff) | 0x3f000000;  // in [½, 1)
  Vector<float> m;
  std::memcpy(&m, &fraction, sizeof m);
  const Integers<float> below = m < splat(0.707106781186547524f);
  exponent += below;  // a true comparison is -1
  const Vector<float> f = below ? m + m - 1.0f : m - 1.0f;
  const Vector<float> e = __builtin_convertvector(exponent, Vector<float>);
  Vector<float> p = splat(7.0376836292e-2f);
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const Vector<float> f2 = f * f;
  Vector<float> result = p * f * f2 + e * -2.12194440e-4f;
  result = result - 0.5f * f2 + f + e * 0.693359375f;
  const Integers<float> ordinary = (bits & 0x7f800000) != 0x7f800000;
  return ordinary ? result : x;
}

inline Vector<double> logarithm(Vector<double> x) {
  for (std::size_t l = 0; l < lanes<double>; ++l) x[l] = std::log(x[l]);
  return x;
}

inline Vector<double> exponential(Vector<double> x) {
  for (std::size_t l = 0; l < lanes<double>; ++l) x[l] = std::exp(x[l]);
  return x;
}

}  // namespace
}  // namespace backsweep
