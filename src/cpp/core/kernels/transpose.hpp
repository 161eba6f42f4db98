// B = Aᵀ: how rows of samples become rows of features, and back.
#pragma once

#include <utility>

#include "core/ahead.hpp"
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

// Of a block of lanes × lanes entries or less. load(r) gives row r as a vector, store(c, v) takes column c.
template <class T, class Load, class Store>
__attribute__((always_inline)) inline void transpose_block(std::size_t rows, std::size_t cols, Load load_row,
                                                           Store store_column) {
  Vector<T> block[lanes<T>];
#pragma GCC unroll 16
  for (std::size_t r = 0; r < lanes<T>; ++r) block[r] = r < rows ? load_row(r) : Vector<T>{};
  transpose_stages<T, 1>(block);
#pragma GCC unroll 16
  for (std::size_t c = 0; c < lanes<T>; ++c) {
    if (c < cols) store_column(c, block[c]);
  }
}

template <class T>
void transpose(ConstMatrix<T> A, Matrix<T> B) {
  constexpr std::size_t n = lanes<T>;
  for (std::size_t i = 0; i < A.rows; i += n) {
    const std::size_t rows = A.rows - i < n ? A.rows - i : n;
    for (std::size_t j = 0; j < A.cols; j += n) {
      const std::size_t cols = A.cols - j < n ? A.cols - j : n;
      const auto from = [a = A.row(i) + j, stride = A.stride](std::size_t r) { return a + r * stride; };
      const auto to = [b = B.row(j) + i, stride = B.stride](std::size_t c) { return b + c * stride; };
      const auto turn = [=](std::size_t height, std::size_t width) __attribute__((always_inline)) {
        transpose_block<T>(
            height, width, [=](std::size_t r) { return load_part<Vector<T>>(from(r), width); },
            [=](std::size_t c, Vector<T> v) { store_part(to(c), v, height); });
      };
      if (rows == n && cols == n) {
        turn(n, n);  // without a test for each row
      } else {
        turn(rows, cols);
      }
    }
  }
}

// Rows that lie anywhere become columns of B; whether all their entries are finite. B's rows reach to whole
// vectors: beyond the last column they get 0. Where a team shares B, another core has read what is written
// here: it is told a block ahead.
template <class T>
bool transpose_rows(const T* const* A, std::size_t rows, std::size_t cols, Matrix<T> B) {
  constexpr std::size_t n = lanes<T>, sums = 4;
  Vector<T> zeros[sums] = {};  // Σ 0 · x, which is NaN where an x is not finite
  for (std::size_t i = 0; i < rows; i += n) {
    for (std::size_t j = 0; j < cols; j += n) {
      const std::size_t width = cols - j < n ? cols - j : n;
      for (std::size_t c = j + n; c < cols && c < j + 2 * n; ++c) ask_to_write(B.row(c) + i);
      const auto read = [&](std::size_t r) {
        const Vector<T> x = load_part<Vector<T>>(A[i + r] + j, width);
        zeros[r % sums] += T(0) * x;
        return x;
      };
      const auto write = [b = B.row(j) + i, stride = B.stride](std::size_t c, Vector<T> v) {
        store(b + c * stride, v);
      };
      if (rows - i >= n) {
        transpose_block<T>(n, width, read, write);
      } else {
        transpose_block<T>(rows - i, width, read, write);
      }
    }
  }
  const Vector<T> sum = (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]);
  return !any_lane(sum != sum);
}

}  // namespace
}  // namespace backsweep
