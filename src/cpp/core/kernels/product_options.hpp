// What a product does beside multiplying.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace backsweep {

inline constexpr std::size_t cache_line = 64;

// Samples in the widest vector of any instruction set and dtype: rows of a tile reach to a multiple of it.
// And in the narrowest that a product takes for what is left over.
inline constexpr std::size_t widest_vector = 16;
inline constexpr std::size_t narrowest_vector = 4;

// So few samples leave most of a vector empty: the products of all three directions run along the outputs.
inline constexpr std::size_t few_samples = 4;
// The way forward does where a vector would be full once or twice only, and its weights be read in short
// pieces.
inline constexpr std::size_t several_samples = 28;

inline void ask_for([[maybe_unused]] const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
#endif
}

// For what will be written: another core that has read it must give it up first, which takes as long as to
// fetch it. Told early, it does so meanwhile.
inline void ask_to_write([[maybe_unused]] const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p, 1);
#endif
}

// Arrays that will be updated as soon as a matrix is done, and that are laid out like it: while a block of
// the matrix is computed, their part of it is brought into the cache.
template <class T>
struct Companions {
  std::array<const T*, 4> first_entries = {};
  std::size_t count = 0;

  void add(const T* first_entry) { first_entries[count++] = first_entry; }
};

// Rows that will be read later and lie where the processor does not foresee it: it is asked for some of their
// lines with each block of a matrix, few enough at a time that no block waits for them.
struct Upcoming {
  const unsigned char* const* rows = nullptr;
  std::size_t count = 0;
  std::size_t bytes = 0;  // of a row
  std::size_t at = 0;     // in the first of the rows that are left

  void ask(std::size_t lines) {
    for (; lines > 0 && count > 0; --lines) {
      ask_for(*rows + at);
      at += cache_line;
      if (at >= bytes) {
        at = 0;
        ++rows;
        --count;
      }
    }
  }
};

// What memory will be wanted after a product.
template <class T>
struct Ahead {
  Companions<T> companions;
  Upcoming* upcoming = nullptr;
};

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
  bool adds = false;        // C is added to, one term after another; init must be null
  bool relu = false;        // where j goes along the rows of A: C = max(C, 0)
  const T* gate = nullptr;  // where p does: C is 0 unless this, laid out like it, is positive
  const Ahead<T>* ahead = nullptr;
  const std::uint32_t* rows_of_A =
      nullptr;          // where p goes along them: C's rows come from these; null: from all
  Occupied terms = {};  // of B, its rows being features
};

}  // namespace backsweep
