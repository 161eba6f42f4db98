// What a layer is to a network: a forward and a backward on a tile of samples, and the gradient of its
// parameters in blocks. Nothing else is a layer's business.
//
// Inside the core a batch lies feature by feature: Z is (n, m) with the samples along its rows, the transpose
// of the notes' matrix. A vector register then holds the same feature of as many samples, whatever the width
// of a layer: an output of 2 or 10 classes wastes no lanes, and the weights are read where they are.
#pragma once

#include <cstddef>

#include "core/kernels/product_options.hpp"
#include "core/matrix.hpp"
#include "core/pass.hpp"

namespace backsweep {

// A contiguous piece of a layer's parameters, counted from the layer's first.
struct Slice {
  std::size_t begin;
  std::size_t end;
  std::size_t size() const { return end - begin; }
};

template <class T>
class Layer {
 public:
  virtual ~Layer() = default;

  virtual std::size_t n_in() const = 0;
  virtual std::size_t n_out() const = 0;
  virtual std::size_t parameters() const = 0;

  // How many of the parameters, from the first on, a penalty on weights is for: biases are not.
  virtual std::size_t weights() const { return 0; }

  // Rows of A that backward wants kept from forward; 0 where Z_next tells it enough.
  virtual std::size_t kept_rows() const = 0;

  // Whether it saves work to know which features of Z are zero.
  virtual bool omits_zeros() const { return false; }

  // Z_next(n_out, m) = σ(A), A = Wᵀ Z(n_in, m) + b. A has kept_rows() rows, or no data where no backward is
  // to follow.
  virtual void forward(const T* theta, ConstMatrix<T> Z, Matrix<T> A, Matrix<T> Z_next,
                       const Pass& pass) const = 0;

  // A prediction pass for a few samples as they come from outside, Z(m, n_in) and Z_next(m, n_out): too few
  // to fill a vector.
  virtual void forward_rows(const T* theta, ConstMatrix<T> Z, Matrix<T> Z_next) const = 0;

  // What backward leaves of each sample for gradient() to sum up.
  virtual std::size_t summed() const { return n_out(); }

  // On entry G_next(n_out, m) is ∂ℓ/∂Z_next. On exit it holds D = G_next ∘ σ' and D_rows(m, summed()) the
  // same turned round, or more; gradient() reads either; A may be written over; G(n_in, m), where asked for,
  // is ∂ℓ/∂Z.
  virtual void backward(const T* theta, Matrix<T> A, ConstMatrix<T> Z_next, Matrix<T> G_next,
                        Matrix<T> D_rows, Matrix<T> G) const = 0;

  // The parameters, if there are any, fall into blocks that depend on the layer alone. Different blocks may
  // be computed by different threads, each from all samples of the batch: no partial sums, so no order to
  // keep. Z(n_in + 1, m) ends in a row of ones here; what is read ahead is laid out like the block.
  virtual std::size_t gradient_blocks() const = 0;
  virtual Slice gradient_block(std::size_t block) const = 0;
  virtual void gradient(std::size_t block, ConstMatrix<T> Z, const Occupied& occupied, ConstMatrix<T> D,
                        ConstMatrix<T> D_rows, T* dtheta_block, const Ahead<T>& ahead) const = 0;

  // Multiplications and additions of forward for one sample.
  virtual double flops() const = 0;
};

}  // namespace backsweep
