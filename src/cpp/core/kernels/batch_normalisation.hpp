// Batch normalisation: each feature has its own mean and deviation over the samples of the batch, which are
// one row here, so a feature is done by itself, from one end of its row to the other.
#pragma once

#include "core/kernels/simd.hpp"
#include "core/matrix.hpp"

namespace backsweep {
namespace {

// Σ_s f(s, width) over a row, a vector at a time, of which `width` entries count: then lane by lane.
template <class T, class F>
inline T sum_along(std::size_t m, F f) {
  constexpr std::size_t chains = 4;  // additions that need not wait for one another
  Vector<T> sums[chains] = {};
  std::size_t s = 0;
  for (; s + chains * lanes<T> <= m; s += chains * lanes<T>) {
    for (std::size_t c = 0; c < chains; ++c) sums[c] += f(s + c * lanes<T>, lanes<T>);
  }
  for (; s < m; s += lanes<T>) sums[0] += f(s, m - s);
  const Vector<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  T total = 0;
  for (std::size_t l = 0; l < lanes<T>; ++l) total += sum[l];
  return total;
}

template <class T>
inline T reciprocal_deviation(T variance, T epsilon) {
  return T(1) / std::sqrt(variance + epsilon);
}

// mean(n), and the variance(n) that divides by m, of the rows of Z(n, m).
template <class T>
void batch_statistics(ConstMatrix<T> Z, T* mean, T* variance) {
  const std::size_t m = Z.cols;
  const T share = T(1) / static_cast<T>(m);
  for (std::size_t j = 0; j < Z.rows; ++j) {
    const T* z = Z.row(j);
    const T centre = sum_along<T>(m, [&](std::size_t s,
                                         std::size_t width) { return load_part<Vector<T>>(z + s, width); }) *
                     share;
    mean[j] = centre;
    // Two passes: a difference of squares would lose the digits of a large mean.
    variance[j] = sum_along<T>(m,
                               [&](std::size_t s, std::size_t width) {
                                 const Vector<T> d = load_part<Vector<T>>(z + s, width) - centre;
                                 return first_lanes<T>(width) ? d * d : Vector<T>{};
                               }) *
                  share;
  }
}

// Ẑ = (Z - mean) r, r = 1 / √(variance + ε), A = γ Ẑ + β. Zhat(n, m) only where it is wanted.
template <class T>
void batch_norm_forward(ConstMatrix<T> Z, const T* mean, const T* variance, T epsilon, const T* gamma,
                        const T* beta, Matrix<T> Zhat, Matrix<T> A) {
  for (std::size_t j = 0; j < Z.rows; ++j) {
    const T r = reciprocal_deviation(variance[j], epsilon);
    for (std::size_t s = 0; s < Z.cols; s += lanes<T>) {
      const std::size_t width = Z.cols - s;
      const Vector<T> zhat = (load_part<Vector<T>>(Z.row(j) + s, width) - mean[j]) * r;
      if (Zhat) store_part(Zhat.row(j) + s, zhat, width);
      store_part(A.row(j) + s, gamma[j] * zhat + beta[j], width);
    }
  }
}

// Where mean and variance are the batch's: dβ = Σ D, dγ = Σ D ∘ Ẑ along each row, and, where it is wanted,
// G = γ r (D - dβ/m - Ẑ dγ/m).
template <class T>
void batch_norm_backward(ConstMatrix<T> D, ConstMatrix<T> Zhat, const T* variance, T epsilon, const T* gamma,
                         T* dgamma, T* dbeta, Matrix<T> G) {
  const std::size_t m = D.cols;
  const T share = T(1) / static_cast<T>(m);
  for (std::size_t j = 0; j < D.rows; ++j) {
    const auto d = [&](std::size_t s, std::size_t width) {
      return load_part<Vector<T>>(D.row(j) + s, width);
    };
    const auto zhat = [&](std::size_t s, std::size_t width) {
      return load_part<Vector<T>>(Zhat.row(j) + s, width);
    };
    dbeta[j] = sum_along<T>(m, d);
    dgamma[j] =
        sum_along<T>(m, [&](std::size_t s, std::size_t width) { return d(s, width) * zhat(s, width); });
    if (!G) continue;
    const T scale = gamma[j] * reciprocal_deviation(variance[j], epsilon);
    const T mean = dbeta[j] * share, along = dgamma[j] * share;
    for (std::size_t s = 0; s < m; s += lanes<T>) {
      const std::size_t width = m - s;
      store_part(G.row(j) + s, scale * (d(s, width) - mean - zhat(s, width) * along), width);
    }
  }
}

// Where they are given: G = γ r D, where it is wanted. On exit Ẑ is D ∘ Ẑ, whose sums are dγ.
template <class T>
void batch_norm_backward_given(ConstMatrix<T> D, const T* variance, T epsilon, const T* gamma, Matrix<T> Zhat,
                               Matrix<T> G) {
  for (std::size_t j = 0; j < D.rows; ++j) {
    const T scale = gamma[j] * reciprocal_deviation(variance[j], epsilon);
    for (std::size_t s = 0; s < D.cols; s += lanes<T>) {
      const std::size_t width = D.cols - s;
      const Vector<T> d = load_part<Vector<T>>(D.row(j) + s, width);
      store_part(Zhat.row(j) + s, d * load_part<Vector<T>>(Zhat.row(j) + s, width), width);
      if (G) store_part(G.row(j) + s, scale * d, width);
    }
  }
}

}  // namespace
}  // namespace backsweep
