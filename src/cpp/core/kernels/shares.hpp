// How much falls to each of several blocks.
#pragma once

#include <cstddef>

namespace backsweep {
namespace {

// n things in as few parts as there are with at most so many in each, and as equal as can be.
struct Share {
  std::size_t begin;
  std::size_t size;
};
class Shares {
 public:
  Shares(std::size_t n, std::size_t at_most)
      : count_(n == 0 ? 1 : (n + at_most - 1) / at_most),
        size_(count_ == 1 ? n : n / count_),
        larger_(n - size_ * count_) {}

  std::size_t count() const { return count_; }
  Share operator[](std::size_t part) const {
    const bool is_larger = part < larger_;
    return {part * size_ + (is_larger ? part : larger_), size_ + is_larger};
  }

 private:
  std::size_t count_;
  std::size_t size_;
  std::size_t larger_;  // so many of the parts hold one more
};

}  // namespace
}  // namespace backsweep
