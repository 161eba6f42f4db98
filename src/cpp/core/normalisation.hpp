// What layer and batch normalisation have in common. Each finds its Ẑ; then A = γ ∘ Ẑ + β, Z_next = σ(A).
#pragma once

#include "core/activation.hpp"
#include "core/layer.hpp"

namespace backsweep {

// Parameters: γ (n), then β (n).
template <class T>
class Normalisation : public Layer<T> {
 public:
  Normalisation(std::size_t n, Activation sigma) : n_(n), sigma_(sigma) {}

  std::size_t n_in() const final { return n_; }
  std::size_t n_out() const final { return n_; }
  std::size_t parameters() const final { return 2 * n_; }
  std::size_t summed() const final { return 2 * n_; }  // D ∘ Ẑ for dγ, and D for dβ
  double flops() const final { return 8.0 * static_cast<double>(n_); }

  std::vector<ParameterBlock> gradient_blocks(std::size_t) const final {
    return {{0, 1, parameters(), parameters()}};
  }
  void gradient(const ParameterBlock& block, const ConstMatrix<T>& Z, const Occupied& occupied,
                const ConstMatrix<T>& D, const ConstMatrix<T>& D_rows, const Matrix<T>& dtheta_block,
                const Ahead<T>& ahead) const final;

 protected:
  const T* gamma(const T* theta) const { return theta; }
  const T* beta(const T* theta) const { return theta + n_; }

  // What gradient() sums up for each of D_rows.rows samples.
  void leave_terms(const ConstMatrix<T>& products, const ConstMatrix<T>& D, const Matrix<T>& D_rows) const;

  const std::size_t n_;
  const Activation sigma_;
};

}  // namespace backsweep
