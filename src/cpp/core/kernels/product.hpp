// The one matrix product that the three of a layer are made of:
//
//   C[j, :] = init[j] + Σ_p A(p, j) B[p, :]
//
// B is read along its rows, a vector at a time; A is read entry by entry, with either p or j along its rows.
// With samples along the rows of Z and D this is Z[i+1]ᵀ = W[i]ᵀ Z[i]ᵀ (A = W, j along rows), G[i]ᵀ = W[i]
// D[i]ᵀ (A = W, p along rows) and, with D turned round, dW[i] = Z[i]ᵀ D[i] (A = Z, p along rows).
#pragma once

#include "core/kernels/product_options.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// The block of C that is held in registers: rows by one or two vectors, as many as the instruction set has
// room for.
constexpr std::size_t most_rows = vector_bytes == 64 ? 14 : 6;

// So many terms at a time that their rows of B, two vectors wide, stay in the first-level cache while all
// rows of C go by.
constexpr std::size_t terms_at_a_time = 192;
// So many vectors of a row of C at a time that as many rows of B stay in the second-level cache.
constexpr std::size_t vectors_at_a_time = 32;
// Where p goes across the rows of A and a row takes so many bytes, the entries of a block lie on a page each
// and fall into a few sets of the cache. They are copied side by side if so many vectors of B share them.
constexpr std::size_t bytes_of_long_row = 2048;
constexpr std::size_t vectors_worth_a_copy = 5;
// One line of what comes later is asked for in the time of so many terms of a block.
constexpr std::size_t terms_a_line = 4;
// Steps from row to row of A that the processor does not foresee: it is told so many terms before.
constexpr std::size_t terms_ahead = 48;
// An FMA is finished after 4 cycles: with fewer sums than that they would wait for one another, so even and
// odd p are summed apart.
template <std::size_t rows, std::size_t vectors>
constexpr std::size_t chains = rows * vectors >= 8   ? 1
                               : rows * vectors >= 4 ? 2
                                                     : 4;

template <class T>
struct ProductBlock {
  const T* A;
  std::size_t A_stride;
  const T* B;
  std::size_t B_stride;
  std::size_t terms;
  const T* init;   // null: zeros
  bool continues;  // C itself: the terms before these are in it
  bool finishes;   // no terms come after these
  T* C;
  std::size_t C_stride;
  std::size_t C_cols;  // that are stored: at most vectors · lanes
  const ProductOptions<T>* options;
  std::size_t at;  // where the block begins, counted from C's first entry
  const T* later;  // where A is read next: it is asked for a step further with each term
  std::size_t later_stride;
  bool later_once;  // by the first of a row of blocks
};

// V is a vector of T, of the width of the registers or narrower. Not inlined: among the variables of its
// callers GCC keeps some of the sums in memory.
template <class T, class V, std::size_t rows, std::size_t vectors, bool p_along_rows>
__attribute__((noinline)) void product_block(const ProductBlock<T>& block) {
  constexpr std::size_t sums = chains<rows, vectors>;
  constexpr std::size_t width = sizeof(V) / sizeof(T);
  V c[sums][rows][vectors];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) {
      c[0][j][v] = block.init != nullptr ? block.init[j] - V{} : V{};
      if (block.continues) {
        c[0][j][v] = load_part<V>(block.C + j * block.C_stride + v * width, block.C_cols - v * width);
      }
#pragma GCC unroll 4
      for (std::size_t s = 1; s < sums; ++s) c[s][j][v] = V{};
    }
  }
  const T* a = block.A;
  const T* b = block.B;
  const T* later = block.later;
  const std::size_t A_stride = block.A_stride, B_stride = block.B_stride;
  const auto term = [&](std::size_t s) __attribute__((always_inline)) {
    V bs[vectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) std::memcpy(&bs[v], b + v * width, sizeof(V));
#pragma GCC unroll 16
    for (std::size_t j = 0; j < rows; ++j) {
      const T x = p_along_rows ? a[j * A_stride] : a[j];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < vectors; ++v) c[s][j][v] += x * bs[v];
    }
    if constexpr (!p_along_rows) {
      ask_for(later);
      later += block.later_stride;
    }
    a += p_along_rows ? 1 : A_stride;
    b += B_stride;
  };
  std::size_t p = 0;
  if constexpr (sums == 1) {
    if (block.finishes && block.options->ahead.companions.count > 0) {
      // Asked for a row of the block at a time in the course of the terms.
      for (std::size_t j = 0; j < rows; ++j) {
        for (std::size_t i = 0; i < block.options->ahead.companions.count; ++i) {
          const T* entry = block.options->ahead.companions.first_entries[i] + block.at + j * block.C_stride;
#pragma GCC unroll 4
          for (std::size_t v = 0; v < vectors; ++v) ask_for(entry + v * width);
        }
        for (const std::size_t end = block.terms * (j + 1) / rows; p < end; ++p) term(0);
      }
    }
  }
  for (; p + sums <= block.terms; p += sums) {
#pragma GCC unroll 4
    for (std::size_t s = 0; s < sums; ++s) term(s);
  }
  for (; p < block.terms; ++p) term(0);
  const bool clamps = block.finishes && block.options->relu;
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
    T* out = block.C + j * block.C_stride;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) {
      V total = c[0][j][v];
#pragma GCC unroll 4
      for (std::size_t s = 1; s < sums; ++s) total += c[s][j][v];
      if (clamps) total = total < V{} ? V{} : total;  // NaN stays
      store_part<V>(out + v * width, total, block.C_cols - v * width);
    }
  }
}

template <class T, class V, std::size_t vectors, bool p_along_rows>
void product_block_of(std::size_t rows, const ProductBlock<T>& block) {
  static_assert(most_rows <= 14);
  switch (rows) {
#define BACKSWEEP_CASE(n)                                                                      \
  case n:                                                                                      \
    if constexpr (n <= most_rows) return product_block<T, V, n, vectors, p_along_rows>(block); \
    break;
    BACKSWEEP_CASE(1)
    BACKSWEEP_CASE(2)
    BACKSWEEP_CASE(3)
    BACKSWEEP_CASE(4)
    BACKSWEEP_CASE(5)
    BACKSWEEP_CASE(6)
    BACKSWEEP_CASE(7)
    BACKSWEEP_CASE(8)
    BACKSWEEP_CASE(9)
    BACKSWEEP_CASE(10)
    BACKSWEEP_CASE(11)
    BACKSWEEP_CASE(12)
    BACKSWEEP_CASE(13)
    BACKSWEEP_CASE(14)
#undef BACKSWEEP_CASE
    default:
      break;
  }
}

// Item `part` of n things shared among `parts`, as equally as can be.
struct Share {
  std::size_t begin;
  std::size_t size;
};
inline Share share(std::size_t n, std::size_t parts, std::size_t part) {
  const std::size_t begin = n * part / parts;
  return {begin, n * (part + 1) / parts - begin};
}
inline std::size_t parts_of(std::size_t n, std::size_t at_most) {
  return n == 0 ? 1 : (n + at_most - 1) / at_most;
}

// One row of blocks: all columns of C, two vectors at a time. What is left over takes the narrowest vector
// that holds it, since half a vector costs half as much where it does not cost less.
template <class T, bool p_along_rows>
void product_of_rows(std::size_t rows, ProductBlock<T> block, std::size_t cols) {
  constexpr std::size_t half = vector_bytes >= 32 ? vector_bytes / 2 : vector_bytes;
  constexpr std::size_t quarter = vector_bytes >= 64 ? vector_bytes / 4 : half;
  const auto advance = [&](std::size_t n) {
    block.B += n;
    block.C += n;
    block.at += n;
    cols = cols > n ? cols - n : 0;
    if (block.later_once) {
      block.later = block.A;
      block.later_stride = 0;
    }
  };
  while (cols > 0) {
    block.C_cols = cols;
    if (Upcoming* upcoming = block.options->ahead.upcoming) upcoming->ask(block.terms / terms_a_line);
    if (cols > lanes<T> + half / sizeof(T)) {
      product_block_of<T, Vector<T>, 2, p_along_rows>(rows, block);
      advance(2 * lanes<T>);
    } else if (cols > half / sizeof(T) || half == vector_bytes) {
      product_block_of<T, Vector<T>, 1, p_along_rows>(rows, block);
      advance(lanes<T>);
    } else if (cols > quarter / sizeof(T) || quarter == half) {
      product_block_of<T, VectorOf<T, half>, 1, p_along_rows>(rows, block);
      advance(half / sizeof(T));
    } else {
      product_block_of<T, VectorOf<T, quarter>, 1, p_along_rows>(rows, block);
      advance(quarter / sizeof(T));
    }
  }
}

// The entries of A for one row of blocks, in the order in which they are read.
template <class T>
struct Panel {
  alignas(cache_line) T entries[terms_at_a_time * most_rows + 2 * lanes<T>];

  void copy(ConstMatrix<T> A, Share terms, Share rows) {
    T* out = entries;
    // In whole vectors, where these end inside A: the next term overwrites what is too much.
    const bool in_vectors = rows.begin + most_rows + lanes<T> <= A.cols;
    for (std::size_t p = 0; p < terms.size; ++p, out += rows.size) {
      const T* a = A.row(terms.begin + p) + rows.begin;
      if (in_vectors) {
#pragma GCC unroll 4
        for (std::size_t j = 0; j < most_rows; j += lanes<T>) store(out + j, load(a + j));
      } else {
        std::memcpy(out, a, rows.size * sizeof(T));
      }
    }
  }
};

// Rows of B are readable to the end of the vector that holds their last entry.
template <class T, bool p_along_rows>
void product_of_columns(ConstMatrix<T> A, ConstMatrix<T> B, const T* init, Matrix<T> C, std::size_t at,
                        const ProductOptions<T>& options) {
  const std::size_t parts = parts_of(B.rows, terms_at_a_time);
  const std::size_t blocks = parts_of(C.rows, most_rows);
  const bool copies =
      !p_along_rows && A.stride * sizeof(T) >= bytes_of_long_row && C.cols >= vectors_worth_a_copy * lanes<T>;
  Panel<T> panel;
  for (std::size_t part = 0; part < parts; ++part) {
    const Share terms = share(B.rows, parts, part);
    for (std::size_t n = 0; n < blocks; ++n) {
      const Share rows = share(C.rows, blocks, n);
      const T* a = p_along_rows ? A.row(rows.begin) + terms.begin : A.row(terms.begin) + rows.begin;
      ProductBlock<T> block{a,
                            A.stride,
                            B.row(terms.begin),
                            B.stride,
                            terms.size,
                            init == nullptr ? nullptr : init + rows.begin,
                            part > 0,
                            part + 1 == parts,
                            C.row(rows.begin),
                            C.stride,
                            C.cols,
                            &options,
                            at + rows.begin * C.stride,
                            a + terms_ahead * A.stride,
                            A.stride,
                            copies};
      if (copies) {
        panel.copy(A, terms, rows);
        block.A = panel.entries;
        block.A_stride = rows.size;
        block.later = n + 1 < blocks ? a + rows.size : A.row(terms.begin + terms.size);
      }
      product_of_rows<T, p_along_rows>(rows.size, block, C.cols);
    }
  }
}

template <class T, bool p_along_rows>
void product(ConstMatrix<T> A, ConstMatrix<T> B, const T* init, Matrix<T> C,
             const ProductOptions<T>& options) {
  constexpr std::size_t cols_at_a_time = vectors_at_a_time * lanes<T>;
  for (std::size_t col = 0; col < C.cols; col += cols_at_a_time) {
    const std::size_t cols = C.cols - col < cols_at_a_time ? C.cols - col : cols_at_a_time;
    product_of_columns<T, p_along_rows>(A, B.col_range(col, cols), init, C.col_range(col, cols), col,
                                        options);
  }
}

}  // namespace
}  // namespace backsweep
