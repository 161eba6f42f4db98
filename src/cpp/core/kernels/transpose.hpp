// B = Aᵀ: how rows of samples become rows of features, and back.
#pragma once

#include <utility>

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Eklundh's method: in stage d, rows r and r + d swap the entries whose column has the bit d wrong.
template <class T, std::size_t d, std::size_t... c>
inline void exchange(Vector<T>& a, Vector<T>& b, std::index_sequence<c...>) {
  constexpr std::size_t n = lanes<T>;
  const Vector<T> low = __builtin_shufflevector(a, b, static_cast<int>((c & d) != 0 ? n + c - d : c)...);
  const Vector<T> high = __builtin_shufflevector(a, b, static_cast<int>((c & d) != 0 ? n + c : c + d)...);
  a = low;
  b = high;
}

template <class T, std::size_t d>
inline void transpose_stages(Vector<T> (&rows)[lanes<T>]) {
  if constexpr (d < lanes<T>) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < lanes<T>; ++r) {
      if ((r & d) == 0) exchange<T, d>(rows[r], rows[r + d], std::make_index_sequence<lanes<T>>{});
    }
    transpose_stages<T, 2 * d>(rows);
  }
}

template <class T>
void transpose(ConstMatrix<T> A, Matrix<T> B) {
  constexpr std::size_t n = lanes<T>;
  const std::size_t whole_rows = A.rows / n * n, whole_cols = A.cols / n * n;
  for (std::size_t i = 0; i < whole_rows; i += n) {
    for (std::size_t j = 0; j < whole_cols; j += n) {
      Vector<T> block[n];
#pragma GCC unroll 16
      for (std::size_t r = 0; r < n; ++r) block[r] = load(A.row(i + r) + j);
      transpose_stages<T, 1>(block);
#pragma GCC unroll 16
      for (std::size_t r = 0; r < n; ++r) store(B.row(j + r) + i, block[r]);
    }
    for (std::size_t j = whole_cols; j < A.cols; ++j) {
      for (std::size_t r = i; r < i + n; ++r) B.row(j)[r] = A.row(r)[j];
    }
  }
  for (std::size_t i = whole_rows; i < A.rows; ++i) {
    for (std::size_t j = 0; j < A.cols; ++j) B.row(j)[i] = A.row(i)[j];
  }
}

}  // namespace
}  // namespace backsweep
