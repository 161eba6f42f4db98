// Operands rounded to bfloat16, to nearest even, and copied side by side: two terms to a pair, in panels that
// stay in the caches (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication).
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "core/ahead.hpp"
#include "core/kernels/shares.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Two terms of an operand, the first in the lower half.
using Pair = std::uint32_t;

// A block of C is so many rows by two vectors, and takes so many pairs of terms at a time: its panel of B is
// as large as the first-level cache, and with it the other panels stay in the second.
constexpr std::size_t rows_in_block = 14;
constexpr std::size_t vector = 16, cols_in_block = 2 * vector;
constexpr std::size_t pairs_at_a_time = 256, terms_at_a_time = 2 * pairs_at_a_time;
constexpr std::size_t panels_of_A = 9, cols_at_a_time = 512;

// Where p goes along the rows of A a panel has them as rows, an odd number of cache lines apart; else a row
// has what the rows of the block take of a pair.
template <bool p_along_rows>
constexpr std::size_t A_stride = p_along_rows ? pairs_at_a_time + vector : rows_in_block;
constexpr std::size_t panel_of_A = rows_in_block * A_stride<true>;
static_assert(panel_of_A >= pairs_at_a_time * rows_in_block + vector);  // the last is written as a vector

// A row of A or B is asked for so many rows before it is copied.
constexpr std::size_t rows_ahead = 4;

constexpr __mmask16 first_lanes(std::size_t n) {
  return static_cast<__mmask16>(n >= vector ? 0xffff : (1u << n) - 1);
}

// Of two vectors of terms, one after the other: those of a pair side by side.
inline __m512i paired(__m512 first, __m512 second) {
  const __m512i alternating = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                               23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(alternating, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

// Two rows of terms, the second of which there may not be: then its terms are zeros.
struct TwoRows {
  const float *first, *second;
  __mmask16 of_second;

  TwoRows(const Matrix<const float>& M, std::size_t p)
      : first(M.row(p)), second(M.row(std::min(p + 1, M.rows - 1))), of_second(p + 1 < M.rows ? 0xffff : 0) {}

  // A vector of their columns from `col` on; zeros where there are none.
  __m512i pairs(std::size_t col, __mmask16 lanes = 0xffff) const {
    return paired(_mm512_maskz_loadu_ps(lanes, first + col),
                  _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes & of_second), second + col));
  }
  void ask_for_later(std::size_t stride, std::size_t col) const {
    ask_for(first + rows_ahead * stride + col);
    ask_for(second + rows_ahead * stride + col);
  }
};

// Rows of B are terms: panels of as many columns as a block has.
inline void pair_columns(const Matrix<const float>& B, Pair* panels) {
  const std::size_t whole = B.cols / vector * vector;
  for (std::size_t p = 0; p < B.rows; p += 2, panels += cols_in_block) {
    const TwoRows rows(B, p);
    const auto write = [&](std::size_t col, __m512i pairs) {
      Pair* const panel = panels + col / cols_in_block * cols_in_block * pairs_at_a_time;
      _mm512_store_si512(panel + col % cols_in_block, pairs);
    };
    for (std::size_t col = 0; col < whole; col += vector) {
      rows.ask_for_later(B.stride, col);
      write(col, rows.pairs(col));
    }
    if (whole < B.cols) write(whole, rows.pairs(whole, first_lanes(B.cols - whole)));
  }
}

// Rows of A are terms: panels of the columns that belong to some rows of blocks. A vector has more: the next
// pair's are written over them.
inline void pair_rows_of_blocks(const Matrix<const float>& A, const Shares& blocks, Share panels,
                                Pair* pairs) {
  for (std::size_t p = 0; p < A.rows; p += 2, pairs += rows_in_block) {
    const TwoRows rows(A, p);
    for (std::size_t n = 0; n < panels.size; ++n) {
      const std::size_t row = blocks[panels.begin + n].begin;
      rows.ask_for_later(A.stride, row);
      _mm512_storeu_si512(pairs + n * panel_of_A, rows.pairs(row, first_lanes(A.cols - row)));
    }
  }
}

// Terms go along the rows of A: its rows, rounded.
inline void round_rows(const Matrix<const float>& A, Pair* pairs) {
  const std::size_t whole = A.cols / (2 * vector) * (2 * vector);
  for (std::size_t j = 0; j < A.rows; ++j, pairs += A_stride<true>) {
    const float* const row = A.row(j);
    const auto write = [&](std::size_t p, __m512 first, __m512 second) {
      _mm512_storeu_si512(pairs + p / 2, (__m512i)_mm512_cvtne2ps_pbh(second, first));
    };
    for (std::size_t p = 0; p < whole; p += 2 * vector) {
      ask_for(row + A.stride + p);
      ask_for(row + A.stride + p + vector);
      write(p, _mm512_loadu_ps(row + p), _mm512_loadu_ps(row + p + vector));
    }
    if (whole == A.cols) continue;
    const std::size_t rest = A.cols - whole, in_first = std::min(rest, vector);
    write(whole, _mm512_maskz_loadu_ps(first_lanes(rest), row + whole),
          _mm512_maskz_loadu_ps(first_lanes(rest - in_first), row + whole + in_first));
  }
}

// The panels of some terms: of each thread that needs them, as those of panels.hpp are.
struct Bf16Panels {
  alignas(cache_line) Pair of_A[panels_of_A * panel_of_A];
  alignas(cache_line) Pair of_B[pairs_at_a_time * cols_at_a_time];

  static Bf16Panels& of_thread() {
    static thread_local const std::unique_ptr<Bf16Panels> panels(new Bf16Panels);
    return *panels;
  }
};

}  // namespace
}  // namespace backsweep
