// What a product does beside multiplying.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ahead.hpp"

namespace backsweep {

// Which features of which samples may differ from zero: a flag for every feature and every so many samples.
// What is zero adds nothing to a product and is left out: the rim of images, words that a text does not have.
inline constexpr std::size_t samples_to_a_flag = 16;
struct Occupied {
  const unsigned char* flags = nullptr;  // null: all of them
  std::size_t stride = 0;                // from some samples' flags to those of the next
  std::size_t count = 0;                 // of the rows of flags

  explicit operator bool() const { return flags != nullptr; }
  bool feature(std::size_t j) const {
    bool any = false;
    for (std::size_t i = 0; i < count; ++i) any |= flags[i * stride + j] != 0;
    return any;
  }
  Occupied from_feature(std::size_t j) const {
    return {flags == nullptr ? nullptr : flags + j, stride, count};
  }
};

template <class T>
struct ProductOptions {
  bool adds = false;        // C is added to; init must be null
  bool in_order = false;    // one term after another, whatever the size of a block
  bool relu = false;        // where j goes along the rows of A: C = max(C, 0)
  const T* gate = nullptr;  // where p does: C is 0 unless this, laid out like it, is positive
  const Ahead<T>* ahead = nullptr;
  const std::uint32_t* rows_of_A =
      nullptr;          // where p goes along them: C's rows come from these; null: from all
  Occupied terms = {};  // of B, its rows being features
};

}  // namespace backsweep
