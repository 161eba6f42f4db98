// What products leave out because it is zero: the rim of images, the words that a text does not have.
#pragma once

#include <algorithm>
#include <vector>

#include "core/kernels/kernels.hpp"
#include "core/matrix.hpp"

namespace backsweep {

// Tiles begin at whole vectors: no flag is for samples of two.
static_assert(widest_vector % samples_to_a_flag == 0);

// Which features of Z[0] are not zero throughout, for every so many samples.
class OccupiedFeatures {
 public:
  OccupiedFeatures() = default;
  OccupiedFeatures(std::size_t features, std::size_t samples)
      : stride_(features + 1),  // the row of ones too
        empty_((samples + samples_to_a_flag - 1) / samples_to_a_flag),
        flags_(stride_ * empty_.size(), 1) {}

  // Looks at samples [begin, begin + Z.cols), which begin with those of a flag.
  template <class T>
  void look(Matrix<T> Z, std::size_t begin) {
    for (std::size_t i = 0; i < Z.cols; i += samples_to_a_flag) {
      const std::size_t n = std::min(samples_to_a_flag, Z.cols - i), flag = (begin + i) / samples_to_a_flag;
      empty_[flag] = kernels<T>().find_occupied(Z.col_range(i, n), flags_.data() + flag * stride_);
    }
  }

  // Of some samples that were looked at; all features, where there is little to leave out.
  Occupied of(std::size_t begin, std::size_t count) const {
    if (flags_.empty()) return {};
    const std::size_t first = begin / samples_to_a_flag;
    const std::size_t flags = (count + samples_to_a_flag - 1) / samples_to_a_flag;
    std::size_t empty = 0;
    for (std::size_t i = first; i < first + flags; ++i) empty += empty_[i];
    if (empty * few_of_them < flags * stride_) return {};
    return {flags_.data() + first * stride_, stride_, flags};
  }

 private:
  static constexpr std::size_t few_of_them = 16;

  std::size_t stride_ = 0;
  std::vector<std::size_t> empty_;  // how many flags are 0
  std::vector<unsigned char> flags_;
};

}  // namespace backsweep
