// The product of two matrices whose rows lie along what is summed over:
//
//   C[j, k] = Σ_p A(j, p) B(k, p)
//
// It is dW[i] = Z[i]ᵀ D[i] where a layer has few outputs: a row of dW would not fill a vector, but the
// samples do, and D need not be turned round.
#pragma once

#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"
#include "core/kernels/transpose.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Sums in registers, beside a vector of each column's B and one of A.
constexpr std::size_t most_dots = vector_bytes == 64 ? 20 : 12;
constexpr std::size_t most_dot_cols = vector_bytes == 64 ? 5 : 3;

// Lane l of rows[0] becomes the sum of the lanes of row l: in stage d, rows r and r + d become one, whose
// lanes with the bit d are the second's.
template <class T, std::size_t d = 1>
inline void add_lanes(Vector<T> (&rows)[lanes<T>]) {
  if constexpr (d < lanes<T>) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < lanes<T>; r += 2 * d) {
      exchange<T, d>(rows[r], rows[r + d], std::make_index_sequence<lanes<T>>{});
      rows[r] += rows[r + d];
    }
    add_lanes<T, 2 * d>(rows);
  }
}

template <class T, std::size_t rows, std::size_t cols>
__attribute__((noinline)) void dots_block(const T* A, std::size_t A_stride, const T* B, std::size_t B_stride,
                                          std::size_t terms, T* C, std::size_t C_stride) {
  constexpr std::size_t groups = (rows * cols + lanes<T> - 1) / lanes<T>;
  Vector<T> c[groups][lanes<T>] = {};
  const auto add = [&](auto read) __attribute__((always_inline)) {
    Vector<T> bs[cols];
#pragma GCC unroll 5
    for (std::size_t k = 0; k < cols; ++k) bs[k] = read(B + k * B_stride);
#pragma GCC unroll 20
    for (std::size_t j = 0; j < rows; ++j) {
      const Vector<T> a = read(A + j * A_stride);
#pragma GCC unroll 5
      for (std::size_t k = 0; k < cols; ++k) {
        const std::size_t at = j * cols + k;
        c[at / lanes<T>][at % lanes<T>] += a * bs[k];
      }
    }
  };
  std::size_t p = 0;
  for (; p + lanes<T> <= terms; p += lanes<T>) {
    add([&](const T* row) { return load(row + p); });
  }
  if (p < terms) add([&](const T* row) { return load_part<Vector<T>>(row + p, terms - p); });
  T sums[groups * lanes<T>];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < groups; ++g) {
    add_lanes<T>(c[g]);
    store(sums + g * lanes<T>, c[g][0]);
  }
#pragma GCC unroll 20
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 5
    for (std::size_t k = 0; k < cols; ++k) C[j * C_stride + k] = sums[j * cols + k];
  }
}

// As many rows at a time as there are sums for; the last ones once more where they are fewer.
template <class T, std::size_t cols>
void dots_of_columns(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C) {
  constexpr std::size_t at_once = most_dots / cols;
  const bool few = A.rows < at_once;
  const std::size_t step = few ? 1 : at_once;
  const auto block = few ? &dots_block<T, 1, cols> : &dots_block<T, at_once, cols>;
  for (std::size_t j = 0; j < A.rows; j += step) {
    const std::size_t row = j + step <= A.rows ? j : A.rows - step;
    block(A.row(row), A.stride, B.data, B.stride, B.cols, C.row(row), C.stride);
  }
}

template <class T>
void dots(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C) {
  const Shares blocks(B.rows, most_dot_cols);
  for (std::size_t n = 0; n < blocks.count(); ++n) {
    const Share cols = blocks[n];
    const auto of_columns = cols.size == 1   ? &dots_of_columns<T, 1>
                            : cols.size == 2 ? &dots_of_columns<T, 2>
                            : cols.size == 3 ? &dots_of_columns<T, 3>
                            : cols.size == 4 ? &dots_of_columns<T, 4>
                                             : &dots_of_columns<T, 5>;
    of_columns(A, B.row_range(cols.begin, cols.size), C.col_range(cols.begin, cols.size));
  }
}

}  // namespace
}  // namespace backsweep
