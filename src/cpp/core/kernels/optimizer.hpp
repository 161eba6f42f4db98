// The updates of the optimizers, each one loop over a slice of the flat vectors.
#pragma once

#include <cassert>
#include <cmath>

#include "core/optimizer.hpp"

namespace backsweep {
namespace {

template <class T>
void sgd(const OptimizerSettings& s, std::size_t n, std::uint64_t step, double learning_rate,
         double gradient_scale, const T* dtheta, T* velocity, T* theta) {
  const T rate = static_cast<T>(learning_rate), scale = static_cast<T>(gradient_scale);
  const T mu = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
  if (s.momentum == 0) {
    for (std::size_t j = 0; j < n; ++j) theta[j] -= rate * (scale * dtheta[j] + decay * theta[j]);
    return;
  }
  const bool first = step == 0;  // the velocity starts at the first gradient, not at a share of it
  for (std::size_t j = 0; j < n; ++j) {
    const T g = scale * dtheta[j] + decay * theta[j];
    const T v = first ? g : mu * velocity[j] + g;
    velocity[j] = v;
    theta[j] -= rate * (s.nesterov ? g + mu * v : v);
  }
}

// Adam (Kingma and Ba, 2015), and AdamW (Loshchilov and Hutter, 2019), which decays the weights apart from
// the gradient.
template <class T>
void adam(const OptimizerSettings& s, std::size_t n, std::uint64_t step, double learning_rate,
          double gradient_scale, const T* dtheta, T* m, T* v, T* theta) {
  const double t = static_cast<double>(step) + 1;
  const double correction1 = 1 - std::pow(s.beta1, t);
  const double correction2 = 1 - std::pow(s.beta2, t);
  const bool decoupled = s.kind == OptimizerKind::adamw;
  const T keep = static_cast<T>(decoupled ? 1 - learning_rate * s.weight_decay : 1.0);
  const T decay = static_cast<T>(decoupled ? 0.0 : s.weight_decay);
  const T beta1 = static_cast<T>(s.beta1), one_minus_beta1 = static_cast<T>(1 - s.beta1);
  const T beta2 = static_cast<T>(s.beta2), one_minus_beta2 = static_cast<T>(1 - s.beta2);
  const T step_size = static_cast<T>(learning_rate / correction1);
  const T inv_sqrt_correction2 = static_cast<T>(1 / std::sqrt(correction2));
  const T epsilon = static_cast<T>(s.epsilon), scale = static_cast<T>(gradient_scale);
  for (std::size_t j = 0; j < n; ++j) {
    const T g = scale * dtheta[j] + decay * theta[j];
    m[j] = beta1 * m[j] + one_minus_beta1 * g;
    v[j] = beta2 * v[j] + one_minus_beta2 * g * g;
    theta[j] = keep * theta[j] - step_size * m[j] / (std::sqrt(v[j]) * inv_sqrt_correction2 + epsilon);
  }
}

// RMSprop (Hinton's lecture 6e), with PyTorch's momentum and centring (Graves, 2013).
template <class T>
void rmsprop(const OptimizerSettings& s, std::size_t n, double learning_rate, double gradient_scale,
             const T* dtheta, T* square_average, T* velocity, T* gradient_average, T* theta) {
  const T rate = static_cast<T>(learning_rate), scale = static_cast<T>(gradient_scale);
  const T alpha = static_cast<T>(s.alpha), one_minus_alpha = static_cast<T>(1 - s.alpha);
  const T mu = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
  const T epsilon = static_cast<T>(s.epsilon);
  for (std::size_t j = 0; j < n; ++j) {
    const T g = scale * dtheta[j] + decay * theta[j];
    square_average[j] = alpha * square_average[j] + one_minus_alpha * g * g;
    T variance = square_average[j];
    if (s.centered) {
      gradient_average[j] = alpha * gradient_average[j] + one_minus_alpha * g;
      variance -= gradient_average[j] * gradient_average[j];
      variance = variance < T(0) ? T(0) : variance;  // rounding may leave it just below
    }
    T change = g / (std::sqrt(variance) + epsilon);
    if (s.momentum != 0) {
      velocity[j] = mu * velocity[j] + change;
      change = velocity[j];
    }
    theta[j] -= rate * change;
  }
}

template <class T>
T* at(T* state, std::size_t begin) {
  return state == nullptr ? nullptr : state + begin;
}

template <class T>
void update_slice(const OptimizerSettings& s, std::size_t begin, std::size_t end, std::uint64_t step,
                  double learning_rate, double gradient_scale, const T* dtheta,
                  const OptimizerState<T>& state, T* theta) {
  assert(begin <= end);
  const std::size_t n = end - begin;
  T* const a = at(state[0], begin);
  T* const b = at(state[1], begin);
  T* const c = at(state[2], begin);
  switch (s.kind) {
    case OptimizerKind::sgd:
      sgd(s, n, step, learning_rate, gradient_scale, dtheta, a, theta + begin);
      break;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      adam(s, n, step, learning_rate, gradient_scale, dtheta, a, b, theta + begin);
      break;
    case OptimizerKind::rmsprop:
      rmsprop(s, n, learning_rate, gradient_scale, dtheta, a, b, c, theta + begin);
      break;
  }
}

}  // namespace
}  // namespace backsweep
