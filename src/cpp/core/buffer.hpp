// Memory for numbers: aligned for the widest vectors, and in large pages where there is much of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "core/sizes.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace backsweep {

inline constexpr std::size_t alignment = cache_line;

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(std::size_t n) {
    if (n > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    void* p = ::operator new(n * sizeof(T), alignment_of(n));
#if defined(__linux__)
    // Fewer pages to be handed out and to be found again. It is a request: where it is refused, nothing is
    // lost.
    if (is_large(n)) madvise(p, n * sizeof(T), MADV_HUGEPAGE);
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) { ::operator delete(p, alignment_of(n)); }

  bool operator==(const AlignedAllocator&) const { return true; }
  bool operator!=(const AlignedAllocator&) const { return false; }

 private:
  static constexpr std::size_t large_page = 1u << 21;
  static bool is_large(std::size_t n) { return n * sizeof(T) >= 2 * large_page; }
  static std::align_val_t alignment_of(std::size_t n) {
    return std::align_val_t{is_large(n) ? large_page : alignment};
  }
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
