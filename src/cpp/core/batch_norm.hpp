// Batch normalisation (Ioffe and Szegedy, 2015): each feature is brought to mean 0 and variance 1 over the
// samples of the batch, Ẑ; then A = γ Ẑ + β, Z_next = σ(A). In prediction the mean and the variance are
// running ones.
#pragma once

#include "core/normalisation.hpp"

namespace backsweep {

// PyTorch's: what is added to the variance, and the share of a running statistic that a batch replaces.
inline constexpr double batch_norm_epsilon = 1e-5;
inline constexpr double batch_norm_momentum = 0.1;

// Buffers: the running mean (n), then the running variance (n). Statistics: the batch's mean (n), then its
// variance (n), which divides by m. What forward keeps: Ẑ, then A where σ' needs it.
template <class T>
class BatchNorm final : public Normalisation<T>, public WholeBatch<T> {
 public:
  using Normalisation<T>::Normalisation;

  std::size_t buffers() const override { return 2 * n_; }
  std::size_t kept_rows() const override { return n_ + (needs_preactivation(sigma_) ? n_ : 0); }

  // Of a prediction pass.
  void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
               const Pass<T>& pass) const override;
  void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                    const Pass<T>& pass) const override;
  void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                const Matrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const override;

  // Of a training pass.
  const WholeBatch<T>* whole_batch() const override { return this; }
  std::size_t tasks() const override;
  std::size_t statistics() const override { return 2 * n_; }
  void forward_batch(std::size_t task, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                     const Matrix<T>& Z_next, T* statistics) const override;
  void backward_batch(std::size_t task, const T* theta, const T* statistics, const Matrix<T>& A,
                      const ConstMatrix<T>& Z_next, const Matrix<T>& G_next, T* sums,
                      const Matrix<T>& G) const override;
  void remember(const T* statistics, std::size_t m, T* buffers) const override;

 private:
  using Base = Normalisation<T>;
  using Base::beta, Base::gamma, Base::n_, Base::sigma_;

  static constexpr T epsilon = static_cast<T>(batch_norm_epsilon);

  Slice features(std::size_t task) const;
  Matrix<T> preactivation(const Matrix<T>& A) const {
    return A && needs_preactivation(sigma_) ? A.row_range(n_, n_) : Matrix<T>{};
  }
};

}  // namespace backsweep
