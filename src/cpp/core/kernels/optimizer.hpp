// The updates of the optimizers, each one loop over a slice of the flat vectors.
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"
#include "core/optimizer.hpp"

namespace backsweep {
namespace {

template <class T>
void sgd(const OptimizerSettings& s, std::size_t n, const StepSize& step, const T* dtheta, T* velocity,
         T* theta) {
  const T rate = static_cast<T>(step.learning_rate), scale = static_cast<T>(step.gradient_scale);
  const T mu = static_cast<T>(s.momentum), decay = static_cast<T>(s.weight_decay);
  if (s.momentum == 0) {
    for (std::size_t j = 0; j < n; ++j) theta[j] -= rate * (scale * dtheta[j] + decay * theta[j]);
    return;
  }
  const bool first = step.index == 0;  // the velocity starts at the first gradient, not at a share of it
  for (std::size_t j = 0; j < n; ++j) {
    const T g = scale * dtheta[j] + decay * theta[j];
    const T v = first ? g : mu * velocity[j] + g;
    velocity[j] = v;
    theta[j] -= rate * (s.nesterov ? g + mu * v : v);
  }
}

// Adam (Kingma and Ba, 2015), and AdamW (Loshchilov and Hutter, 2019), which decays the weights apart from
// the gradient. The corrections of the moments go into the size of the step and into epsilon, as at the end
// of the paper's section 2: √v stands as it is.
template <class T>
void adam(const OptimizerSettings& s, std::size_t n, const StepSize& step, const T* dtheta, T* m_of, T* v_of,
          T* theta_of) {
  const double learning_rate = step.learning_rate;
  const bool decoupled = s.kind == OptimizerKind::adamw;
  const T keep = static_cast<T>(decoupled ? 1 - learning_rate * s.weight_decay : 1.0);
  const T decay = static_cast<T>(decoupled ? 0.0 : s.weight_decay);
  const T one_minus_beta1 = static_cast<T>(1 - s.beta1);
  const T beta2 = static_cast<T>(s.beta2), one_minus_beta2 = static_cast<T>(1 - s.beta2);
  const double root = std::sqrt(step.correction2);
  const T step_size = static_cast<T>(learning_rate * root / step.correction1);
  // Where it is there it keeps 0 / 0 away, so it must not count as zero itself.
  const double smallest = s.epsilon > 0 ? static_cast<double>(std::numeric_limits<T>::min()) : 0;
  const T epsilon = static_cast<T>(std::max(s.epsilon_hat ? s.epsilon : s.epsilon * root, smallest));
  const T scale = static_cast<T>(step.gradient_scale);
  const bool plain = scale == T(1) && decay == T(0);
  const auto updated = [&](std::size_t j, auto read, auto write) __attribute__((always_inline)) {
    const Vector<T> theta = read(theta_of + j);
    Vector<T> g = read(dtheta + j);
    if (!plain) g = scale * g + decay * theta;
    Vector<T> m = read(m_of + j), v = read(v_of + j);
    m += one_minus_beta1 * (g - m);
    v = beta2 * v + one_minus_beta2 * g * g;
    write(m_of + j, m);
    write(v_of + j, v);
    const Vector<T> size = quotient(step_size * m, square_root(v) + epsilon);
    write(theta_of + j, keep * theta - size);
  };
  std::size_t j = 0;
  for (; j + lanes<T> <= n; j += lanes<T>) {
    updated(j, [](const T* p) { return load(p); }, [](T* p, Vector<T> v) { store(p, v); });
  }
  if (j < n) {
    updated(
        j, [&](const T* p) { return load_part<Vector<T>>(p, n - j); },
        [&](T* p, Vector<T> v) { store_part(p, v, n - j); });
  }
}

// RMSprop (Hinton's lecture 6e), with PyTorch's momentum and centring (Graves, 2013).
template <class T>
void rmsprop(const OptimizerSettings& s, std::size_t n, const StepSize& step, const T* dtheta,
             T* square_average, T* velocity, T* gradient_average, T* theta) {
  const T rate = static_cast<T>(step.learning_rate), scale = static_cast<T>(step.gradient_scale);
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
void penalise_slice(std::size_t n, double decay, const T* theta, T* dtheta) {
  const T factor = static_cast<T>(decay);
  for (std::size_t j = 0; j < n; j += lanes<T>) {
    const Vector<T> w = load_part<Vector<T>>(theta + j, n - j);
    store_part(dtheta + j, load_part<Vector<T>>(dtheta + j, n - j) + factor * w, n - j);
  }
}

// The sums stay in T down the rows.
template <class T>
void column_squares(const Matrix<const T>& W, double* squares) {
  constexpr std::size_t vectors = widest_vector / lanes<T>;
  for (std::size_t col = 0; col < W.cols; col += widest_vector) {
    const std::size_t n = std::min(W.cols - col, widest_vector);
    Vector<T> sums[vectors] = {};
    for (std::size_t r = 0; r < W.rows; ++r) {
      for (std::size_t v = 0; v * lanes<T> < n; ++v) {
        const Vector<T> w = load_part<Vector<T>>(W.row(r) + col + v * lanes<T>, n - v * lanes<T>);
        sums[v] += w * w;
      }
    }
    double total = 0;
    for (const Vector<T>& sum : sums) {
      for (std::size_t l = 0; l < lanes<T>; ++l) total += static_cast<double>(sum[l]);
    }
    *squares++ = total;
  }
}

template <class T>
T* at(T* state, std::size_t begin) {
  return state == nullptr ? nullptr : state + begin;
}

template <class T>
void update_slice(const OptimizerSettings& s, std::size_t begin, std::size_t end, const StepSize& step,
                  const T* dtheta, const OptimizerState<T>& state, T* theta) {
  assert(begin <= end);
  const std::size_t n = end - begin;
  T* const a = at(state[0], begin);
  T* const b = at(state[1], begin);
  T* const c = at(state[2], begin);
  switch (s.kind) {
    case OptimizerKind::sgd:
      sgd(s, n, step, dtheta, a, theta + begin);
      break;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      adam(s, n, step, dtheta, a, b, theta + begin);
      break;
    case OptimizerKind::rmsprop:
      rmsprop(s, n, step, dtheta, a, b, c, theta + begin);
      break;
  }
}

}  // namespace
}  // namespace backsweep
