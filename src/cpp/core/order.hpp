// Orders of rows at random.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/ahead.hpp"
#include "core/matrix.hpp"

namespace backsweep {

// below() multiplies by halves: n must fit into 32 bits.
inline constexpr std::size_t most_shuffled = 0xffffffffu;

// ⌊draw n / 2⁶⁴⌋, from 0 to n - 1: no value has more than n / 2⁶⁴ beyond its share of all draws.
inline std::size_t below(std::size_t n, std::uint64_t draw) {
  const std::uint64_t low = draw & 0xffffffffu, high = draw >> 32;
  return static_cast<std::size_t>((high * n + (low * n >> 32)) >> 32);
}

// Fisher and Yates's shuffle in Durstenfeld's form: the last entry of those that are left changes places with
// any of them, then the one before it, and so on. With `left` entries left, as many steps as there are draws;
// at most `left`.
inline void shuffle(std::int64_t* order, std::size_t left, const std::uint64_t* draws, std::size_t steps) {
  constexpr std::size_t steps_ahead = 16;  // to ask for a place that is far away
  for (std::size_t s = 0; s < steps; ++s) {
    const std::size_t later = s + steps_ahead;
    if (later < steps) ask_to_write(order + below(left - later, draws[later]));
    std::swap(order[left - s - 1], order[below(left - s, draws[s])]);
  }
}

// An order of m rows that is nowhere kept: a function of the place, by Feistel's network on the cells of a
// rectangle (Black and Rogaway, 2002, Ciphers with arbitrary finite domains). Places are its cells, counted
// row by row. A round shifts each of its rows along itself, then each of its columns, by draws of their own;
// a cell that comes to rest beyond the m-th goes through the rounds again.
struct Rectangle {
  std::size_t m;                             // 1 or more: the last row has one of them at least
  Matrix<const std::int64_t> row_shifts;     // (rounds, height), each from 0 to width - 1
  Matrix<const std::int64_t> column_shifts;  // (rounds, width), each from 0 to height - 1

  // Entries begin, begin + 1, ..., begin + count - 1 of the order, none beyond the m-th.
  void order(std::size_t begin, std::size_t count, std::int64_t* entries) const {
    const std::size_t width = column_shifts.cols, height = row_shifts.cols;
    std::size_t row = begin / width, column = begin % width;
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t cell, r = row, c = column;
      do {
        for (std::size_t round = 0; round < row_shifts.rows; ++round) {
          c = shifted(c, row_shifts(round, r), width);
          r = shifted(r, column_shifts(round, c), height);
        }
        cell = r * width + c;
      } while (cell >= m);
      entries[i] = static_cast<std::int64_t>(cell);
      if (++column == width) {
        column = 0;
        ++row;
      }
    }
  }

 private:
  static std::size_t shifted(std::size_t place, std::int64_t by, std::size_t n) {
    const std::size_t sum = place + static_cast<std::size_t>(by);
    return sum < n ? sum : sum - n;
  }
};

}  // namespace backsweep
