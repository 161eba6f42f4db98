// The products for a handful of samples: too few to fill a vector, so the vector runs along the outputs, and
// W is read once along its rows.
//
//   Z_next[r, :] = b + Σ_p Z(r, p) W[p, :]
//
// row_product takes and gives samples as they come from outside, one to a row; column_product as they lie in
// a batch, one to a column.
#pragma once

#include <algorithm>
#include <cassert>

#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// So many rows of W at a time: the factors of all samples stay in registers while the outputs go by. (Of one
// sample they come from memory, which is then idle.)
template <std::size_t samples>
constexpr std::size_t rows_of_W_at_once = samples == 1 ? 8 : (vector_bytes == 64 ? 16 : 8) / samples;
// So many at a time that they stay in the second-level cache while the outputs go by in pieces.
constexpr std::size_t rows_of_W_in_chunk = 128;

// So many bytes of a sample's outputs at a time: whole vectors.
constexpr std::size_t bytes_of_outputs = 2048;

// Values of samples, whichever way they lie: how far it is from one sample to the next, and from one feature.
template <class T>
struct Samples {
  T* data;
  std::size_t sample;
  std::size_t feature;

  Samples from_feature(std::size_t j) const { return {data + j * feature, sample, feature}; }
};

// out = b, to the end of a whole vector.
template <class T>
void begin_sum(const T* b, std::size_t n, T* out) {
  for (std::size_t j = 0; j < n; j += lanes<T>) {
    store(out + j, b != nullptr ? load_part<Vector<T>>(b + j, n - j) : Vector<T>{});
  }
}

// out[s][:] += Σ_q factors[q][s] rows[q][:]; out has room for whole vectors.
template <class T, std::size_t samples>
void add_multiples(const T* factors, const T* const* rows, std::size_t n, T* out, std::size_t out_stride) {
  constexpr std::size_t at_once = rows_of_W_at_once<samples>;
  const auto add = [&](std::size_t j, auto read) __attribute__((always_inline)) {
    Vector<T> sums[samples];
#pragma GCC unroll 4
    for (std::size_t s = 0; s < samples; ++s) sums[s] = load(out + s * out_stride + j);
#pragma GCC unroll 8
    for (std::size_t q = 0; q < at_once; ++q) {
      const Vector<T> w = read(rows[q] + j);
#pragma GCC unroll 4
      for (std::size_t s = 0; s < samples; ++s) sums[s] += factors[q * samples + s] * w;
    }
#pragma GCC unroll 4
    for (std::size_t s = 0; s < samples; ++s) store(out + s * out_stride + j, sums[s]);
  };
  std::size_t j = 0;
  for (; j + lanes<T> <= n; j += lanes<T>) add(j, [](const T* p) { return load(p); });
  if (j < n) add(j, [&](const T* p) { return load_part<Vector<T>>(p, n - j); });
}

// out[s][:] += Σ_p Z(s, p) W[p, :] for a chunk of W. After a relu half of Z is 0: a row of W that all samples
// multiply by 0 is not read.
template <class T, std::size_t samples>
void add_product(Samples<const T> Z, ConstMatrix<T> W, T* out, std::size_t out_stride) {
  constexpr std::size_t at_once = rows_of_W_at_once<samples>;
  T factors[(rows_of_W_in_chunk + at_once) * samples];
  const T* rows[rows_of_W_in_chunk + at_once];
  std::size_t count = 0;
  for (std::size_t p = 0; p < W.rows; ++p) {
    bool any = false;
    for (std::size_t s = 0; s < samples; ++s) {
      const T z = Z.data[s * Z.sample + p * Z.feature];
      factors[count * samples + s] = z;
      any |= z != T(0);
    }
    rows[count] = W.row(p);
    count += any;
  }
  for (std::size_t q = count; q < count + at_once; ++q) {
    for (std::size_t s = 0; s < samples; ++s) factors[q * samples + s] = 0;
    rows[q] = W.data;
  }
  for (std::size_t q = 0; q < count; q += at_once) {
    add_multiples<T, samples>(factors + q * samples, rows + q, W.cols, out, out_stride);
  }
}

// Sums of whole vectors that lie side by side are kept where they belong, others beside.
template <class T>
void product_of_few(std::size_t m, Samples<const T> Z, ConstMatrix<T> W, const T* b, Samples<T> Z_next) {
  constexpr std::size_t outputs_at_a_time = bytes_of_outputs / sizeof(T);
  alignas(cache_line) T beside[few_samples * outputs_at_a_time];
  static_assert(few_samples == 4);
  assert(1 <= m && m <= few_samples);
  const auto add = m == 1   ? &add_product<T, 1>
                   : m == 2 ? &add_product<T, 2>
                   : m == 3 ? &add_product<T, 3>
                            : &add_product<T, 4>;
  for (std::size_t first = 0; first < W.cols; first += outputs_at_a_time) {
    const std::size_t n = std::min(outputs_at_a_time, W.cols - first);
    const bool in_place = Z_next.feature == 1 && n % lanes<T> == 0;
    T* const sums = in_place ? Z_next.data + first : beside;
    const std::size_t stride = in_place ? Z_next.sample : outputs_at_a_time;
    for (std::size_t s = 0; s < m; ++s) begin_sum(b != nullptr ? b + first : b, n, sums + s * stride);
    for (std::size_t begin = 0; begin < W.rows; begin += rows_of_W_in_chunk) {
      const std::size_t count = std::min(rows_of_W_in_chunk, W.rows - begin);
      add(Z.from_feature(begin), W.row_range(begin, count).col_range(first, n), sums, stride);
    }
    for (std::size_t s = 0; s < m && !in_place; ++s) {
      T* const z = Z_next.data + s * Z_next.sample + first * Z_next.feature;
      for (std::size_t j = 0; j < n; ++j) z[j * Z_next.feature] = sums[s * stride + j];
    }
  }
}

template <class T>
void row_product(ConstMatrix<T> Z, ConstMatrix<T> W, const T* b, Matrix<T> Z_next) {
  product_of_few<T>(Z.rows, {Z.data, Z.stride, 1}, W, b, {Z_next.data, Z_next.stride, 1});
}

template <class T>
void column_product(ConstMatrix<T> Z, ConstMatrix<T> W, const T* b, Matrix<T> Z_next) {
  product_of_few<T>(Z.cols, {Z.data, 1, Z.stride}, W, b, {Z_next.data, 1, Z_next.stride});
}

}  // namespace
}  // namespace backsweep
