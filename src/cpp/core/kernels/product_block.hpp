// The innermost loops of a product: the block of C that is held in registers. See product.hpp.
#pragma once

#include <cassert>
#include <type_traits>
#include <utility>

#include "core/kernels/panels.hpp"
#include "core/kernels/product_options.hpp"
#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

// What stands for the second vector where there is one only.
struct NoVector {};
template <class V>
constexpr bool is_vector = !std::is_same_v<V, NoVector>;
template <class T, class V>
constexpr std::size_t width_of = is_vector<V> ? sizeof(V) / sizeof(T) : 0;

// An FMA is finished after 4 cycles: with fewer sums than that they would wait for one another, so even and
// odd p are summed apart.
template <std::size_t rows, std::size_t vectors>
constexpr std::size_t chains = rows * vectors >= 8   ? 1
                               : rows * vectors >= 4 ? 2
                                                     : 4;

// Stores of many sums at once hold up the next block's multiply-adds (Zen 4). So the last terms of large
// blocks of float32 go by a few rows at a time, stored while others are summed.
using Zmm = VectorOf<float, 64>;
template <class V, class W, std::size_t rows>
constexpr std::size_t last_terms = rows >= 10 && std::is_same_v<V, W> && std::is_same_v<V, Zmm> ? 4 : 0;
constexpr std::size_t rows_at_once = 4;

// One line of what comes later is asked for in the time of so many terms.
constexpr std::size_t terms_a_line = 3;
// And the vectors of B so many terms before: the processor does not foresee rows that lie far apart.
constexpr std::size_t terms_ahead_of_B = 10;

template <class T>
struct ProductBlock {
  const T* A;
  std::size_t A_stride;
  const T* B;
  std::size_t B_stride;
  std::size_t terms;
  const std::uint16_t* chosen;  // those that are not zero, of a block that sums them in one chain; null: all
  std::size_t chosen_terms;     // how many
  const T* init;                // null: zeros
  bool continues;               // C itself: the terms before these are in it
  bool finishes;                // no terms come after these
  T* C;
  std::size_t C_stride;
  std::size_t C_cols;  // that are stored: at most as many as the vectors hold
  const ProductOptions<T>* options;
  std::size_t at, at_stride;  // where it begins in what lies beside C, its gate or companions; a row there
  const T* later;             // what is read of A in some time: it is asked for a row further with each term
  const T* next;              // the block of C after this one, if it is to be asked for, and its gate
  Upcoming* upcoming;         // what is asked for beside that; null: nothing
  UpcomingPanels<T>* panels;  // what is copied meanwhile, where j goes along the rows of A; null: nothing
};

template <class T>
__attribute__((noinline)) void copy_part(const T* from, std::size_t from_stride, T* to, std::size_t to_stride,
                                         std::size_t rows, std::size_t cols) {
  for (std::size_t j = 0; j < rows; ++j) {
    for (std::size_t i = 0; i < cols; ++i) to[j * to_stride + i] = from[j * from_stride + i];
  }
}

template <class V, class T>
inline void read(V& v, const T* p) {
  if constexpr (is_vector<V>) std::memcpy(&v, p, sizeof(V));
}

template <class V, class T>
inline void write(T* p, const V& v) {
  if constexpr (is_vector<V>) std::memcpy(p, &v, sizeof(V));
}

// Where a block stands in A and B. Where p goes along the rows of A, every fourth of them has an address of
// its own: one for each would take more registers than there are.
template <class T, std::size_t rows, bool p_along_rows>
struct Place {
  static constexpr std::size_t rows_of_address = 4;
  static constexpr std::size_t addresses = p_along_rows ? (rows + 3) / rows_of_address : 1;

  const T* a[addresses];
  const T* b;

  Place(const T* A, std::size_t A_stride, const T* B) : b(B) {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < addresses; ++k) a[k] = A + rows_of_address * k * A_stride;
  }

  T entry(std::size_t j, std::size_t A_stride) const {
    if constexpr (p_along_rows) return a[j / rows_of_address][j % rows_of_address * A_stride];
    return a[0][j];
  }

  void next(std::size_t A_stride, std::size_t B_stride) {
#pragma GCC unroll 4
    for (std::size_t k = 0; k < addresses; ++k) a[k] += p_along_rows ? 1 : A_stride;
    b += B_stride;
  }
};

// f(0), f(1), ...
template <class F, std::size_t... n>
inline __attribute__((always_inline)) void each_of(std::index_sequence<n...>, const F& f) {
  (f(std::integral_constant<std::size_t, n>{}), ...);
}

// V and W are the vectors of a row of the block, of the width of the registers or narrower; W may be none.
// Not inlined: among the variables of its callers GCC keeps some of the sums in memory.
template <class T, class V, class W, std::size_t rows, bool p_along_rows>
__attribute__((noinline)) void product_block(const ProductBlock<T>& block) {
  constexpr std::size_t sums = chains < rows, is_vector<W> ? 2 : 1 > ;
  constexpr std::size_t second = width_of<T, V>;  // where W begins
  // A block that reaches beyond C goes by way of an array of its own size.
  constexpr std::size_t block_cols = second + width_of<T, W>;
  const bool whole = block.C_cols >= block_cols;
  alignas(V) T part[rows * block_cols];
  T* const C = whole ? block.C : part;
  const std::size_t C_stride = whole ? block.C_stride : block_cols;
  V c[sums][rows] = {};
  W d[sums][rows] = {};
  if (block.continues) {
    if (!whole) copy_part(block.C, block.C_stride, part, block_cols, rows, block.C_cols);
    const T* row = C;
#pragma GCC unroll 16
    for (std::size_t j = 0; j < rows; ++j, row += C_stride) {
      read(c[0][j], row);
      read(d[0][j], row + second);
    }
  } else if (block.init != nullptr) {
#pragma GCC unroll 16
    for (std::size_t j = 0; j < rows; ++j) {
      c[0][j] = block.init[j] - V{};
      if constexpr (is_vector<W>) d[0][j] = block.init[j] - W{};
    }
  }
  const std::size_t A_stride = block.A_stride, B_stride = block.B_stride;
  Place<T, rows, p_along_rows> place(block.A, A_stride, block.B);
  const T* later = block.later;
  const auto add = [&](std::size_t s, const auto& at, Share js) __attribute__((always_inline)) {
    V b_first;
    W b_second;
    read(b_first, at.b);
    read(b_second, at.b + second);
#pragma GCC unroll 16
    for (std::size_t j = js.begin; j < js.begin + js.size; ++j) {
      const T x = at.entry(j, A_stride);
      c[s][j] += x * b_first;
      if constexpr (is_vector<W>) d[s][j] += x * b_second;
    }
  };
  const auto term = [&](std::size_t s) __attribute__((always_inline)) {
    ask_for(place.b + terms_ahead_of_B * B_stride);
    if constexpr (block_cols * sizeof(T) > cache_line)
      ask_for(place.b + terms_ahead_of_B * B_stride + second);
    add(s, place, {0, rows});
    if constexpr (!p_along_rows) {
      ask_for(later);
      later += A_stride;
    }
    place.next(A_stride, B_stride);
  };
  const bool gated = p_along_rows && block.finishes && block.options->gate != nullptr;
  const T* const gate = gated ? block.options->gate + block.at : nullptr;
  std::size_t p = 0;
  // In more chains a sum's order would depend on which terms are left out, and so on what else is swept.
  const bool leaves_out = !p_along_rows && sums == 1 && block.chosen != nullptr;
  constexpr std::size_t lasts = last_terms<V, W, rows>;
  const bool has_last_terms = lasts > 0 && !leaves_out && block.terms >= lasts;
  const std::size_t terms = leaves_out ? block.chosen_terms : block.terms - (has_last_terms ? lasts : 0);
  if (leaves_out) {
    for (; p < terms; ++p) {
      const std::size_t q = block.chosen[p];
      place = {block.A + q * A_stride, A_stride, block.B + q * B_stride};
      later = block.later + q * A_stride;
      term(0);
    }
  }
  if constexpr (sums == 1) {
    // What comes later is asked for or copied in the course of the terms, a part with each row of the block:
    // all at once it would fill the queue of what memory owes, and the block wait for it.
    const Ahead<T>* const ahead = block.finishes ? block.options->ahead : nullptr;
    const std::size_t n_companions = ahead == nullptr ? 0 : ahead->companions.count;
    const bool copies = !p_along_rows && block.panels != nullptr;
    const bool asks = block.upcoming != nullptr && block.upcoming->count > 0;
    assert(block.chosen == nullptr || !asks);  // its terms are done
    if (n_companions > 0 || asks || block.next != nullptr || copies) {
      for (std::size_t j = 0; j < rows; ++j) {
        for (std::size_t i = 0; i < n_companions; ++i) {
          const T* entry = ahead->companions.first_entries[i] + block.at + j * block.at_stride;
          ask_to_write(entry);
          if constexpr (is_vector<W>) ask_to_write(entry + second);
        }
        if (block.next != nullptr) {
          const T* entry = block.next + j * block.C_stride;
          const T* of_gate = gated ? gate + (entry - block.C) : entry;
          ask_to_write(entry);
          ask_for(of_gate);
          if constexpr (is_vector<W>) ask_to_write(entry + second), ask_for(of_gate + second);
        }
        if (copies) block.panels->step();
        const std::size_t end = terms * (j + 1) / rows;
        if (asks) block.upcoming->ask(end / terms_a_line - p / terms_a_line);
        for (; p < end; ++p) term(0);
      }
    }
  }
  const std::size_t in_chains = sums == 1 || block.options->in_order ? p : terms;
  for (; p + sums <= in_chains; p += sums) {
#pragma GCC unroll 4
    for (std::size_t s = 0; s < sums; ++s) term(s);
  }
  for (; p < terms; ++p) term(0);
#pragma GCC unroll 16
  for (std::size_t j = 0; j < rows; ++j) {
#pragma GCC unroll 4
    for (std::size_t s = 1; s < sums; ++s) {
      c[0][j] += c[s][j];
      if constexpr (is_vector<W>) d[0][j] += d[s][j];
    }
  }
  const bool relu = !p_along_rows && block.finishes && block.options->relu;
  const auto finish = [&](auto group) __attribute__((always_inline)) {
    constexpr std::size_t first = group * rows_at_once;
    constexpr std::size_t last = first + rows_at_once < rows ? first + rows_at_once : rows;
    if (has_last_terms) {
      auto at = place;
#pragma GCC unroll 4
      for (std::size_t t = 0; t < lasts; ++t) {
        add(0, at, {first, last - first});
        at.next(A_stride, B_stride);
      }
    }
    if (relu) {
#pragma GCC unroll 16
      for (std::size_t j = first; j < last; ++j) {
        c[0][j] = positive_part(c[0][j]);
        if constexpr (is_vector<W>) d[0][j] = positive_part(d[0][j]);
      }
    }
    if (gated) {
      V z_first;
      W z_second;
#pragma GCC unroll 16
      for (std::size_t j = first; j < last; ++j) {
        read(z_first, gate + j * block.at_stride);
        read(z_second, gate + j * block.at_stride + second);
        c[0][j] = z_first > V{} ? c[0][j] : V{};
        if constexpr (is_vector<W>) d[0][j] = z_second > W{} ? d[0][j] : W{};
      }
    }
#pragma GCC unroll 16
    for (std::size_t j = first; j < last; ++j) {
      write(C + j * C_stride, c[0][j]);
      write(C + j * C_stride + second, d[0][j]);
    }
  };
  each_of(std::make_index_sequence<(rows + rows_at_once - 1) / rows_at_once>{}, finish);
  if (!whole) copy_part(part, block_cols, block.C, block.C_stride, rows, block.C_cols);
}

template <class T, class V, class W, bool p_along_rows>
void product_block_of(std::size_t rows, const ProductBlock<T>& block) {
  static_assert(most_rows <= 14);
  switch (rows) {
#define BACKSWEEP_CASE(n)                                                                \
  case n:                                                                                \
    if constexpr (n <= most_rows) return product_block<T, V, W, n, p_along_rows>(block); \
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

}  // namespace
}  // namespace backsweep
