#include "core/batch_norm.hpp"

#include <algorithm>
#include <cmath>

#include "core/kernels/kernels.hpp"

namespace backsweep {
namespace {

// Enough to be worth handing out, and few enough that a narrow layer still has work for a team.
constexpr std::size_t features_in_task = 16;

}  // namespace

template <class T>
std::size_t BatchNorm<T>::tasks() const {
  return (n_ + features_in_task - 1) / features_in_task;
}

template <class T>
Slice BatchNorm<T>::features(std::size_t task) const {
  return {task * features_in_task, std::min(n_, (task + 1) * features_in_task)};
}

template <class T>
void BatchNorm<T>::forward_batch(std::size_t task, const T* theta, const ConstMatrix<T>& Z,
                                 const Matrix<T>& A, const Matrix<T>& Z_next, T* statistics) const {
  const Slice own = features(task);
  const std::size_t j = own.begin, n = own.size();
  T *mean = statistics + j, *variance = statistics + n_ + j;
  const Matrix<T> output = Z_next.row_range(j, n);
  const Matrix<T> sum = preactivation(A) ? preactivation(A).row_range(j, n) : output;
  kernels<T>().batch_statistics(Z.row_range(j, n), mean, variance);
  kernels<T>().batch_norm_forward(Z.row_range(j, n), mean, variance, epsilon, gamma(theta) + j,
                                  beta(theta) + j, A.row_range(j, n), sum);
  activation_forward<T>(sigma_, sum, output);
}

template <class T>
void BatchNorm<T>::backward_batch(std::size_t task, const T* theta, const T* statistics, const Matrix<T>& A,
                                  const ConstMatrix<T>& Z_next, const Matrix<T>& G_next, T* sums,
                                  const Matrix<T>& G) const {
  const Slice own = features(task);
  const std::size_t j = own.begin, n = own.size();
  const Matrix<T> D = G_next.row_range(j, n);
  const Matrix<T> sum = preactivation(A) ? preactivation(A).row_range(j, n) : Matrix<T>{};
  activation_backward<T>(sigma_, D, sum, Z_next.row_range(j, n), D);
  kernels<T>().batch_norm_backward(D, A.row_range(j, n), statistics + n_ + j, epsilon, gamma(theta) + j,
                                   sums + j, sums + n_ + j, G ? G.row_range(j, n) : G);
}

// The running variance is that of the samples' source, so it divides by m - 1.
template <class T>
void BatchNorm<T>::remember(const T* statistics, std::size_t m, T* buffers) const {
  const T share = static_cast<T>(batch_norm_momentum), rest = static_cast<T>(1 - batch_norm_momentum);
  const T unbiased = static_cast<T>(m) / static_cast<T>(m - 1);
  for (std::size_t j = 0; j < n_; ++j) {
    buffers[j] = rest * buffers[j] + share * statistics[j];
    buffers[n_ + j] = rest * buffers[n_ + j] + share * (unbiased * statistics[n_ + j]);
  }
}

template <class T>
void BatchNorm<T>::forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                           const Matrix<T>& Z_next, const Pass<T>& pass) const {
  const Matrix<T> sum = preactivation(A) ? preactivation(A) : Z_next;  // in place where σ' does not need A
  kernels<T>().batch_norm_forward(Z, pass.buffers, pass.buffers + n_, epsilon, gamma(theta), beta(theta),
                                  A ? A.row_range(0, n_) : A, sum);
  activation_forward<T>(sigma_, sum, Z_next);
}

template <class T>
void BatchNorm<T>::forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                                const Pass<T>& pass) const {
  const T *mean = pass.buffers, *variance = pass.buffers + n_;
  for (std::size_t i = 0; i < Z.rows; ++i) {
    for (std::size_t j = 0; j < n_; ++j) {
      const T r = T(1) / std::sqrt(variance[j] + epsilon);
      Z_next(i, j) = gamma(theta)[j] * ((Z(i, j) - mean[j]) * r) + beta(theta)[j];
    }
  }
  activation_forward<T>(sigma_, Z_next, Z_next);
}

template <class T>
void BatchNorm<T>::backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                            const Matrix<T>& G_next, const Matrix<T>& D_rows, const Matrix<T>& G,
                            const Pass<T>& pass) const {
  const Matrix<T> D = G_next, Zhat = A.row_range(0, n_);
  activation_backward<T>(sigma_, G_next, preactivation(A), Z_next, D);
  kernels<T>().batch_norm_backward_given(D, pass.buffers + n_, epsilon, gamma(theta), Zhat, G);
  this->leave_terms(Zhat, D, D_rows);
}

template class BatchNorm<float>;
template class BatchNorm<double>;

}  // namespace backsweep
