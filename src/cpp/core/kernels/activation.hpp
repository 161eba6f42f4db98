// The activations σ and their slopes σ', as loops over the rows of a matrix.
#pragma once

#include "core/activation.hpp"
#include "core/kernels/elementary.hpp"

namespace backsweep {
namespace {

// Each activation: value(a), and beside it slope(z) of its output or, where needs_preactivation, slope(a).
// Comparisons are arranged so that NaN goes through: a wrong number must reach the loss, where it is noticed.

struct Relu {
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return positive_part(a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return z > Vector<T>{} ? splat(T(1)) : Vector<T>{};
  }
};

struct LeakyRelu {
  static constexpr double below = 0.01;
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return a > Vector<T>{} ? a : T(below) * a;
  }
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return z > Vector<T>{} ? splat(T(1)) : splat(T(below));
  }
};

struct Elu {
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return a > Vector<T>{} ? a : exponential_minus_1(a > Vector<T>{} ? Vector<T>{} : a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return z > Vector<T>{} ? splat(T(1)) : z + T(1);
  }
};

struct Sigmoid {
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return logistic(a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return z * (T(1) - z);
  }
};

struct Tanh {
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return hyperbolic_tangent(a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return T(1) - z * z;
  }
};

struct Softplus {
  // Beyond the threshold PyTorch takes the function for the identity.
  static constexpr double threshold = 20;
  static constexpr double value_at_threshold = 20.00000000206115362;
  template <class T>
  static Vector<T> value(Vector<T> a) {
    const Vector<T> above = positive_part(a);
    return a > T(threshold) ? a : above + logarithm_of_1_plus(exponential(-absolute<T>(a)));
  }
  // σ'(a) = logistic(a) = 1 - exp(-σ(a))
  template <class T>
  static Vector<T> slope(Vector<T> z) {
    return z > T(value_at_threshold) ? splat(T(1)) : -exponential_minus_1(-z);
  }
};

struct Gelu {
  static constexpr double sqrt_half = 0.70710678118654752440;        // √(1/2)
  static constexpr double inv_sqrt_two_pi = 0.39894228040143267794;  // 1/√(2π)
  template <class T>
  static Vector<T> normal_cdf(Vector<T> a) {
    return T(0.5) * error_function_complement(-a * T(sqrt_half));
  }
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return a * normal_cdf<T>(a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> a) {
    return normal_cdf<T>(a) + a * T(inv_sqrt_two_pi) * exponential(T(-0.5) * a * a);
  }
};

struct Silu {
  template <class T>
  static Vector<T> value(Vector<T> a) {
    return a * logistic(a);
  }
  template <class T>
  static Vector<T> slope(Vector<T> a) {
    const Vector<T> s = logistic(a);
    return s * (T(1) + a * (T(1) - s));
  }
};

// Z = f(A, ...), a vector at a time; f takes and returns vectors.
template <class T, class F, class... Matrices>
void elementwise(Matrix<T> Z, F f, Matrices... A) {
  for (std::size_t i = 0; i < Z.rows; ++i) {
    std::size_t j = 0;
    for (; j + lanes<T> <= Z.cols; j += lanes<T>) store(Z.row(i) + j, f(load(A.row(i) + j)...));
    if (j < Z.cols) {
      const std::size_t left = Z.cols - j;
      store_part(Z.row(i) + j, f(load_part<Vector<T>>(A.row(i) + j, left)...), left);
    }
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
    if (A.data != Z.data) elementwise(Z, [](Vector<T> a) { return a; }, A);
    return;
  }
  dispatch(sigma, [&](auto kind) {
    elementwise(Z, [](Vector<T> a) { return decltype(kind)::template value<T>(a); }, A);
  });
}

template <class T>
void multiply_by_slope(Activation sigma, ConstMatrix<T> G, ConstMatrix<T> A, ConstMatrix<T> Z, Matrix<T> D) {
  if (sigma == Activation::identity) {
    if (G.data != D.data) elementwise(D, [](Vector<T> g) { return g; }, G);
    return;
  }
  dispatch(sigma, [&](auto kind) {
    const auto slope = [](Vector<T> g, Vector<T> x) { return g * decltype(kind)::template slope<T>(x); };
    elementwise(D, slope, G, needs_preactivation(sigma) ? A : Z);
  });
}

}  // namespace
}  // namespace backsweep
