// The product of product.hpp with operands in bfloat16, two terms to an instruction: VDPBF16PS adds a₀b₀ +
// a₁b₁ to a sum in float32.
#pragma once

#include <utility>

#include "core/kernels/bf16_panels.hpp"
#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

// C of more bytes does not stay in the second-level cache beside the panels.
constexpr std::size_t C_bytes_that_stay = 1u << 18;
// One line of what comes later is asked for in the time of so many pairs.
constexpr std::size_t pairs_a_line = 3;

struct Bf16Block {
  const Pair* A;
  const Pair* B;
  std::size_t pairs;
  const float* init;  // null: zeros
  bool continues;     // C itself: the terms before these are in it
  bool relu;
  const float* gate;  // null: none; it lies beside C
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

// One product: some columns of C at a time, of some terms at a time.
template <bool p_along_rows>
class Bf16Product {
 public:
  Bf16Product(const Matrix<const float>& A, const Matrix<const float>& B, const float* init,
              const Matrix<float>& C, const ProductOptions<float>& options)
      : A_(A),
        B_(B),
        init_(init),
        C_(C),
        options_(options),
        blocks_(C.rows, rows_in_block),
        asks_for_C_(C.rows * C.stride * sizeof(float) > C_bytes_that_stay) {
    if (options.ahead == nullptr) return;
    if (options.ahead->companions.count > 0) companions_ = &options.ahead->companions;
    upcoming_ = options.ahead->upcoming;
  }

  void compute() const {
    for (std::size_t col = 0; col < C_.cols; col += cols_at_a_time) {
      for (std::size_t p = 0; p < B_.rows; p += terms_at_a_time) {
        add({p, std::min(terms_at_a_time, B_.rows - p)}, {col, std::min(cols_at_a_time, C_.cols - col)});
      }
    }
  }

 private:
  void add(Share terms, Share cols) const {
    pair_columns(B_.row_range(terms.begin, terms.size).col_range(cols.begin, cols.size), panels_.of_B);
    for (std::size_t first = 0; first < blocks_.count(); first += panels_of_A) {
      const Share some{first, std::min(panels_of_A, blocks_.count() - first)};
      copy_A(some, terms);
      for (std::size_t j = 0; j < cols.size; j += cols_in_block) {
        const Pair* const B = panels_.of_B + j * pairs_at_a_time;
        for (std::size_t n = 0; n < some.size; ++n) {
          const Pair* const A = panels_.of_A + n * panel_of_A;
          add_block(A, B, terms, blocks_[first + n], {cols.begin + j, cols.size - j});
        }
      }
    }
  }

  // The panels of some rows of blocks.
  void copy_A(Share some, Share terms) const {
    if constexpr (p_along_rows) {
      for (std::size_t n = 0; n < some.size; ++n) {
        const auto [row, rows] = blocks_[some.begin + n];
        round_rows(A_.row_range(row, rows).col_range(terms.begin, terms.size), panels_.of_A + n * panel_of_A);
      }
    } else {
      pair_rows_of_blocks(A_.row_range(terms.begin, terms.size), blocks_, some, panels_.of_A);
    }
  }

  // As many of the columns as a block has.
  void add_block(const Pair* A, const Pair* B, Share terms, Share rows, Share cols) const {
    const bool finishes = terms.begin + terms.size == B_.rows;
    const std::size_t at = rows.begin * C_.stride + cols.begin;
    Bf16Block block{};
    block.A = A;
    block.B = B;
    block.pairs = (terms.size + 1) / 2;
    block.init = init_ == nullptr ? nullptr : init_ + rows.begin;
    block.continues = terms.begin > 0 || options_.adds;
    block.C = C_.data + at;
    block.C_stride = C_.stride;
    block.asks_for_C = asks_for_C_;
    block.lanes[0] = first_lanes(cols.size);
    block.lanes[1] = first_lanes(cols.size - std::min(vector, cols.size));
    if (finishes) {
      block.relu = options_.relu;
      if (options_.gate != nullptr) block.gate = options_.gate + at;
      block.companions = companions_;
      if (companions_ != nullptr) block.at = rows.begin * companions_->stride + cols.begin;
      block.upcoming = upcoming_;
    }
    bf16_block_of<p_along_rows>(rows.size, block, std::make_index_sequence<rows_in_block>{});
  }

  const Matrix<const float>&A_, &B_;
  const float* init_;
  const Matrix<float>& C_;
  const ProductOptions<float>& options_;
  Shares blocks_;
  bool asks_for_C_;
  const Companions<float>* companions_ = nullptr;
  Upcoming* upcoming_ = nullptr;
  Bf16Panels& panels_ = Bf16Panels::of_thread();
};

}  // namespace
}  // namespace backsweep
