// Threefry-2x32 with 20 rounds, a counter-based random number generator: two words that are a function of a
// key and a counter, so that any entry of a mask can be drawn by itself. Salmon, Moraes, Dror and Shaw
// (2011), Parallel random numbers: as easy as 1, 2, 3. Additions, rotations and exclusive ors only: a vector
// at a time.
#pragma once

#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

struct ThreefryKey {
  std::uint32_t first;
  std::uint32_t second;
};

// The counter (x, y) becomes two random words. Word is std::uint32_t or a vector of them.
template <class Word>
inline void threefry(ThreefryKey key, Word& x, Word& y) {
  const std::uint32_t keys[3] = {key.first, key.second, 0x1BD11BDA ^ key.first ^ key.second};
  constexpr int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  x += keys[0];
  y += keys[1];
  for (unsigned group = 0; group < 5; ++group) {
    for (const int r : rotations[group % 2]) {
      x += y;
      y = (y << r | y >> (32 - r)) ^ x;
    }
    x += keys[(group + 1) % 3];
    y += keys[(group + 2) % 3] + (group + 1);
  }
}

// The key for what is drawn under another one: a number is folded in.
inline ThreefryKey folded(ThreefryKey key, std::uint64_t number) {
  auto x = static_cast<std::uint32_t>(number), y = static_cast<std::uint32_t>(number >> 32);
  threefry(key, x, y);
  return {x, y};
}

}  // namespace
}  // namespace backsweep
