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

#include "core/kernels/product.hpp"
#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"
#include "core/kernels/transpose.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// So many rows of W at a time: the factors of all samples stay in registers while the outputs go by. (Of one
// sample they come from memory, which is then idle.)
template <std::size_t samples>
constexpr std::size_t rows_of_W_at_once = samples == 1 ? 8 : (vector_bytes == 64 ? 16 : 8) / samples;
// So many are listed at a time, those that are read and what they are multiplied by.
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
void add_product(const Samples<const T>& Z, const ConstMatrix<T>& W, T* out, std::size_t out_stride) {
  constexpr std::size_t at_once = rows_of_W_at_once<samples>;
  T factors[(rows_of_W_in_chunk + at_once) * samples];
  const T* rows[rows_of_W_in_chunk + at_once];
  std::size_t count = 0;
  const auto list = [&](auto sample) {
    for (std::size_t p = 0; p < W.rows; ++p) {
      bool any = false;
      for (std::size_t s = 0; s < samples; ++s) {
        const T z = Z.data[s * sample + p * Z.feature];
        factors[count * samples + s] = z;
        any |= z != T(0);
      }
      rows[count] = W.row(p);
      count += any;
    }
  };
  if (Z.sample == 1) {
    list(std::integral_constant<std::size_t, 1>{});
  } else {
    list(Z.sample);
  }
  for (std::size_t q = count; q < count + at_once; ++q) {
    for (std::size_t s = 0; s < samples; ++s) factors[q * samples + s] = 0;
    rows[q] = W.data;
  }
  for (std::size_t q = 0; q < count; q += at_once) {
    add_multiples<T, samples>(factors + q * samples, rows + q, W.cols, out, out_stride);
  }
}

// C += Z W as an ordinary product, Z's entries being what each of its terms takes one by one. It reads W's
// rows to the end of the narrowest vector that holds the last entry, which is in the next row: it is not for
// the last one, nor for rows that are narrower than any vector.
template <class T>
void add_rows(std::size_t m, const Samples<const T>& Z, const ConstMatrix<T>& W, T* out,
              std::size_t out_stride) {
  ProductOptions<T> options;
  options.adds = options.in_order = true;  // however a team has shared the columns
  const Matrix<T> C{out, m, W.cols, out_stride};
  if (Z.feature == 1) {
    product<T, true>({Z.data, m, W.rows, Z.sample}, W, nullptr, C, options);
  } else {
    assert(Z.sample == 1);
    product<T, false>({Z.data, W.rows, m, Z.feature}, W, nullptr, C, options);
  }
}

// The same for few_samples at a time, for any columns.
template <class T>
void add_columns(std::size_t m, Samples<const T> Z, const ConstMatrix<T>& W, T* out, std::size_t out_stride) {
  static_assert(few_samples == 4);
  for (; m > 0; m -= std::min(m, few_samples)) {
    const auto add = m == 1   ? &add_product<T, 1>
                     : m == 2 ? &add_product<T, 2>
                     : m == 3 ? &add_product<T, 3>
                              : &add_product<T, 4>;
    add(Z, W, out, out_stride);
    Z.data += few_samples * Z.sample;
    out += few_samples * out_stride;
  }
}

// Sums of whole vectors that lie side by side are kept where they belong, others beside.
template <class T>
void product_of_few(std::size_t m, Samples<const T> Z, ConstMatrix<T> W, const T* b, Samples<T> Z_next) {
  constexpr std::size_t outputs_at_a_time = bytes_of_outputs / sizeof(T);
  alignas(cache_line) T beside[several_samples * outputs_at_a_time];
  assert(1 <= m && m <= several_samples);
  for (std::size_t first = 0; first < W.cols; first += outputs_at_a_time) {
    const std::size_t n = std::min(outputs_at_a_time, W.cols - first);
    const ConstMatrix<T> W_part = W.col_range(first, n);
    const bool in_place = Z_next.feature == 1 && n % lanes<T> == 0;
    T* const sums = in_place ? Z_next.data + first : beside;
    const std::size_t stride = in_place ? Z_next.sample : outputs_at_a_time;
    for (std::size_t s = 0; s < m; ++s) begin_sum(b != nullptr ? b + first : b, n, sums + s * stride);
    std::size_t begin = 0;
    if (m > few_samples && W.rows > 1 && W.stride >= narrowest_vector) {
      begin = W.rows - 1;
      add_rows<T>(m, Z, W_part.row_range(0, begin), sums, stride);
    }
    for (; begin < W.rows; begin += rows_of_W_in_chunk) {
      const std::size_t count = std::min(rows_of_W_in_chunk, W.rows - begin);
      add_columns<T>(m, Z.from_feature(begin), W_part.row_range(begin, count), sums, stride);
    }
    if (in_place) continue;
    const Samples<T> out = Z_next.from_feature(first);
    if (out.sample == 1) {
      transpose<T>({sums, m, n, stride}, {out.data, n, m, out.feature});
    } else {
      for (std::size_t s = 0; s < m; ++s) {
        for (std::size_t j = 0; j < n; ++j) out.data[s * out.sample + j * out.feature] = sums[s * stride + j];
      }
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
