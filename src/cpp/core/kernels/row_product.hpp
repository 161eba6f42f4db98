// The product for a handful of samples as they come from outside, one to a row: too few to fill a vector, so
// the vector runs along the outputs, and W is read once from its first entry to its last.
//
//   Z_next[r, :] = b + Σ_p Z(r, p) W[p, :]
#pragma once

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

constexpr std::size_t rows_of_W_at_once = 8;
// So many at a time that they stay in the second-level cache while all samples go by.
constexpr std::size_t rows_of_W_in_chunk = 128;

// out += Σ_q factors[q] rows[q][:]
template <class T>
void add_multiples(const T* factors, const T* const* rows, std::size_t n, T* out) {
  constexpr std::size_t count = rows_of_W_at_once;
  std::size_t j = 0;
  for (; j + lanes<T> <= n; j += lanes<T>) {
    Vector<T> sum = load(out + j);
#pragma GCC unroll 8
    for (std::size_t q = 0; q < count; ++q) sum += factors[q] * load(rows[q] + j);
    store(out + j, sum);
  }
  for (; j < n; ++j) {
    T sum = 0;
#pragma GCC unroll 8
    for (std::size_t q = 0; q < count; ++q) sum += factors[q] * rows[q][j];
    out[j] += sum;
  }
}

template <class T>
void row_product(ConstMatrix<T> Z, ConstMatrix<T> W, const T* b, Matrix<T> Z_next) {
  for (std::size_t r = 0; r < Z.rows; ++r) {
    for (std::size_t j = 0; j < W.cols; ++j) Z_next(r, j) = b != nullptr ? b[j] : T(0);
  }
  for (std::size_t begin = 0; begin < W.rows; begin += rows_of_W_in_chunk) {
    const std::size_t end = W.rows - begin < rows_of_W_in_chunk ? W.rows : begin + rows_of_W_in_chunk;
    for (std::size_t r = 0; r < Z.rows; ++r) {
      // After a relu half of the samples' entries are 0: their rows of W are not read.
      T factors[rows_of_W_in_chunk + rows_of_W_at_once];
      const T* rows[rows_of_W_in_chunk + rows_of_W_at_once];
      std::size_t count = 0;
      for (std::size_t p = begin; p < end; ++p) {
        factors[count] = Z(r, p);
        rows[count] = W.row(p);
        count += factors[count] != T(0) ? 1 : 0;
      }
      for (std::size_t q = count; q < count + rows_of_W_at_once; ++q) {
        factors[q] = 0;
        rows[q] = W.row(begin);
      }
      for (std::size_t q = 0; q < count; q += rows_of_W_at_once) {
        add_multiples(factors + q, rows + q, W.cols, Z_next.row(r));
      }
    }
  }
}

}  // namespace
}  // namespace backsweep
