// Memory for numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "core/blocks.hpp"

namespace backsweep {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(std::size_t n) {
    if (n > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(take_block(n * sizeof(T)));
  }
  void deallocate(T* p, std::size_t n) { return_block(p, n * sizeof(T)); }

  bool operator==(const AlignedAllocator&) const { return true; }
  bool operator!=(const AlignedAllocator&) const { return false; }
};

// Numbers are what was in their memory, until they are written.
template <class T>
struct UninitialisedAllocator : AlignedAllocator<T> {
  UninitialisedAllocator() = default;
  template <class U>
  UninitialisedAllocator(const UninitialisedAllocator<U>&) {}

  template <class U>
  void construct(U* p) {
    ::new (static_cast<void*>(p)) U;
  }
};

template <class T>
using Buffer = std::vector<T, AlignedAllocator<T>>;
template <class T>
using UninitialisedBuffer = std::vector<T, UninitialisedAllocator<T>>;

}  // namespace backsweep
