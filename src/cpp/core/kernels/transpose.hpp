// B = Aᵀ: how rows of samples become rows of features, and back.
#pragma once

#include <utility>

#include "core/ahead.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

template <class T>
constexpr std::size_t side_of_square = piece_bytes / sizeof(T);

// Where a lane comes from if in every span of them the units of so many entries are dealt out in turn: first
// a's even ones (or odd), then b's. Within 16 bytes, and of units that long, x86 has an instruction for it.
template <class T>
constexpr int dealt(std::size_t lane, std::size_t unit, std::size_t span, std::size_t odd) {
  const std::size_t units = span / unit, to = lane % span / unit, from = 2 * to % units + odd;
  const std::size_t entry = lane / span * span + from * unit + lane % unit;
  return static_cast<int>(2 * to < units ? entry : lanes<T> + entry);
}

// Eklundh's method, first in all squares of 16 bytes, then of them: in stage d, rows r and r + d exchange
// what belongs to the other.
template <class T, std::size_t d, std::size_t... lane>
inline void exchange(Vector<T>& a, Vector<T>& b, std::index_sequence<lane...>) {
  constexpr std::size_t square = side_of_square<T>;
  constexpr std::size_t unit = d < square ? 1 : square, span = d < square ? square : lanes<T>;
  const Vector<T> even = __builtin_shufflevector(a, b, dealt<T>(lane, unit, span, 0)...);
  b = __builtin_shufflevector(a, b, dealt<T>(lane, unit, span, 1)...);
  a = even;
}

// Of as many rows as a square has it turns the squares alone.
template <class T, std::size_t d, std::size_t count>
inline void transpose_stages(Vector<T> (&rows)[count]) {
  if constexpr (d < count) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < count; ++r) {
      if ((r & d) == 0) exchange<T, d>(rows[r], rows[r + d], std::make_index_sequence<lanes<T>>{});
    }
    transpose_stages<T, 2 * d>(rows);
  }
}

// A block of lanes × lanes entries; read(r) gives its rows. Σ 0 · x, which is NaN where an x is not finite.
// Not inlined: among the variables of its callers the compiler keeps an address for each row, in memory.
template <class T, class Read>
__attribute__((noinline)) Vector<T> transpose_block(Read read, T* b, std::size_t b_stride) {
  constexpr std::size_t n_sums = 4;
  Vector<T> rows[lanes<T>], zeros[n_sums] = {};
#pragma GCC unroll 16
  for (std::size_t r = 0; r < lanes<T>; ++r) {
    rows[r] = read(r);
    zeros[r % n_sums] += T(0) * rows[r];
  }
  transpose_stages<T, 1>(rows);
#pragma GCC unroll 16
  for (std::size_t c = 0; c < lanes<T>; ++c, b += b_stride) store(b, rows[c]);
  return (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]);
}

// What is not a whole block goes by strips, as wide as a square: entries j, j + 1, ... of rows at these
// addresses. Lanes from `rows` on become zeros, of which the first `stored` are written.
template <class T>
__attribute__((noinline)) Vector<T> transpose_strip(const T* const (&a)[lanes<T>], std::size_t rows,
                                                    std::size_t j, std::size_t cols, T* b,
                                                    std::size_t b_stride, std::size_t stored) {
  using Piece = VectorOf<T, piece_bytes>;
  constexpr std::size_t square = side_of_square<T>, pieces = lanes<T> / square;
  Vector<T> columns[square], zeros{};
#pragma GCC unroll 4
  for (std::size_t k = 0; k < square; ++k) {
    Piece piece[pieces];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < pieces; ++i) piece[i] = load_part<Piece>(a[i * square + k] + j, cols);
    columns[k] = joined<T>(piece);
    zeros += T(0) * columns[k];
  }
  transpose_stages<T, 1>(columns);
  const Integers<T> is_there = first_lanes<T>(rows);
#pragma GCC unroll 4
  for (std::size_t c = 0; c < square; ++c, b += b_stride) {
    if (c < cols) store_part(b, is_there ? columns[c] : Vector<T>{}, stored);
  }
  return zeros;
}

// Entries begin to end of at most as many rows as there are lanes. In place of a row that there is not the
// first is read.
template <class T>
Vector<T> transpose_strips(const T* (&a)[lanes<T>], std::size_t rows, std::size_t begin, std::size_t end,
                           T* b, std::size_t b_stride, std::size_t stored) {
  constexpr std::size_t square = side_of_square<T>;
  for (std::size_t r = rows; r < lanes<T>; ++r) a[r] = a[0];
  Vector<T> zeros{};
  for (std::size_t j = begin; j < end; j += square, b += square * b_stride) {
    const std::size_t cols = end - j < square ? end - j : square;
    zeros += transpose_strip(a, rows, j, cols, b, b_stride, stored);
  }
  return zeros;
}

template <class T>
inline __attribute__((always_inline)) void transpose(ConstMatrix<T> A, Matrix<T> B) {
  constexpr std::size_t n = lanes<T>;
  for (std::size_t i = 0; i < A.rows; i += n) {
    const std::size_t rows = A.rows - i < n ? A.rows - i : n;
    const std::size_t in_blocks = rows == n ? A.cols / n * n : 0;
    for (std::size_t j = 0; j < in_blocks; j += n) {
      const auto read = [a = A.row(i) + j, stride = A.stride](std::size_t) mutable {
        const Vector<T> v = load(a);
        a += stride;
        return v;
      };
      transpose_block<T>(read, B.row(j) + i, B.stride);
    }
    if (in_blocks == A.cols) continue;
    const T* a[n];
    for (std::size_t r = 0; r < rows; ++r) a[r] = A.row(i + r);
    transpose_strips(a, rows, in_blocks, A.cols, B.row(in_blocks) + i, B.stride, rows);
  }
}

// Rows that lie anywhere become columns of B; whether all their entries are finite. B's rows reach to whole
// vectors: beyond the last column they get 0. Where a team shares B, another core has read what is written
// here: it is told a block ahead.
template <class T>
inline __attribute__((always_inline)) bool transpose_rows(const T* const* A, std::size_t rows,
                                                          std::size_t cols, Matrix<T> B) {
  constexpr std::size_t n = lanes<T>;
  Vector<T> zeros{};
  for (std::size_t i = 0; i < rows; i += n) {
    const std::size_t height = rows - i < n ? rows - i : n;
    const T* a[n];
    if (height == n) {
      std::memcpy(a, A + i, sizeof(a));
    } else {
      for (std::size_t r = 0; r < height; ++r) a[r] = A[i + r];
    }
    for (std::size_t j = 0; j < cols; j += n) {
      const std::size_t end = cols - j < n ? cols : j + n;
      for (std::size_t c = end; c < cols && c < end + n; ++c) ask_to_write(B.row(c) + i);
      if (height == n && end == j + n) {
        const auto read = [a = A + i, j](std::size_t r) { return load(a[r] + j); };
        zeros += transpose_block<T>(read, B.row(j) + i, B.stride);
      } else {
        zeros += transpose_strips(a, height, j, end, B.row(j) + i, B.stride, n);
      }
    }
  }
  return !any_lane(zeros != zeros);
}

}  // namespace
}  // namespace backsweep
