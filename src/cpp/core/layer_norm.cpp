#include "core/layer_norm.hpp"

#include <cmath>

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void LayerNorm<T>::forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                           const Matrix<T>& Z_next, const Pass<T>&) const {
  const Matrix<T> sum = preactivation(A) ? preactivation(A) : Z_next;  // in place where σ' does not need A
  kernels<T>().layer_norm_forward(Z, gamma(theta), beta(theta), static_cast<T>(layer_norm_epsilon), Zhat(A),
                                  sum);
  activation_forward<T>(sigma_, sum, Z_next);
}

template <class T>
void LayerNorm<T>::forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                                const Pass<T>&) const {
  const T share = T(1) / static_cast<T>(n_);
  for (std::size_t i = 0; i < Z.rows; ++i) {
    const T* z = Z.row(i);
    T mean = 0, variance = 0;
    for (std::size_t j = 0; j < n_; ++j) mean += z[j];
    mean *= share;
    for (std::size_t j = 0; j < n_; ++j) variance += (z[j] - mean) * (z[j] - mean);
    variance *= share;
    const T r = T(1) / std::sqrt(variance + static_cast<T>(layer_norm_epsilon));
    for (std::size_t j = 0; j < n_; ++j) {
      Z_next(i, j) = gamma(theta)[j] * ((z[j] - mean) * r) + beta(theta)[j];
    }
  }
  activation_forward<T>(sigma_, Z_next, Z_next);
}

template <class T>
void LayerNorm<T>::backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                            const Matrix<T>& G_next, const Matrix<T>& D_rows, const Matrix<T>& G,
                            const Pass<T>&) const {
  const Matrix<T> D = G_next;
  activation_backward<T>(sigma_, G_next, preactivation(A), Z_next, D);
  kernels<T>().layer_norm_backward(D, gamma(theta), Zhat(A), G);
  this->leave_terms(A.row_range(0, n_), D, D_rows);
}

template class LayerNorm<float>;
template class LayerNorm<double>;

}  // namespace backsweep
