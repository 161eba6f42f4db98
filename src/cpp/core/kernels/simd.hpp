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
#include <limits>
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
#if defined(__AVX2__)
inline __m256i first_of_8(unsigned n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_of_4(unsigned n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<int>(n)), _mm256_setr_epi64x(0, 1, 2, 3));
}
inline void load_masked(const float* p, unsigned n, VectorOf<float, 32>& v) {
  v = _mm256_maskload_ps(p, first_of_8(n));
}
inline void load_masked(const float* p, unsigned n, VectorOf<float, 16>& v) {
  v = _mm_maskload_ps(p, _mm256_castsi256_si128(first_of_8(n)));
}
inline void load_masked(const double* p, unsigned n, VectorOf<double, 32>& v) {
  v = _mm256_maskload_pd(p, first_of_4(n));
}
inline void load_masked(const double* p, unsigned n, VectorOf<double, 16>& v) {
  v = _mm_maskload_pd(p, _mm256_castsi256_si128(first_of_4(n)));
}
#else
template <class T, class V>
inline void load_masked(const T* p, unsigned n, V& v) {
  v = V{};
  for (unsigned i = 0; i < n; ++i) v[i] = p[i];
}
#endif
// In halves: a masked store takes some processors as long as twenty others.
template <class T, class V>
inline void store_masked(T* p, unsigned n, V v) {
  constexpr unsigned all = sizeof(V) / sizeof(T);
  T entries[all];
  std::memcpy(entries, &v, sizeof v);
  unsigned at = 0;
#pragma GCC unroll 4
  for (unsigned part = all / 2; part > 0; part /= 2) {
    if ((n & part) == 0) continue;
    std::memcpy(p + at, entries + at, part * sizeof(T));
    at += part;
  }
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

// Whether a lane is one of the first n.
template <class T>
inline Integers<T> first_lanes(std::size_t n) {
  Integers<T> lane{};
  for (std::size_t l = 0; l < lanes<T>; ++l) lane[l] = static_cast<Integer<T>>(l);
  return lane < static_cast<Integer<T>>(n) - Integers<T>{};
}

// Whether a comparison holds in any lane.
template <class V>
inline bool any_lane(V holds) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    const auto bits = reinterpret_cast<__m512i>(holds);
    return _mm512_test_epi64_mask(bits, bits) != 0;
  }
#endif
  std::uint64_t words[sizeof(V) / 8], any = 0;
  std::memcpy(words, &holds, sizeof holds);
  for (const std::uint64_t word : words) any |= word;
  return any != 0;
}

// A vector of pieces of 16 bytes.
constexpr std::size_t piece_bytes = 16;
template <class T>
inline Vector<T> joined(const VectorOf<T, piece_bytes> (&pieces)[vector_bytes / piece_bytes]) {
#if defined(__AVX512DQ__)
  if constexpr (sizeof(T) == 4) {
    __m512 v = _mm512_castps128_ps512(pieces[0]);
    v = _mm512_insertf32x4(v, pieces[1], 1);
    v = _mm512_insertf32x4(v, pieces[2], 2);
    return _mm512_insertf32x4(v, pieces[3], 3);
  } else {
    __m512d v = _mm512_castpd128_pd512(pieces[0]);
    v = _mm512_insertf64x2(v, pieces[1], 1);
    v = _mm512_insertf64x2(v, pieces[2], 2);
    return _mm512_insertf64x2(v, pieces[3], 3);
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(pieces[0]), pieces[1], 1);
  } else {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(pieces[0]), pieces[1], 1);
  }
#else
  return pieces[0];
#endif
}

// max(x, 0); NaN stays. x86 has an instruction for it, which the compiler does not take for the comparison.
template <class V>
inline V positive_part(V x) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<V, VectorOf<float, 64>>) return _mm512_maskz_max_ps(0xffff, V{}, x);
  if constexpr (std::is_same_v<V, VectorOf<double, 64>>) return _mm512_maskz_max_pd(0xff, V{}, x);
#endif
  return x < V{} ? V{} : x;
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

// a / b for b > 0, within 2 ULP. Where the unit that divides is what a loop waits for, an approximation and
// Newton's steps take their time on others.
template <class V>
inline V quotient(V a, V b) {
#if defined(__AVX512F__)
  using T = std::decay_t<decltype(a[0])>;
  constexpr T largest = std::numeric_limits<T>::max();
  V reciprocal;
  // Of ∞ the approximation is 0, and 0 · ∞ no number. NaN, as the second, stays.
  if constexpr (sizeof(T) == 4) {
    b = _mm512_maskz_min_ps(0xffff, largest - V{}, b);
    reciprocal = _mm512_maskz_rcp14_ps(0xffff, b);
  } else {
    b = _mm512_maskz_min_pd(0xff, largest - V{}, b);
    reciprocal = _mm512_maskz_rcp14_pd(0xff, b);
    reciprocal += reciprocal * (1 - b * reciprocal);
  }
  return a * (reciprocal + reciprocal * (1 - b * reciprocal));
#else
  return a / b;
#endif
}

}  // namespace
}  // namespace backsweep
