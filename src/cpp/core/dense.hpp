// The fully connected layer of the notes: Z[i+1] = σ(Z[i] W[i] + b[i]).
#pragma once

#include "core/activation.hpp"
#include "core/bfloat16.hpp"
#include "core/layer.hpp"

namespace backsweep {

// With the samples along the rows of Z, A, D and G (see layer.hpp):

// A = Wᵀ Z + b, Z_next = σ(A). A may be no matrix where σ' does not need it; b may be null.
template <class T>
void dense_forward(Product<T> product, Activation sigma, const ConstMatrix<T>& Z, const Occupied& occupied,
                   const ConstMatrix<T>& W, const T* b, const Matrix<T>& A, const Matrix<T>& Z_next);

// G = W D, where D = G_next ∘ σ' (activation_backward). With a gate, the Z of this layer, G is 0 unless that
// is positive: D of a layer below whose σ is relu.
template <class T>
void dense_backward(Product<T> product, const ConstMatrix<T>& W, const ConstMatrix<T>& D, const Matrix<T>& G,
                    const T* gate = nullptr);

// dW = Z D_rows, where D_rows(m, n_out) is Dᵀ. A row of ones in Z gives db: the column sums of D_rows.
template <class T>
void dense_gradient(Product<T> product, const ConstMatrix<T>& Z, const Occupied& occupied,
                    const ConstMatrix<T>& D_rows, const Matrix<T>& dW, const Ahead<T>& ahead = {});

// The layer of these three. Parameters: W (n_in, n_out) row by row, then b (n_out) where there is a bias.
template <class T>
class Dense final : public Layer<T>, public ByUnits<T> {
 public:
  Dense(std::size_t n_in, std::size_t n_out, Activation sigma, bool bias,
        Precision precision = Precision::full);

  std::size_t n_in() const override { return n_in_; }
  std::size_t n_out() const override { return n_out_; }
  std::size_t parameters() const override { return n_in_ * n_out_ + (bias_ ? n_out_ : 0); }
  std::size_t weights() const override { return n_in_ * n_out_; }
  std::size_t summed() const override { return is_thin() ? 0 : n_out_; }
  std::size_t kept_rows() const override { return needs_preactivation(sigma_) ? n_out_ : 0; }
  double flops() const override { return 2.0 * static_cast<double>(n_in_) * static_cast<double>(n_out_); }

  bool omits_zeros() const override;
  bool copies_weights() const override { return !is_full(); }
  bool is_gate() const override { return sigma_ == Activation::relu; }
  bool gates_below() const override { return true; }
  void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
               const Pass<T>& pass) const override;
  void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                    const Pass<T>& pass) const override;
  void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                const Matrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const override;

  const ByUnits<T>* by_units() const override { return this; }
  void forward_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                       const Matrix<T>& Z_next, const Pass<T>& pass) const override;
  void forward_rows_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                            const Pass<T>& pass) const override;
  void slope_outputs(Slice outputs, const Matrix<T>& A, const ConstMatrix<T>& Z_next, const Matrix<T>& G_next,
                     const Matrix<T>& D_rows, const Pass<T>& pass) const override;
  void backward_inputs(Slice inputs, const T* theta, const ConstMatrix<T>& D, const ConstMatrix<T>& D_rows,
                       const Matrix<T>& G, const Pass<T>& pass) const override;
  std::unique_ptr<Layer<T>> narrower(std::size_t n_in, std::size_t n_out, bool with_bias) const override {
    return std::make_unique<Dense>(n_in, n_out, sigma_, bias_ && with_bias, precision_);
  }

  std::vector<ParameterBlock> gradient_blocks(std::size_t m) const override;
  void gradient(const ParameterBlock& block, const ConstMatrix<T>& Z, const Occupied& occupied,
                const ConstMatrix<T>& D, const ConstMatrix<T>& D_rows, const Matrix<T>& dtheta_block,
                const Ahead<T>& ahead) const override;

 private:
  Matrix<const T> W(const T* theta) const { return {theta, n_in_, n_out_, n_out_}; }
  bool is_full() const { return precision_ == Precision::full; }
  bool is_thin() const;
  std::size_t left_over(std::size_t m) const;
  bool takes_few(const Pass<T>& pass) const { return is_full() && pass.samples <= few_samples && !is_thin(); }
  Matrix<const T> W_of(const T* theta, Slice outputs) const {
    return W(theta).col_range(outputs.begin, outputs.size());
  }
  const T* b_of(const T* theta, Slice outputs) const {
    return bias_ ? theta + n_in_ * n_out_ + outputs.begin : nullptr;
  }

  std::size_t n_in_;
  std::size_t n_out_;
  Activation sigma_;
  bool bias_;
  Precision precision_;  // but for predictions of a few rows, which are full
  Product<T> product_;
  std::size_t in_dots_;  // the last columns of dW
};

}  // namespace backsweep
