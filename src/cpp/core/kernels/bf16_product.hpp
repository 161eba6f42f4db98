// The product of product.hpp with operands rounded to bfloat16, two terms to an instruction: VDPBF16PS adds
// a₀b₀ + a₁b₁ to a sum in float32. Operands are rounded, to nearest even, while they are copied side by side:
// two terms to a pair, in panels that stay in the caches (Goto and van de Geijn 2008, Anatomy of
// high-performance matrix multiplication).
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/kernels/product_options.hpp"
#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"
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
// C of more bytes does not stay in the second-level cache beside the panels.
constexpr std::size_t C_bytes_that_stay = 1u << 18;
// One line of what comes later is asked for in the time of so many pairs.
constexpr std::size_t pairs_a_line = 3;

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

struct Bf16Block {
  const Pair* A;
  const Pair* B;
  std::size_t pairs;
  const float* init;  // null: zeros
  bool continues;     // C itself: the terms before these are in it
  bool relu;
  const float* gate;  // null: none
  float* C;
  std::size_t C_stride;
  bool asks_for_C;                      // for what the next rows of it take
  __mmask16 lanes[2];                   // of C's vectors that are there
  const Companions<float>* companions;  // null: none
  std::size_t at;                       // where the block begins in what lies beside C
  Upcoming* upcoming;                   // null: none
};

template <std::size_t rows, bool p_along_rows>
__attribute__((noinline)) void bf16_block(const Bf16Block& block) {
  __m512 c[rows][2];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 2
    for (std::size_t v = 0; v < 2; ++v) {
      const float* const there = block.C + j * block.C_stride + (block.lanes[v] != 0 ? v * vector : 0);
      if (block.continues) {
        c[j][v] = _mm512_maskz_loadu_ps(block.lanes[v], there);
      } else {
        c[j][v] = _mm512_set1_ps(block.init == nullptr ? 0.0f : block.init[j]);
      }
    }
  }
  const Pair *a = block.A, *b = block.B;
  const auto add = [&](std::size_t pairs) __attribute__((always_inline)) {
    for (std::size_t p = 0; p < pairs; ++p) {
      const __m512i b_first = _mm512_loadu_si512(b), b_second = _mm512_loadu_si512(b + vector);
#pragma GCC unroll 16
      for (std::size_t j = 0; j < rows; ++j) {
        const auto x = static_cast<int>(a[p_along_rows ? j * A_stride<true> : j]);
        const auto a_j = (__m512bh)_mm512_set1_epi32(x);
        c[j][0] = _mm512_dpbf16_ps(c[j][0], (__m512bh)b_first, a_j);
        c[j][1] = _mm512_dpbf16_ps(c[j][1], (__m512bh)b_second, a_j);
      }
      a += p_along_rows ? 1 : A_stride<false>;
      b += cols_in_block;
    }
  };
  // What comes later is asked for in the course of the terms, a part with each row: all at once it would fill
  // the queue of what memory owes.
  const std::size_t n_companions = block.companions == nullptr ? 0 : block.companions->count;
  std::size_t done = 0;
  if (block.asks_for_C || n_companions > 0 || block.upcoming != nullptr) {
    for (std::size_t j = 0; j < rows; ++j) {
      for (std::size_t i = 0; i < n_companions; ++i) {
        const float* const entry =
            block.companions->first_entries[i] + block.at + j * block.companions->stride;
        ask_to_write(entry);
        ask_to_write(entry + vector);
      }
      if (block.asks_for_C) {
        ask_to_write(block.C + (rows + j) * block.C_stride);
        ask_to_write(block.C + (rows + j) * block.C_stride + vector);
      }
      const std::size_t end = block.pairs * (j + 1) / rows;
      if (block.upcoming != nullptr) block.upcoming->ask((end - done) / pairs_a_line);
      add(end - done);
      done = end;
    }
  }
  add(block.pairs - done);
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 2
    for (std::size_t v = 0; v < 2; ++v) {
      if (block.lanes[v] == 0) continue;
      const std::size_t there = j * block.C_stride + v * vector;
      if (block.relu) c[j][v] = positive_part(c[j][v]);
      if (block.gate != nullptr) {
        const __m512 z = _mm512_maskz_loadu_ps(block.lanes[v], block.gate + there);
        c[j][v] = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, _mm512_setzero_ps(), _CMP_GT_OQ), c[j][v]);
      }
      _mm512_mask_storeu_ps(block.C + there, block.lanes[v], c[j][v]);
    }
  }
}

template <bool p_along_rows, std::size_t... n>
void bf16_block_of(std::size_t rows, const Bf16Block& block, std::index_sequence<n...>) {
  using Function = void (*)(const Bf16Block&);
  static constexpr Function of_rows[] = {&bf16_block<n + 1, p_along_rows>...};
  of_rows[rows - 1](block);
}

// The panels of some terms: thread_local, for the stack is small in some threads.
struct Bf16Panels {
  alignas(cache_line) Pair of_A[panels_of_A * panel_of_A];
  alignas(cache_line) Pair of_B[pairs_at_a_time * cols_at_a_time];
};

template <bool p_along_rows>
void bf16_product(const Matrix<const float>& A, const Matrix<const float>& B, const float* init,
                  const Matrix<float>& C, const ProductOptions<float>& options) {
  static thread_local Bf16Panels of_thread;
  Bf16Panels& panels = of_thread;  // looked up once
  const Shares blocks(C.rows, rows_in_block);
  const Companions<float>* const companions =
      options.ahead != nullptr && options.ahead->companions.count > 0 ? &options.ahead->companions : nullptr;
  const bool asks_for_C = C.rows * C.stride * sizeof(float) > C_bytes_that_stay;
  for (std::size_t col = 0; col < C.cols; col += cols_at_a_time) {
    const std::size_t cols = std::min(cols_at_a_time, C.cols - col);
    for (std::size_t p = 0; p < B.rows; p += terms_at_a_time) {
      const std::size_t terms = std::min(terms_at_a_time, B.rows - p);
      const Matrix<const float> B_part = B.row_range(p, terms).col_range(col, cols);
      pair_columns(B_part, panels.of_B);
      const bool finishes = p + terms == B.rows;
      for (std::size_t first = 0; first < blocks.count(); first += panels_of_A) {
        const std::size_t last = std::min(first + panels_of_A, blocks.count());
        if constexpr (p_along_rows) {
          for (std::size_t n = first; n < last; ++n) {
            const auto [row, rows] = blocks[n];
            round_rows(A.row_range(row, rows).col_range(p, terms), panels.of_A + (n - first) * panel_of_A);
          }
        } else {
          pair_rows_of_blocks(A.row_range(p, terms), blocks, {first, last - first}, panels.of_A);
        }
        for (std::size_t j = 0; j < cols; j += cols_in_block) {
          for (std::size_t n = first; n < last; ++n) {
            const auto [row, rows] = blocks[n];
            const std::size_t here = cols - j;
            const std::size_t at = row * C.stride + col + j;
            const Bf16Block block{panels.of_A + (n - first) * panel_of_A,
                                  panels.of_B + j * pairs_at_a_time,
                                  (terms + 1) / 2,
                                  init == nullptr ? nullptr : init + row,
                                  p > 0 || options.adds,
                                  finishes && options.relu,
                                  finishes && options.gate != nullptr ? options.gate + at : nullptr,
                                  C.data + at,
                                  C.stride,
                                  asks_for_C,
                                  {first_lanes(here), first_lanes(here - std::min(vector, here))},
                                  finishes ? companions : nullptr,
                                  companions == nullptr ? 0 : row * companions->stride + col + j,
                                  finishes && options.ahead != nullptr ? options.ahead->upcoming : nullptr};
            bf16_block_of<p_along_rows>(rows, block, std::make_index_sequence<rows_in_block>{});
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace backsweep
