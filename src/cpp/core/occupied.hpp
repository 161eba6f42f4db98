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

  // Looks at samples [begin, begin + Z.cols), which begin with those of a flag. Where the first of them leave
  // little out, the others are taken for full.
  template <class T>
  void look(const Matrix<T>& Z, std::size_t begin) {
    const std::size_t first = begin / samples_to_a_flag;
    for (std::size_t i = 0; i < Z.cols; i += samples_to_a_flag) {
      const std::size_t n = std::min(samples_to_a_flag, Z.cols - i), flag = (begin + i) / samples_to_a_flag;
      unsigned char* const flags = flags_.data() + flag * stride_;
      if (i == 0 || !is_little(empty_[first], 1)) {
        empty_[flag] = kernels<T>().find_occupied(Z.col_range(i, n), flags);
      } else {
        std::fill_n(flags, Z.rows, static_cast<unsigned char>(1));
        empty_[flag] = 0;
      }
    }
  }

  // Of some samples that were looked at; all features, where there is little to leave out.
  Occupied of(std::size_t begin, std::size_t count) const {
    if (flags_.empty()) return {};
    const std::size_t first = begin / samples_to_a_flag;
    const std::size_t flags = (count + samples_to_a_flag - 1) / samples_to_a_flag;
    std::size_t empty = 0;
    for (std::size_t i = first; i < first + flags; ++i) empty += empty_[i];
    if (is_little(empty, flags)) return {};
    return {flags_.data() + first * stride_, stride_, flags};
  }

 private:
  // Whether so many flags are 0 of as many features' is not worth the trouble.
  bool is_little(std::size_t empty, std::size_t samples_flags) const {
    constexpr std::size_t few_of_them = 16;
    return empty * few_of_them < samples_flags * stride_;
  }

  std::size_t stride_ = 0;
  std::vector<std::size_t> empty_;  // how many flags are 0
  std::vector<unsigned char> flags_;
};

}  // namespace backsweep
