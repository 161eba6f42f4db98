// The one matrix product that the three of a layer are made of:
//
//   C[j, :] = init[j] + Σ_p A(p, j) B[p, :]
//
// B is read along its rows, a vector at a time; A is read entry by entry, with either p or j along its rows.
// With samples along the rows of Z and D this is Z[i+1]ᵀ = W[i]ᵀ Z[i]ᵀ (A = W, j along rows), G[i]ᵀ = W[i]
// D[i]ᵀ (A = W, p along rows) and, with D turned round, dW[i] = Z[i]ᵀ D[i] (A = Z, p along rows).
#pragma once

#include <algorithm>

#include "core/kernels/product_block.hpp"
#include "core/kernels/product_options.hpp"
#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// So many vectors of a row of C at a time that as many rows of B stay in the second-level cache.
constexpr std::size_t vectors_at_a_time = 32;
// Steps from row to row of A that the processor does not foresee: it is told so many terms before of the last
// entry that a block reads of a row. The line of the first is there, from the block before.
constexpr std::size_t terms_ahead = 24;

// Where p goes along rows of A that lie so many bytes apart, those of a block are copied side by side if so
// many vectors of B share them.
constexpr std::size_t bytes_of_long_row = 4096;
constexpr std::size_t vectors_worth_a_copy = 4;
// Where j goes along them each row gives a few entries only.
constexpr std::size_t bytes_of_row_for_panels = 2049;
constexpr std::size_t vectors_worth_panels = 3;

// Of more bytes than that C has left the first-level cache since it was written last, and its gate too.
constexpr std::size_t C_bytes_that_stay = 1u << 17;

// The terms of a part that are not zero, for every two vectors of columns.
template <class T>
class ChosenTerms {
 public:
  // B's rows are features and its columns samples, from first_col on.
  void find(const Occupied& occupied, Share terms, std::size_t first_col, std::size_t cols) {
    for (std::size_t n = 0; n * block_cols < cols; ++n) {
      const std::size_t begin = first_col + n * block_cols;
      const std::size_t end = begin + std::min(cols - n * block_cols, block_cols);
      const std::size_t first = begin / samples_to_a_flag, last = (end - 1) / samples_to_a_flag;
      const unsigned char* flags = occupied.flags + terms.begin;
      std::size_t found = 0;
      for (std::size_t p = 0; p < terms.size; ++p) {
        bool any = false;
        for (std::size_t i = first; i <= last; ++i) any |= flags[i * occupied.stride + p] != 0;
        terms_[n][found] = static_cast<std::uint16_t>(p);  // kept if it counts
        found += any;
      }
      counts_[n] = found;
    }
  }

  const std::uint16_t* of_column(std::size_t col) const { return terms_[col / block_cols]; }
  std::size_t count_of_column(std::size_t col) const { return counts_[col / block_cols]; }

 private:
  static constexpr std::size_t block_cols = 2 * lanes<T>;

  std::uint16_t terms_[vectors_at_a_time / 2][terms_at_a_time + 1];
  std::size_t counts_[vectors_at_a_time / 2];
};

// One row of blocks: all columns of C, two vectors at a time. What is left over takes the narrowest vector
// that holds it, since half a vector costs half as much where it does not cost less, and shares the entries
// of A with a whole one if it can: alone it would wait for them.
template <class T, bool p_along_rows>
void product_of_rows(std::size_t rows, ProductBlock<T>& block, std::size_t cols, const ChosenTerms<T>* chosen,
                     bool asks_for_C) {
  constexpr std::size_t half_bytes = vector_bytes >= 32 ? vector_bytes / 2 : vector_bytes;
  constexpr std::size_t quarter_bytes = vector_bytes >= 64 ? vector_bytes / 4 : half_bytes;
  using Whole = Vector<T>;
  using Half = VectorOf<T, half_bytes>;
  using Quarter = VectorOf<T, quarter_bytes>;
  constexpr std::size_t whole = lanes<T>, half = half_bytes / sizeof(T), quarter = quarter_bytes / sizeof(T);
  constexpr std::size_t fewest_of_two = half < whole ? whole + half : whole;  // beyond which two are worth it
  const T* const next_rows = block.C + rows * block.C_stride;
  std::size_t col = 0;
  const auto advance = [&](std::size_t n) {
    block.B += n;
    block.C += n;
    block.at += n;
    col += n;
    cols = cols > n ? cols - n : 0;
  };
  while (cols > 0) {
    block.C_cols = cols;
    if (chosen != nullptr) {
      block.chosen = chosen->of_column(col);
      block.chosen_terms = chosen->count_of_column(col);
    }
    if constexpr (quarter < half) {
      if (cols > whole && cols <= whole + quarter) {
        product_block_of<T, Whole, Quarter, p_along_rows>(rows, block);
        return;
      }
      if (cols > 2 * whole && cols <= 2 * whole + quarter && chosen == nullptr) {
        product_block_of<T, Whole, NoVector, p_along_rows>(rows, block);
        advance(whole);
        continue;
      }
    }
    if (cols > fewest_of_two) {
      if (asks_for_C) block.next = cols > 2 * whole ? block.C + 2 * whole : next_rows;
      product_block_of<T, Whole, Whole, p_along_rows>(rows, block);
      advance(2 * whole);
    } else if (cols > half || half == whole) {
      product_block_of<T, Whole, NoVector, p_along_rows>(rows, block);
      advance(whole);
    } else if (cols > quarter || quarter == half) {
      product_block_of<T, Half, NoVector, p_along_rows>(rows, block);
      advance(half);
    } else {
      product_block_of<T, Quarter, NoVector, p_along_rows>(rows, block);
      advance(quarter);
    }
  }
}

// Whether entries of A are worth to be copied side by side first.
template <class T, bool p_along_rows>
bool wants_panels(const ConstMatrix<T>& A, const Matrix<T>& C, const ProductOptions<T>& options) {
  const std::size_t bytes = A.stride * sizeof(T), vectors = C.cols / lanes<T>;
  if (!p_along_rows)
    return bytes >= bytes_of_row_for_panels && vectors >= vectors_worth_panels && C.rows > most_rows;
  return options.rows_of_A != nullptr || (bytes >= bytes_of_long_row && vectors >= vectors_worth_a_copy);
}

struct NoPanels {};
template <class T, bool p_along_rows, bool in_panels>
auto panels_of(const ConstMatrix<T>& A, const Shares& blocks, std::size_t cols,
               const ProductOptions<T>& options) {
  if constexpr (!in_panels) {
    return NoPanels{};
  } else if constexpr (p_along_rows) {
    return RowPanels<T>(A, blocks, options.rows_of_A);
  } else {
    const std::size_t blocks_in_row = (cols + 2 * lanes<T> - 1) / (2 * lanes<T>);
    return ColumnPanels<T>(A, blocks, blocks_in_row * blocks[blocks.count() - 1].size);
  }
}

// Rows of B are readable to the end of the vector that holds their last entry.
template <class T, bool p_along_rows, bool in_panels>
void product_of_columns(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const T* init, const Matrix<T>& C,
                        std::size_t first_col, const ProductOptions<T>& options) {
  const Shares parts(B.rows, terms_at_a_time), blocks(C.rows, most_rows);
  [[maybe_unused]] auto panels = panels_of<T, p_along_rows, in_panels>(A, blocks, C.cols, options);
  ChosenTerms<T> chosen;
  const bool omits = !p_along_rows && options.terms;
  const bool asks_for_C = C.rows * C.stride * sizeof(T) > C_bytes_that_stay;
  ProductBlock<T> block;
  block.A_stride = A.stride;
  block.B_stride = B.stride;
  block.C_stride = C.stride;
  const bool has_companions = options.ahead != nullptr && options.ahead->companions.count > 0;
  block.at_stride = has_companions ? options.ahead->companions.stride : C.stride;
  block.chosen = nullptr;
  block.options = &options;
  block.panels = nullptr;
  for (std::size_t part = 0; part < parts.count(); ++part) {
    const Share terms = parts[part];
    if constexpr (in_panels) panels.begin(terms);
    if (omits) chosen.find(options.terms, terms, first_col, C.cols);
    block.continues = part > 0 || options.adds;
    block.finishes = part + 1 == parts.count();
    for (std::size_t n = 0; n < blocks.count(); ++n) {
      const Share rows = blocks[n];
      block.next = nullptr;
      block.upcoming = options.ahead == nullptr ? nullptr : options.ahead->upcoming;
      if constexpr (in_panels) {
        block.A = block.later = panels.panel(n);
        block.A_stride = panels.stride;
        if constexpr (!p_along_rows) {
          block.panels = panels.upcoming();
        } else if (Upcoming* const next = panels.upcoming()) {
          block.upcoming = next;
        }
      } else {
        block.A = p_along_rows ? A.row(rows.begin) + terms.begin : A.row(terms.begin) + rows.begin;
        block.later = block.A + terms_ahead * A.stride + rows.size - 1;
      }
      block.B = B.row(terms.begin);
      block.terms = terms.size;
      block.init = init == nullptr ? nullptr : init + rows.begin;
      block.C = C.row(rows.begin);
      block.at = first_col + rows.begin * block.at_stride;
      product_of_rows<T, p_along_rows>(rows.size, block, C.cols, omits ? &chosen : nullptr, asks_for_C);
    }
  }
}

template <class T, bool p_along_rows>
inline __attribute__((always_inline)) void product(ConstMatrix<T> A, ConstMatrix<T> B, const T* init,
                                                   Matrix<T> C, const ProductOptions<T>& options) {
  constexpr std::size_t cols_at_a_time = vectors_at_a_time * lanes<T>, cols_of_block = 2 * lanes<T>;
  std::size_t cols = 0;
  for (std::size_t col = 0; col < C.cols; col += cols) {
    const std::size_t rest = C.cols - col;
    cols = rest < cols_at_a_time ? rest : cols_at_a_time;
    // The last two vectors go with what is left over, as they do where all columns are fewer.
    if (rest > cols && rest < cols + cols_of_block) cols -= cols_of_block;
    const Matrix<T> part = C.col_range(col, cols);
    const auto of_columns = wants_panels<T, p_along_rows>(A, part, options)
                                ? &product_of_columns<T, p_along_rows, true>
                                : &product_of_columns<T, p_along_rows, false>;
    of_columns(A, B.col_range(col, cols), init, part, col, options);
  }
}

}  // namespace
}  // namespace backsweep
