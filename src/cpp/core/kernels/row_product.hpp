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

constexpr std::size_t rows_of_W_at_once = 8;
// So many at a time that they stay in the second-level cache while all samples go by.
constexpr std::size_t rows_of_W_in_chunk = 128;

// So many bytes of a sample's outputs at a time: whole vectors.
constexpr std::size_t bytes_of_outputs = 2048;

// out = b, to the end of a whole vector.
template <class T>
void begin_sum(const T* b, std::size_t n, T* out) {
  for (std::size_t j = 0; j < n; j += lanes<T>) {
    store(out + j, b != nullptr ? load_part<Vector<T>>(b + j, n - j) : Vector<T>{});
  }
}

// out += Σ_q factors[q] rows[q][:]; out has room for whole vectors.
template <class T>
void add_multiples(const T* factors, const T* const* rows, std::size_t n, T* out) {
  const auto add = [&](std::size_t j, auto read) __attribute__((always_inline)) {
    Vector<T> sum = load(out + j);
#pragma GCC unroll 8
    for (std::size_t q = 0; q < rows_of_W_at_once; ++q) sum += factors[q] * read(rows[q] + j);
    store(out + j, sum);
  };
  std::size_t j = 0;
  for (; j + lanes<T> <= n; j += lanes<T>) add(j, [](const T* p) { return load(p); });
  if (j < n) add(j, [&](const T* p) { return load_part<Vector<T>>(p, n - j); });
}

// out += Σ_p z[p] W[p, :] for a chunk of W; from one z to the next it is so far. After a relu half of them
// are 0: their rows of W are not read.
template <class T>
void add_product(const T* z, std::size_t stride, ConstMatrix<T> W, T* out) {
  T factors[rows_of_W_in_chunk + rows_of_W_at_once];
  const T* rows[rows_of_W_in_chunk + rows_of_W_at_once];
  std::size_t count = 0;
  for (std::size_t p = 0; p < W.rows; ++p, z += stride) {
    factors[count] = *z;
    rows[count] = W.row(p);
    count += *z != T(0) ? 1 : 0;
  }
  for (std::size_t q = count; q < count + rows_of_W_at_once; ++q) {
    factors[q] = 0;
    rows[q] = W.data;
  }
  for (std::size_t q = 0; q < count; q += rows_of_W_at_once)
    add_multiples(factors + q, rows + q, W.cols, out);
}

// Values of samples, whichever way they lie: how far it is from one sample to the next, and from one feature.
template <class T>
struct Samples {
  T* data;
  std::size_t sample;
  std::size_t feature;
};

// Sums of whole vectors that lie side by side are kept where they belong, others beside.
template <class T>
void product_of_few(std::size_t m, Samples<const T> Z, ConstMatrix<T> W, const T* b, Samples<T> Z_next) {
  constexpr std::size_t outputs_at_a_time = bytes_of_outputs / sizeof(T);
  alignas(cache_line) T beside[few_samples * outputs_at_a_time];
  assert(m <= few_samples);
  for (std::size_t first = 0; first < W.cols; first += outputs_at_a_time) {
    const std::size_t n = std::min(outputs_at_a_time, W.cols - first);
    const bool in_place = Z_next.feature == 1 && n % lanes<T> == 0;
    const Samples<T> sums = in_place ? Samples<T>{Z_next.data + first, Z_next.sample, 1}
                                     : Samples<T>{beside, outputs_at_a_time, 1};
    for (std::size_t s = 0; s < m; ++s) {
      begin_sum(b != nullptr ? b + first : b, n, sums.data + s * sums.sample);
    }
    for (std::size_t begin = 0; begin < W.rows; begin += rows_of_W_in_chunk) {
      const std::size_t count = std::min(rows_of_W_in_chunk, W.rows - begin);
      const ConstMatrix<T> chunk = W.row_range(begin, count).col_range(first, n);
      for (std::size_t s = 0; s < m; ++s) {
        add_product<T>(Z.data + s * Z.sample + begin * Z.feature, Z.feature, chunk,
                       sums.data + s * sums.sample);
      }
    }
    for (std::size_t s = 0; s < m && !in_place; ++s) {
      T* const z = Z_next.data + s * Z_next.sample + first * Z_next.feature;
      for (std::size_t j = 0; j < n; ++j) z[j * Z_next.feature] = sums.data[s * sums.sample + j];
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
