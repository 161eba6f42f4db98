// A penalty on weights, penalty/2 Σ W²: its gradient is added block by block, and the sum taken in parts.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/network.hpp"
#include "core/optimizer.hpp"

namespace backsweep {

// dtheta += decay · theta, of a block whose first `weights` entries are weights.
template <class T>
void penalise(const ParameterBlock& block, std::size_t weights, double decay, const T* theta,
              const Matrix<T>& dtheta) {
  each_run(block, dtheta, [&](std::size_t begin, std::size_t n, T* dtheta_of_run) {
    n = std::min(n, weights);
    weights -= n;
    penalise<T>(n, decay, theta + begin, dtheta_of_run);
  });
}

// The weights of a block, which are rows of it.
template <class T>
Matrix<const T> weights_of(const ParameterBlock& block, std::size_t weights, const T* theta) {
  return {theta + block.begin, weights / block.cols, block.cols, block.stride};
}

// Σ W² in parts: of the rows of a block, and of as many columns as the widest vector holds. They are added in
// one order, whoever has taken them.
class WeightSquares {
 public:
  WeightSquares() = default;
  explicit WeightSquares(const std::vector<GradientBlock>& blocks) {
    std::size_t parts = 0;
    for (const GradientBlock& block : blocks) {
      first_part_.push_back(parts);
      parts += (block.parameters.cols + widest_vector - 1) / widest_vector;
    }
    parts_.resize(parts);
  }

  // Of a block, or of some of its columns, the first of which begins a vector.
  template <class T>
  void take(std::size_t block, std::size_t first_col, const Matrix<const T>& W) {
    squares_of_columns<T>(W, parts_.data() + first_part_[block] + first_col / widest_vector);
  }

  double sum() const { return std::accumulate(parts_.begin(), parts_.end(), 0.0); }

 private:
  std::vector<std::size_t> first_part_;
  std::vector<double> parts_;
};

}  // namespace backsweep
