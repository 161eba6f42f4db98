// Layer normalisation (Ba, Kiros and Hinton, 2016): each sample is brought to mean 0 and variance 1 over its
// features, Ẑ; then A = γ Ẑ + β, Z_next = σ(A).
#pragma once

#include "core/activation.hpp"
#include "core/layer.hpp"

namespace backsweep {

// Added to the variance, as in PyTorch.
inline constexpr double layer_norm_epsilon = 1e-5;

// Parameters: γ (n), then β (n). What forward keeps: Ẑ, then a row of 1 / √(variance + ε), then A where σ'
// needs it.
template <class T>
class LayerNorm final : public Layer<T> {
 public:
  LayerNorm(std::size_t n, Activation sigma) : n_(n), sigma_(sigma) {}

  std::size_t n_in() const override { return n_; }
  std::size_t n_out() const override { return n_; }
  std::size_t parameters() const override { return 2 * n_; }
  std::size_t kept_rows() const override { return n_ + 1 + (needs_preactivation(sigma_) ? n_ : 0); }
  std::size_t summed() const override { return 2 * n_; }  // D ∘ Ẑ for dγ, and D for dβ
  double flops() const override { return 8.0 * static_cast<double>(n_); }

  void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
               const Pass<T>& pass) const override;
  void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                    const Pass<T>& pass) const override;
  void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                const Matrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const override;

  std::vector<Slice> gradient_blocks(std::size_t) const override { return {{0, parameters()}}; }
  void gradient(Slice block, const ConstMatrix<T>& Z, const Occupied& occupied, const ConstMatrix<T>& D,
                const ConstMatrix<T>& D_rows, T* dtheta_block, const Ahead<T>& ahead) const override;

 private:
  const T* gamma(const T* theta) const { return theta; }
  const T* beta(const T* theta) const { return theta + n_; }
  Matrix<T> Zhat(const Matrix<T>& A) const { return A ? A.row_range(0, n_ + 1) : A; }
  Matrix<T> preactivation(const Matrix<T>& A) const {
    return A && needs_preactivation(sigma_) ? A.row_range(n_ + 1, n_) : Matrix<T>{};
  }

  std::size_t n_;
  Activation sigma_;
};

}  // namespace backsweep
