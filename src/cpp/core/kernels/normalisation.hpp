// Layer normalisation, a vector of samples at a time: each sample has its own mean and deviation over its
// features, which are rows here, so no sum crosses a vector.
#pragma once

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Σ_j f(j), added in the order of j.
template <class T, class F>
inline Vector<T> sum_of_rows(std::size_t n, F f) {
  Vector<T> sum{};
  for (std::size_t j = 0; j < n; ++j) sum += f(j);
  return sum;
}

// Ẑ = (Z - mean) r, r = 1 / √(variance + ε), A = γ Ẑ + β. Zhat(n + 1, m), where it is wanted, gets Ẑ and then
// a row of r.
template <class T>
void layer_norm_forward(ConstMatrix<T> Z, const T* gamma, const T* beta, T epsilon, Matrix<T> Zhat,
                        Matrix<T> A) {
  const std::size_t n = Z.rows;
  const T share = T(1) / static_cast<T>(n);
  for (std::size_t s = 0; s < Z.cols; s += lanes<T>) {
    const std::size_t width = Z.cols - s;
    const auto z = [&](std::size_t j) { return load_part<Vector<T>>(Z.row(j) + s, width); };
    // Two passes: a difference of squares would lose the digits of a large mean.
    const Vector<T> mean = sum_of_rows<T>(n, z) * share;
    const Vector<T> variance =
        sum_of_rows<T>(n, [&](std::size_t j) { return (z(j) - mean) * (z(j) - mean); }) * share;
    const Vector<T> r = T(1) / square_root(variance + epsilon);
    for (std::size_t j = 0; j < n; ++j) {
      const Vector<T> zhat = (z(j) - mean) * r;
      if (Zhat) store_part(Zhat.row(j) + s, zhat, width);
      store_part(A.row(j) + s, gamma[j] * zhat + beta[j], width);
    }
    if (Zhat) store_part(Zhat.row(n) + s, r, width);
  }
}

// G = r (γ D - mean(γ D) - Ẑ mean(γ D ∘ Ẑ)), where G is wanted. On exit Ẑ is D ∘ Ẑ, whose sums over the
// samples are dγ.
template <class T>
void layer_norm_backward(ConstMatrix<T> D, const T* gamma, Matrix<T> Zhat, Matrix<T> G) {
  const std::size_t n = D.rows;
  const T share = T(1) / static_cast<T>(n);
  for (std::size_t s = 0; s < D.cols; s += lanes<T>) {
    const std::size_t width = D.cols - s;
    const auto d = [&](std::size_t j) { return load_part<Vector<T>>(D.row(j) + s, width); };
    const auto zhat = [&](std::size_t j) { return load_part<Vector<T>>(Zhat.row(j) + s, width); };
    if (G) {
      const Vector<T> r = load_part<Vector<T>>(Zhat.row(n) + s, width);
      const Vector<T> mean = sum_of_rows<T>(n, [&](std::size_t j) { return gamma[j] * d(j); }) * share;
      const Vector<T> along =
          sum_of_rows<T>(n, [&](std::size_t j) { return gamma[j] * d(j) * zhat(j); }) * share;
      for (std::size_t j = 0; j < n; ++j) {
        store_part(G.row(j) + s, r * (gamma[j] * d(j) - mean - zhat(j) * along), width);
      }
    }
    for (std::size_t j = 0; j < n; ++j) store_part(Zhat.row(j) + s, d(j) * zhat(j), width);
  }
}

}  // namespace
}  // namespace backsweep
