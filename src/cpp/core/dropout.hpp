// Dropout (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, 2014): in training an entry of Z is 0
// with probability p, else divided by 1 - p, so that its mean stays. In prediction Z_next = Z.
#pragma once

#include "core/layer.hpp"

namespace backsweep {

// What forward keeps: the mask M, ones in a prediction pass. Z_next = Z ∘ M, G = G_next ∘ M.
template <class T>
class Dropout final : public Layer<T> {
 public:
  Dropout(std::size_t n, double p) : n_(n), p_(p) {}

  std::size_t n_in() const override { return n_; }
  std::size_t n_out() const override { return n_; }
  std::size_t parameters() const override { return 0; }
  std::size_t kept_rows() const override { return n_; }
  std::size_t summed() const override { return 0; }
  double flops() const override { return 32.0 * static_cast<double>(n_); }  // the generator's

  void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
               const Pass<T>& pass) const override;
  void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                    const Pass<T>& pass) const override;
  void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                const Matrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const override;

  std::vector<ParameterBlock> gradient_blocks(std::size_t) const override { return {}; }
  void gradient(const ParameterBlock&, const ConstMatrix<T>&, const Occupied&, const ConstMatrix<T>&,
                const ConstMatrix<T>&, const Matrix<T>&, const Ahead<T>&) const override {}

 private:
  std::size_t n_;
  double p_;
};

}  // namespace backsweep
