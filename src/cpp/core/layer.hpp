// What a layer is to a network: a forward and a backward on a tile of samples, and the gradient of its
// parameters in blocks. Nothing else is a layer's business.
//
// Inside the core a batch lies feature by feature: Z is (n, m) with the samples along its rows, the transpose
// of the notes' matrix. A vector register then holds the same feature of as many samples, whatever the width
// of a layer: an output of 2 or 10 classes wastes no lanes, and the weights are read where they are.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/kernels/product_options.hpp"
#include "core/matrix.hpp"
#include "core/pass.hpp"

namespace backsweep {

// The numbers begin, begin + 1, ..., end - 1: of parameters, samples, units, tiles or layers.
struct Slice {
  std::size_t begin;
  std::size_t end;
  std::size_t size() const { return end - begin; }
};

// Parameters whose gradient is computed together: rows of them, `stride` apart, in the order of the
// parameters.
struct ParameterBlock {
  std::size_t begin;
  std::size_t rows;
  std::size_t cols;
  std::size_t stride;
  std::size_t size() const { return rows * cols; }
  bool lies_together() const { return cols == stride; }
};

// How many entries of a block are of the layer's first parameters, its weights: they come first, as rows.
inline std::size_t weights_in(const ParameterBlock& block, std::size_t weights) {
  std::size_t count = 0;
  for (std::size_t r = 0; r < block.rows; ++r) {
    if (block.begin + r * block.stride < weights) count += block.cols;
  }
  return count;
}

// f(where it begins among the parameters, how many, their gradient) for each run of parameters that lie side
// by side.
template <class T, class F>
void each_run(const ParameterBlock& block, const Matrix<T>& gradient, const F& f) {
  if (block.lies_together()) return f(block.begin, block.size(), gradient.data);
  for (std::size_t r = 0; r < block.rows; ++r) f(block.begin + r * block.stride, block.cols, gradient.row(r));
}

template <class T>
class WholeBatch;
template <class T>
class ByUnits;

template <class T>
class Layer {
 public:
  virtual ~Layer() = default;

  virtual std::size_t n_in() const = 0;
  virtual std::size_t n_out() const = 0;
  virtual std::size_t parameters() const = 0;

  // How many of the parameters, from the first on, a penalty on weights is for: biases are not.
  virtual std::size_t weights() const { return 0; }

  // Numbers that stay from batch to batch beside the parameters, and that a prediction pass reads: running
  // statistics.
  virtual std::size_t buffers() const { return 0; }

  // Itself, where a training pass over this layer is not a matter of tiles.
  virtual const WholeBatch<T>* whole_batch() const { return nullptr; }

  // Itself, where some of its units can be had without the others.
  virtual const ByUnits<T>* by_units() const { return nullptr; }

  // Rows of A that backward wants kept from forward; 0 where Z_next tells it enough.
  virtual std::size_t kept_rows() const = 0;

  // Whether it saves work to know which features of Z are zero.
  virtual bool omits_zeros() const { return false; }

  // Whether both sweeps copy its weights first: as many samples as can be are to share that.
  virtual bool copies_weights() const { return false; }

  // Whether σ' is 1 where Z_next is positive, else 0, and whether backward can see to that for the layer
  // below.
  virtual bool is_gate() const { return false; }
  virtual bool gates_below() const { return false; }

  // Z_next(n_out, m) = σ(A), A = Wᵀ Z(n_in, m) + b. A has kept_rows() rows, or no data where no backward is
  // to follow.
  virtual void forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
                       const Pass<T>& pass) const = 0;

  // A prediction pass for a few samples as they come from outside, Z(m, n_in) and Z_next(m, n_out): too few
  // to fill a vector.
  virtual void forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                            const Pass<T>& pass) const = 0;

  // What backward leaves of each sample for gradient() to sum up.
  virtual std::size_t summed() const { return n_out(); }

  // On entry G_next(n_out, m) is ∂ℓ/∂Z_next, or already D where the layer above has seen to it. On exit it
  // holds D = G_next ∘ σ' and D_rows(m, summed()) the same turned round, or more; gradient() reads either; A
  // may be written over; G(n_in, m), where asked for, is ∂ℓ/∂Z.
  virtual void backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                        const Matrix<T>& G_next, const Matrix<T>& D_rows, const Matrix<T>& G,
                        const Pass<T>& pass) const = 0;

  // The parameters, if there are any, fall into blocks that depend on the layer and the size of a batch.
  // Different blocks may be computed by different threads, each from all samples of the batch: no partial
  // sums, so no order to keep. Z(n_in + 1, m) ends in a row of ones here. dtheta_block is
  // (block.rows, block.cols).
  virtual std::vector<ParameterBlock> gradient_blocks(std::size_t m) const = 0;
  virtual void gradient(const ParameterBlock& block, const ConstMatrix<T>& Z, const Occupied& occupied,
                        const ConstMatrix<T>& D, const ConstMatrix<T>& D_rows, const Matrix<T>& dtheta_block,
                        const Ahead<T>& ahead) const = 0;

  // Multiplications and additions of forward for one sample.
  virtual double flops() const = 0;
};

// Forward and backward of a layer for some of its units: several threads may share one tile. Matrices and
// theta are whole, as for a layer. Backward comes in two steps: the second needs all of D.
template <class T>
class ByUnits {
 public:
  virtual ~ByUnits() = default;

  virtual void forward_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                               const Matrix<T>& Z_next, const Pass<T>& pass) const = 0;

  virtual void forward_rows_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z,
                                    const Matrix<T>& Z_next, const Pass<T>& pass) const = 0;

  // D = G_next ∘ σ', and the same turned round.
  virtual void slope_outputs(Slice outputs, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                             const Matrix<T>& G_next, const Matrix<T>& D_rows, const Pass<T>& pass) const = 0;

  // G = W D
  virtual void backward_inputs(Slice inputs, const T* theta, const ConstMatrix<T>& D,
                               const ConstMatrix<T>& D_rows, const Matrix<T>& G,
                               const Pass<T>& pass) const = 0;

  // A layer of its kind with fewer inputs or outputs.
  virtual std::unique_ptr<Layer<T>> narrower(std::size_t n_in, std::size_t n_out, bool with_bias) const = 0;
};

// What a layer does in a training pass besides, where a sample's output depends on the others of its batch:
// both directions for all samples at once, in tasks that depend on the layer alone, such as groups of
// features. Matrices have as many columns as there are samples.
template <class T>
class WholeBatch {
 public:
  virtual ~WholeBatch() = default;

  virtual std::size_t tasks() const = 0;

  // How many numbers forward_batch leaves of the batch, for backward_batch and for the buffers.
  virtual std::size_t statistics() const = 0;

  virtual void forward_batch(std::size_t task, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                             const Matrix<T>& Z_next, T* statistics) const = 0;

  // As backward, but what is left for gradient() is one row of D_rows: sums over all samples.
  virtual void backward_batch(std::size_t task, const T* theta, const T* statistics, const Matrix<T>& A,
                              const ConstMatrix<T>& Z_next, const Matrix<T>& G_next, T* sums,
                              const Matrix<T>& G) const = 0;

  // Takes the statistics of a batch of m into the buffers.
  virtual void remember(const T* statistics, std::size_t m, T* buffers) const = 0;
};

}  // namespace backsweep
