// Layer normalisation (Ba, Kiros and Hinton, 2016): each sample is brought to mean 0 and variance 1 over its
// features, Ẑ; then A = γ Ẑ + β, Z_next = σ(A).
#pragma once

#include "core/normalisation.hpp"

namespace backsweep {

// Added to the variance, as in PyTorch.
inline constexpr double layer_norm_epsilon = 1e-5;

// What forward keeps: Ẑ, then a row of 1 / √(variance + ε), then A where σ' needs it.
template <class T>
class LayerNorm final : public Normalisation<T> {
 public:
  using Normalisation<T>::Normalisation;

  std::size_t kept_rows() const override { return n_ + 1 + (needs_preactivation(sigma_) ? n_ : 0); }

  void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
               const Pass<T>& pass) const override;
  void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                    const Pass<T>& pass) const override;
  void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                const Matrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const override;

 private:
  using Base = Normalisation<T>;
  using Base::beta, Base::gamma, Base::n_, Base::sigma_;

  Matrix<T> Zhat(const Matrix<T>& A) const { return A ? A.row_range(0, n_ + 1) : A; }
  Matrix<T> preactivation(const Matrix<T>& A) const {
    return A && needs_preactivation(sigma_) ? A.row_range(n_ + 1, n_) : Matrix<T>{};
  }
};

}  // namespace backsweep
