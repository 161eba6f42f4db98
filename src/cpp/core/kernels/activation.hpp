// The activations σ and their slopes σ', as loops over the rows of a matrix.
#pragma once

#include "core/activation.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

// Each activation: value(a), and beside it slope(z) of its output or, where needs_preactivation, slope(a).
// Comparisons are arranged so that NaN goes through: a wrong number must reach the loss, where it is noticed.

struct Relu {
  template <class T>
  static T value(T a) {
    return a < T(0) ? T(0) : a;
  }
  template <class T>
  static T slope(T z) {
    return z > T(0) ? T(1) : T(0);
  }
};

struct LeakyRelu {
  static constexpr double below = 0.01;
  template <class T>
  static T value(T a) {
    return a > T(0) ? a : T(below) * a;
  }
  template <class T>
  static T slope(T z) {
    return z > T(0) ? T(1) : T(below);
  }
};

struct Elu {
  template <class T>
  static T value(T a) {
    return a > T(0) ? a : std::expm1(a);
  }
  template <class T>
  static T slope(T z) {
    return z > T(0) ? T(1) : z + T(1);
  }
};

template <class T>
T logistic(T a) {
  const T e = std::exp(-std::abs(a));  // at most 1: nothing overflows
  return (a < T(0) ? e : T(1)) / (T(1) + e);
}

struct Sigmoid {
  template <class T>
  static T value(T a) {
    return logistic(a);
  }
  template <class T>
  static T slope(T z) {
    return z * (T(1) - z);
  }
};

struct Tanh {
  template <class T>
  static T value(T a) {
    return std::tanh(a);
  }
  template <class T>
  static T slope(T z) {
    return T(1) - z * z;
  }
};

struct Softplus {
  // Beyond the threshold PyTorch takes the function for the identity.
  static constexpr double threshold = 20;
  static constexpr double value_at_threshold = 20.00000000206115362;
  template <class T>
  static T value(T a) {
    return a > T(threshold) ? a : std::log1p(std::exp(a));
  }
  // σ'(a) = logistic(a) = 1 - exp(-σ(a))
  template <class T>
  static T slope(T z) {
    return z > T(value_at_threshold) ? T(1) : -std::expm1(-z);
  }
};

struct Gelu {
  static constexpr double sqrt_half = 0.70710678118654752440;        // √(1/2)
  static constexpr double inv_sqrt_two_pi = 0.39894228040143267794;  // 1/√(2π)
  template <class T>
  static T normal_cdf(T a) {
    return T(0.5) * std::erfc(-a * T(sqrt_half));
  }
  template <class T>
  static T value(T a) {
    return a * normal_cdf(a);
  }
  template <class T>
  static T slope(T a) {
    return normal_cdf(a) + a * T(inv_sqrt_two_pi) * std::exp(T(-0.5) * a * a);
  }
};

struct Silu {
  template <class T>
  static T value(T a) {
    return a * logistic(a);
  }
  template <class T>
  static T slope(T a) {
    const T s = logistic(a);
    return s * (T(1) + a * (T(1) - s));
  }
};

template <class T, class F>
void elementwise(ConstMatrix<T> A, Matrix<T> Z, F f) {
  for (std::size_t i = 0; i < A.rows; ++i) {
    const T* a = A.row(i);
    T* z = Z.row(i);
    for (std::size_t j = 0; j < A.cols; ++j) z[j] = f(a[j]);
  }
}

template <class T, class F>
void elementwise(ConstMatrix<T> A, ConstMatrix<T> B, Matrix<T> Z, F f) {
  for (std::size_t i = 0; i < A.rows; ++i) {
    const T* a = A.row(i);
    const T* b = B.row(i);
    T* z = Z.row(i);
    for (std::size_t j = 0; j < A.cols; ++j) z[j] = f(a[j], b[j]);
  }
}

// Calls f with the kind's functions: the one place where a name becomes code.
template <class F>
auto dispatch(Activation sigma, F f) {
  switch (sigma) {
    case Activation::relu:
      return f(Relu{});
    case Activation::leaky_relu:
      return f(LeakyRelu{});
    case Activation::elu:
      return f(Elu{});
    case Activation::sigmoid:
      return f(Sigmoid{});
    case Activation::tanh:
      return f(Tanh{});
    case Activation::softplus:
      return f(Softplus{});
    case Activation::gelu:
      return f(Gelu{});
    case Activation::silu:
      return f(Silu{});
    case Activation::identity:
      break;  // the callers have returned: its slope is 1
  }
  assert(false);
  return f(Relu{});
}

template <class T>
void activate(Activation sigma, ConstMatrix<T> A, Matrix<T> Z) {
  if (sigma == Activation::identity) {
    if (A.data != Z.data) elementwise<T>(A, Z, [](T a) { return a; });
    return;
  }
  dispatch(sigma, [&](auto kind) { elementwise<T>(A, Z, [](T a) { return decltype(kind)::value(a); }); });
}

template <class T>
void multiply_by_slope(Activation sigma, ConstMatrix<T> G, ConstMatrix<T> A, ConstMatrix<T> Z, Matrix<T> D) {
  if (sigma == Activation::identity) {
    if (G.data != D.data) elementwise<T>(G, D, [](T g) { return g; });
    return;
  }
  dispatch(sigma, [&](auto kind) {
    const auto& at = needs_preactivation(sigma) ? A : Z;
    elementwise<T>(G, at, D, [](T g, T x) { return g * decltype(kind)::slope(x); });
  });
}

}  // namespace
}  // namespace backsweep
