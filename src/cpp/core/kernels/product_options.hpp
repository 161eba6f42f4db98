// What a product does beside multiplying.
#pragma once

#include <array>
#include <cstddef>

namespace backsweep {

// Arrays that will be read as soon as a matrix is done, and that are laid out like it: while a block of the
// matrix is computed, their part of it is brought into the cache.
template <class T>
struct Companions {
  std::array<const T*, 4> first_entries = {};
  std::size_t count = 0;

  void add(const T* first_entry) { first_entries[count++] = first_entry; }
};

template <class T>
struct ProductOptions {
  bool relu = false;  // C = max(C, 0)
  Companions<T> companions;
};

}  // namespace backsweep
