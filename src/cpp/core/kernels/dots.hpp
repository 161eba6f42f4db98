// The product of two matrices whose rows lie along what is summed over:
//
//   C[j, k] = Σ_p A(j, p) B(k, p)
//
// It is dW[i] = Z[i]ᵀ D[i] where a layer has few outputs: a row of dW would not fill a vector, but the
// samples do, and D need not be turned round.
#pragma once

#include "core/kernels/product_options.hpp"
#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Sums in registers beside a vector of each column's B and one of A: all sixteen of AVX2.
constexpr std::size_t most_dot_rows = 4;
constexpr std::size_t most_dot_cols = 3;

template <class T, std::size_t rows, std::size_t cols>
__attribute__((noinline)) void dots_block(const T* A, std::size_t A_stride, const T* B, std::size_t B_stride,
                                          std::size_t terms, T* C, std::size_t C_stride) {
  Vector<T> c[rows][cols] = {};
  const auto add = [&](auto read) __attribute__((always_inline)) {
    Vector<T> bs[cols];
#pragma GCC unroll 4
    for (std::size_t k = 0; k < cols; ++k) bs[k] = read(B + k * B_stride);
#pragma GCC unroll 4
    for (std::size_t j = 0; j < rows; ++j) {
      const Vector<T> a = read(A + j * A_stride);
#pragma GCC unroll 4
      for (std::size_t k = 0; k < cols; ++k) c[j][k] += a * bs[k];
    }
  };
  std::size_t p = 0;
  for (; p + lanes<T> <= terms; p += lanes<T>) {
    add([&](const T* row) { return load(row + p); });
  }
  if (p < terms) add([&](const T* row) { return load_part<Vector<T>>(row + p, terms - p); });
#pragma GCC unroll 4
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < cols; ++k) C[j * C_stride + k] = sum_of_lanes<T>(c[j][k]);
  }
}

template <class T, std::size_t rows>
void dots_of_rows(const T* A, std::size_t A_stride, ConstMatrix<T> B, T* C, std::size_t C_stride) {
  const Shares blocks(B.rows, most_dot_cols);
  for (std::size_t n = 0; n < blocks.count(); ++n) {
    const Share cols = blocks[n];
    const auto block = cols.size == 1   ? &dots_block<T, rows, 1>
                       : cols.size == 2 ? &dots_block<T, rows, 2>
                                        : &dots_block<T, rows, 3>;
    block(A, A_stride, B.row(cols.begin), B.stride, B.cols, C + cols.begin, C_stride);
  }
}

template <class T>
void dots(ConstMatrix<T> A, ConstMatrix<T> B, Matrix<T> C) {
  const Shares blocks(A.rows, most_dot_rows);
  for (std::size_t n = 0; n < blocks.count(); ++n) {
    const Share rows = blocks[n];
    const auto of_rows = rows.size == 1   ? &dots_of_rows<T, 1>
                         : rows.size == 2 ? &dots_of_rows<T, 2>
                         : rows.size == 3 ? &dots_of_rows<T, 3>
                                          : &dots_of_rows<T, 4>;
    of_rows(A.row(rows.begin), A.stride, B, C.row(rows.begin), C.stride);
  }
}

}  // namespace
}  // namespace backsweep
