// The one matrix product that the three of a layer are made of:
//
//   C[j, :] = init[j] + Σ_p A(p, j) B[p, :]
//
// B is read along its rows, a vector at a time; A is read entry by entry, with either p or j along its rows.
// With samples along the rows of Z and D this is Z[i+1]ᵀ = W[i]ᵀ Z[i]ᵀ (A = W, j along rows), G[i]ᵀ = W[i]
// D[i]ᵀ (A = W, p along rows) and, with D turned round, dW[i] = Z[i]ᵀ D[i] (A = Z, p along rows).
#pragma once

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// The block of C that is held in registers: rows × vectors, as many as the instruction set has room for.
#if defined(BACKSWEEP_VECTOR_BYTES) && BACKSWEEP_VECTOR_BYTES == 64
constexpr std::size_t most_block_rows[] = {0, 12, 12, 8};  // by the number of vectors
#else
constexpr std::size_t most_block_rows[] = {0, 6, 6, 4};
#endif
constexpr std::size_t most_rows = most_block_rows[1];
constexpr std::size_t most_vectors = 3;

// An FMA is finished after 4 cycles and two start in each: with fewer sums than 8 they wait for one another,
// so even and odd p are summed apart.
template <std::size_t rows, std::size_t vectors>
constexpr std::size_t chains = rows * vectors >= 8   ? 1
                               : rows * vectors >= 4 ? 2
                                                     : 4;

// Steps from row to row of A that the processor does not foresee: it is told so many terms before.
constexpr std::size_t terms_ahead = 48;

template <class T>
struct ProductBlock {
  const T* A;
  std::size_t A_stride;
  const T* B;
  std::size_t B_stride;
  std::size_t terms;
  const T* init;   // null: zeros
  bool continues;  // C itself: the terms before these are in it
  T* C;
  std::size_t C_stride;
  std::size_t C_cols;  // that are stored: at most vectors · lanes
};

// The first n entries at p, and zeros.
template <class T>
Vector<T> load_part(const T* p, std::size_t n) {
  Vector<T> v{};
  if (n >= lanes<T>) return load(p);
  std::memcpy(&v, p, n * sizeof(T));
  return v;
}

template <class T>
void store_part(T* p, Vector<T> v, std::size_t n) {
  if (n >= lanes<T>) {
    store(p, v);
  } else {
    std::memcpy(p, &v, n * sizeof(T));
  }
}

template <class T, std::size_t rows, std::size_t vectors, bool p_along_rows>
void product_block(const ProductBlock<T>& block) {
  constexpr std::size_t sums = chains<rows, vectors>;
  Vector<T> c[sums][rows][vectors];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) {
      const std::size_t begin = v * lanes<T>;
      c[0][j][v] = block.init != nullptr ? splat(block.init[j]) : Vector<T>{};
      if (block.continues) c[0][j][v] = load_part(block.C + j * block.C_stride + begin, block.C_cols - begin);
#pragma GCC unroll 4
      for (std::size_t s = 1; s < sums; ++s) c[s][j][v] = Vector<T>{};
    }
  }
  const T* a = block.A;
  const T* b = block.B;
  const std::size_t A_stride = block.A_stride, B_stride = block.B_stride;
  const auto term = [&](std::size_t s) __attribute__((always_inline)) {
    Vector<T> bs[vectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) bs[v] = load(b + v * lanes<T>);
#pragma GCC unroll 16
    for (std::size_t j = 0; j < rows; ++j) {
      const T x = p_along_rows ? a[j * A_stride] : a[j];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < vectors; ++v) c[s][j][v] += x * bs[v];
    }
    if constexpr (!p_along_rows) __builtin_prefetch(a + terms_ahead * A_stride);
    a += p_along_rows ? 1 : A_stride;
    b += B_stride;
  };
  std::size_t p = 0;
  for (; p + sums <= block.terms; p += sums) {
#pragma GCC unroll 4
    for (std::size_t s = 0; s < sums; ++s) term(s);
  }
  for (; p < block.terms; ++p) term(0);
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
    T* out = block.C + j * block.C_stride;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) {
      Vector<T> total = c[0][j][v];
#pragma GCC unroll 4
      for (std::size_t s = 1; s < sums; ++s) total += c[s][j][v];
      const std::size_t begin = v * lanes<T>;
      store_part(out + begin, total, block.C_cols - begin);
    }
  }
}

template <class T, std::size_t vectors, bool p_along_rows>
void product_block_of(std::size_t rows, const ProductBlock<T>& block) {
  static_assert(most_rows == 12 || most_rows == 6);
  switch (rows) {
#define BACKSWEEP_CASE(n)                                                                           \
  case n:                                                                                           \
    if constexpr (n <= most_block_rows[vectors]) product_block<T, n, vectors, p_along_rows>(block); \
    break;
    BACKSWEEP_CASE(1)
    BACKSWEEP_CASE(2)
    BACKSWEEP_CASE(3) BACKSWEEP_CASE(4) BACKSWEEP_CASE(5) BACKSWEEP_CASE(6) BACKSWEEP_CASE(7)
        BACKSWEEP_CASE(8) BACKSWEEP_CASE(9) BACKSWEEP_CASE(10) BACKSWEEP_CASE(11) BACKSWEEP_CASE(12)
#undef BACKSWEEP_CASE
            default : break;
  }
}

// So many terms at a time that their rows of B, some 64 entries wide, stay in the first-level cache while all
// rows of C go by.
constexpr std::size_t terms_at_a_time = 192;
// So many vectors of a row of C at a time that as many rows of B stay in the second-level cache.
constexpr std::size_t vectors_at_a_time = 32;

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

// Rows of B are readable to the end of the vector that holds their last entry.
template <class T, bool p_along_rows>
void product_of_columns(ConstMatrix<T> A, ConstMatrix<T> B, const T* init, Matrix<T> C) {
  const std::size_t all_vectors = (C.cols + lanes<T> - 1) / lanes<T>;
  // A block is two vectors wide, and three where one would be left over.
  const std::size_t at_most = most_block_rows[all_vectors % 2 == 0 ? 2 : all_vectors == 1 ? 1 : 3];
  const std::size_t parts = parts_of(B.rows, terms_at_a_time);
  const std::size_t blocks = parts_of(C.rows, at_most);
  for (std::size_t part = 0; part < parts; ++part) {
    const Share terms = share(B.rows, parts, part);
    for (std::size_t n = 0; n < blocks; ++n) {
      const Share rows = share(C.rows, blocks, n);
      std::size_t vectors;
      for (std::size_t first = 0; first < all_vectors; first += vectors) {
        const std::size_t left = all_vectors - first;
        vectors = left == 1 ? 1 : left == 3 ? 3 : 2;
        const std::size_t col = first * lanes<T>;
        const ProductBlock<T> block{
            p_along_rows ? A.row(rows.begin) + terms.begin : A.row(terms.begin) + rows.begin,
            A.stride,
            B.row(terms.begin) + col,
            B.stride,
            terms.size,
            init == nullptr ? nullptr : init + rows.begin,
            part > 0,
            C.row(rows.begin) + col,
            C.stride,
            C.cols - col};
        switch (vectors) {
          case 1:
            product_block_of<T, 1, p_along_rows>(rows.size, block);
            break;
          case 2:
            product_block_of<T, 2, p_along_rows>(rows.size, block);
            break;
          default:
            product_block_of<T, 3, p_along_rows>(rows.size, block);
            break;
        }
      }
    }
  }
}

template <class T, bool p_along_rows>
void product(ConstMatrix<T> A, ConstMatrix<T> B, const T* init, Matrix<T> C) {
  constexpr std::size_t cols_at_a_time = vectors_at_a_time * lanes<T>;
  const std::size_t chunks = parts_of(C.cols, cols_at_a_time);
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    const std::size_t col = chunk * cols_at_a_time;
    const std::size_t cols = C.cols - col < cols_at_a_time ? C.cols - col : cols_at_a_time;
    product_of_columns<T, p_along_rows>(A, B.col_range(col, cols), init, C.col_range(col, cols));
  }
}

}  // namespace
}  // namespace backsweep
