// The losses ℓ: value and G[L] = ∂ℓ/∂Z[L] in one pass. Means are PyTorch's (reduction "mean").
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "core/matrix.hpp"

namespace backsweep {

enum class Loss {
  softmax_cross_entropy,
  sigmoid_cross_entropy,
  mean_squared_error,
  mean_absolute_error,
  huber,
  poisson
};

// The names, in the order of the enumeration: their one home.
inline constexpr std::array<std::string_view, 6> loss_names = {"softmax_cross_entropy",
                                                               "sigmoid_cross_entropy",
                                                               "mean_squared_error",
                                                               "mean_absolute_error",
                                                               "huber",
                                                               "poisson"};

// What some samples should be: labels 0..k-1 of a softmax, or one value for each output.
template <class T>
struct Targets {
  const std::int64_t* labels = nullptr;             // (m,), or null where values are given
  Matrix<const T> values;                           // (k, m)
  const T* weights = nullptr;                       // (m,), or null: every sample counts 1
  T loss_cap = std::numeric_limits<T>::infinity();  // the loss of a label or value is reported up to this
};

// Σw over the first m samples.
template <class T>
double weight_sum(const Targets<T>& y, std::size_t m);

// Whether all of m labels lie in 0..k-1.
bool labels_in_range(const std::int64_t* labels, std::size_t m, std::size_t k);

// Sums over samples, so that tiles add up to the batch.
struct LossSums {
  double loss = 0;     // Σ w ℓ; the losses that average over outputs have done so
  double correct = 0;  // Σ w [the sample is classified rightly]; 0 where the loss does not classify
};

// Whether samples can be right or wrong: a cross-entropy classifies.
bool classifies(Loss loss);

// The sums over the samples of Z (k, m), which lie along its rows, and G = scale · w · ∂ℓ/∂Z where G is asked
// for. With scale = 1/Σw over the batch, G is the gradient of the (weighted) mean. Every label must lie in
// 0..k-1. Rows of Z, G and y.values must reach to the end of a whole vector; there G is set to 0. G may be Z.
template <class T>
LossSums loss_and_gradient(Loss loss, const ConstMatrix<T>& Z, const Targets<T>& y, double scale,
                           const Matrix<T>& G);

}  // namespace backsweep
