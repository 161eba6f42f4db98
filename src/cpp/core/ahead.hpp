// Memory that is asked for before it is wanted.
#pragma once

#include <array>
#include <cstddef>

#include "core/sizes.hpp"

namespace backsweep {

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

// Arrays that will be updated as soon as a matrix is done, entry by entry of it: while a block of the matrix
// is computed, their part of it is brought into the cache.
template <class T>
struct Companions {
  std::array<const T*, 4> first_entries = {};
  std::size_t count = 0;
  std::size_t stride = 0;  // from one row of the matrix to the next, there

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

}  // namespace backsweep
