// An order of rows at random, by Fisher and Yates's shuffle in Durstenfeld's form: the last entry of those
// that are left changes places with any of them, then the one before it, and so on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/kernels/product_options.hpp"

namespace backsweep {

// below() multiplies by halves: n must fit into 32 bits.
inline constexpr std::size_t most_shuffled = 0xffffffffu;

// ⌊draw n / 2⁶⁴⌋, from 0 to n - 1: no value has more than n / 2⁶⁴ beyond its share of all draws.
inline std::size_t below(std::size_t n, std::uint64_t draw) {
  const std::uint64_t low = draw & 0xffffffffu, high = draw >> 32;
  return static_cast<std::size_t>((high * n + (low * n >> 32)) >> 32);
}

// With `left` entries left, as many steps as there are draws; at most `left`.
inline void shuffle(std::int64_t* order, std::size_t left, const std::uint64_t* draws, std::size_t steps) {
  constexpr std::size_t steps_ahead = 16;  // to ask for a place that is far away
  for (std::size_t s = 0; s < steps; ++s) {
    const std::size_t later = s + steps_ahead;
    if (later < steps) ask_to_write(order + below(left - later, draws[later]));
    std::swap(order[left - s - 1], order[below(left - s, draws[s])]);
  }
}

}  // namespace backsweep
