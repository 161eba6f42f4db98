// Entries of A that are copied side by side before a product reads them. Rows of A that lie a page apart fall
// into a few sets of the caches, and those of a block drive one another out.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "core/ahead.hpp"
#include "core/kernels/shares.hpp"
#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// A block of C is so many rows by one or two vectors: as many as the instruction set has room for.
constexpr std::size_t most_rows = vector_bytes == 64 ? 14 : 6;
// So many terms at a time that their rows of B, two vectors wide, stay in the first-level cache or near it
// while all rows of C go by.
constexpr std::size_t terms_at_a_time = 256;

// Where p goes along the rows of A: the entries for one row of blocks after another, of those rows of A that
// `chosen` names, or of the first.
template <class T>
class RowPanels {
 public:
  // A row takes an odd number of cache lines, lest all fall into a few sets of the first-level cache.
  static constexpr std::size_t stride = terms_at_a_time + cache_line / sizeof(T);

  RowPanels(const ConstMatrix<T>& A, const Shares& blocks, const std::uint32_t* chosen)
      : A_(A), blocks_(blocks), chosen_(chosen) {}

  void begin(Share terms) { terms_ = terms; }

  // Those that are copied next are to be asked for while these are read.
  const T* panel(std::size_t n) {
    const Share rows = blocks_[n];
    for (std::size_t j = 0; j < rows.size; ++j) {
      std::memcpy(entries_ + j * stride, address(rows.begin + j), terms_.size * sizeof(T));
    }
    const Share after = n + 1 < blocks_.count() ? blocks_[n + 1] : Share{0, 0};
    for (std::size_t j = 0; j < after.size; ++j) next_[j] = address(after.begin + j);
    upcoming_ = {next_, after.size, terms_.size * sizeof(T)};
    return entries_;
  }

  Upcoming* upcoming() { return upcoming_.count > 0 ? &upcoming_ : nullptr; }

 private:
  const unsigned char* address(std::size_t row) const {
    const T* first = A_.row(chosen_ == nullptr ? row : chosen_[row]) + terms_.begin;
    return reinterpret_cast<const unsigned char*>(first);
  }

  ConstMatrix<T> A_;
  const Shares& blocks_;
  const std::uint32_t* chosen_;
  Share terms_{};
  alignas(cache_line) T entries_[stride * most_rows];
  const unsigned char* next_[most_rows];
  Upcoming upcoming_;
};

// Where j goes along the rows of A a panel has the few entries of each row that belong to a row of blocks.
// Of a row of A those of several panels are copied at once, so that lines are met whole.
template <class T>
constexpr std::size_t panels_at_once = 256 / (most_rows * sizeof(T));

// Some panels that are filled while the blocks before them are computed: a row of A at a time, and the rows
// that follow are asked for.
template <class T>
struct UpcomingPanels {
  static constexpr std::size_t size = terms_at_a_time * most_rows;  // of a panel
  static constexpr std::size_t rows_ahead = 4;

  const T* row = nullptr;  // of A, the next that is copied
  std::size_t stride = 0;
  std::size_t width = 0;                              // of what is copied of it
  std::array<std::size_t, panels_at_once<T>> begins;  // there, of each panel
  std::size_t count = 0;                              // of the panels
  T* to = nullptr;
  std::size_t rows = 0, rows_left = 0;
  std::size_t steps = 1, due = 0;  // in so many steps all rows are copied

  void copy_row() {
    for (std::size_t i = 0; i < width; i += cache_line / sizeof(T)) ask_for(row + rows_ahead * stride + i);
    for (std::size_t n = 0; n < count; ++n) {
      std::memcpy(to + n * size, row + begins[n], most_rows * sizeof(T));
    }
    row += stride;
    to += most_rows;
    --rows_left;
  }

  void step() {
    for (due += rows; due >= steps && rows_left > 0; due -= steps) copy_row();
  }

  void finish() {
    while (rows_left > 0) copy_row();
  }
};

// The panels of A for all rows of blocks in turn: some are read while the next ones are filled.
template <class T>
class ColumnPanels {
 public:
  static constexpr std::size_t stride = most_rows;  // of a panel

  // A must have more columns than a block has rows.
  ColumnPanels(const ConstMatrix<T>& A, const Shares& blocks, std::size_t steps_of_blocks)
      : A_(A), blocks_(blocks), steps_of_blocks_(steps_of_blocks) {}

  void begin(Share terms) {
    terms_ = terms;
    upcoming_ = those_from(0);
    upcoming_.finish();
  }

  // To be called for each row of blocks.
  const T* panel(std::size_t n) {
    if (n % panels_at_once<T> == 0) {
      upcoming_.finish();
      upcoming_ = those_from(n + panels_at_once<T>);
    }
    return place(n) + blocks_[n].begin - begin_of(n);
  }

  UpcomingPanels<T>* upcoming() { return &upcoming_; }

 private:
  // A thread that needs them has its own, and not on its stack, which may be small, nor among its variables,
  // for which each thread that computes anything would pay.
  struct Places {
    alignas(cache_line) T entries[2 * panels_at_once<T> * UpcomingPanels<T>::size];

    static Places& of_thread() {
      static thread_local const std::unique_ptr<Places> places(new Places);
      return *places;
    }
  };
  T* place(std::size_t n) const {
    return places_.entries + n % (2 * panels_at_once<T>)*UpcomingPanels<T>::size;
  }

  // Every panel is as wide as the widest, and begins before its block where it would reach beyond A.
  std::size_t begin_of(std::size_t n) const { return std::min(blocks_[n].begin, A_.cols - most_rows); }

  UpcomingPanels<T> those_from(std::size_t first) const {
    UpcomingPanels<T> panels;
    if (first >= blocks_.count()) return panels;
    panels.row = A_.row(terms_.begin) + begin_of(first);
    panels.stride = A_.stride;
    panels.count = std::min(panels_at_once<T>, blocks_.count() - first);
    for (std::size_t n = 0; n < panels.count; ++n) panels.begins[n] = begin_of(first + n) - begin_of(first);
    panels.width = panels.begins[panels.count - 1] + most_rows;
    panels.to = place(first);
    panels.rows = panels.rows_left = terms_.size;
    panels.steps = steps_of_blocks_ * panels_at_once<T>;
    return panels;
  }

  ConstMatrix<T> A_;
  const Shares& blocks_;
  std::size_t steps_of_blocks_;  // while a row of blocks is computed
  Share terms_{};
  UpcomingPanels<T> upcoming_;
  Places& places_ = Places::of_thread();
};

}  // namespace
}  // namespace backsweep
