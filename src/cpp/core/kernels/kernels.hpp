// The loops that are compiled once for each instruction set, and the choice among them.
#pragma once

#include <string>
#include <vector>

#include "core/activation.hpp"
#include "core/conversion.hpp"
#include "core/elementary.hpp"
#include "core/kernels/product_options.hpp"
#include "core/loss.hpp"
#include "core/optimizer.hpp"
#include "core/pass.hpp"

namespace backsweep {

// C[j, :] = init[j] + Σ_p A(p, j) B[p, :], where A is (p, j), or (j, p) with p_along_rows. See product.hpp.
template <class T>
using Product = void (*)(bool p_along_rows, const Matrix<const T>& A, const Matrix<const T>& B, const T* init,
                         const Matrix<T>& C, const ProductOptions<T>&);

template <class T>
struct Kernels {
  std::size_t lanes;  // of a vector
  Product<T> product;
  std::size_t product_rows;  // so many rows of C at a time: a multiple of them leaves no smaller block
  // C[j, k] = Σ_p A(j, p) B(k, p). See dots.hpp.
  void (*dots)(const Matrix<const T>& A, const Matrix<const T>& B, const Matrix<T>& C);
  // Z_next[r, :] = b + Σ_p Z(r, p) W[p, :] for several_samples rows at most; b may be null. See
  // row_product.hpp.
  void (*row_product)(const Matrix<const T>& Z, const Matrix<const T>& W, const T* b,
                      const Matrix<T>& Z_next);
  // The same for several_samples columns at most of Z(p, s) and Z_next(j, s).
  void (*column_product)(const Matrix<const T>& Z, const Matrix<const T>& W, const T* b,
                         const Matrix<T>& Z_next);
  // B = Aᵀ
  void (*transpose)(const Matrix<const T>& A, const Matrix<T>& B);
  // The same of rows that lie anywhere; whether all is finite.
  bool (*transpose_rows)(const T* const* A, std::size_t rows, std::size_t cols, const Matrix<T>& B);
  Conversions<T> conversions;
  // See occupied.hpp.
  std::size_t (*find_occupied)(const Matrix<const T>& Z, unsigned char* flags);
  void (*elementary)(Elementary, const T* x, std::size_t n, T* y);
  void (*activate)(Activation, const Matrix<const T>& A, const Matrix<T>& Z);
  void (*multiply_by_slope)(Activation, const Matrix<const T>& G, const Matrix<const T>& A,
                            const Matrix<const T>& Z, const Matrix<T>& D);
  void (*softmax)(const Matrix<const T>& Z, const Matrix<T>& S);
  LossSums (*loss)(Loss, const Matrix<const T>& Z, const Targets<T>& y, double scale, const Matrix<T>& G);
  void (*update)(const OptimizerSettings&, std::size_t begin, std::size_t end, const StepSize&,
                 const T* dtheta, const OptimizerState<T>&, T* theta);
  void (*penalise)(std::size_t n, double decay, const T* theta, T* dtheta);
  void (*column_squares)(const Matrix<const T>& W, double* squares);
  // See normalisation.hpp.
  void (*layer_norm_forward)(const Matrix<const T>& Z, const T* gamma, const T* beta, T epsilon,
                             const Matrix<T>& Zhat, const Matrix<T>& A);
  void (*layer_norm_backward)(const Matrix<const T>& D, const T* gamma, const Matrix<T>& Zhat,
                              const Matrix<T>& G);
  // See batch_normalisation.hpp.
  void (*batch_statistics)(const Matrix<const T>& Z, T* mean, T* variance);
  void (*batch_norm_forward)(const Matrix<const T>& Z, const T* mean, const T* variance, T epsilon,
                             const T* gamma, const T* beta, const Matrix<T>& Zhat, const Matrix<T>& A);
  void (*batch_norm_backward)(const Matrix<const T>& D, const Matrix<const T>& Zhat, const T* variance,
                              T epsilon, const T* gamma, T* dgamma, T* dbeta, const Matrix<T>& G);
  void (*batch_norm_backward_given)(const Matrix<const T>& D, const T* variance, T epsilon, const T* gamma,
                                    const Matrix<T>& Zhat, const Matrix<T>& G);
  // See dropout.hpp.
  void (*dropout_forward)(const Pass<T>&, double p, const Matrix<const T>& Z, const Matrix<T>& M,
                          const Matrix<T>& Z_next);
  void (*dropout_backward)(const Matrix<const T>& G_next, const Matrix<const T>& M, const Matrix<T>& G);
};

// The loops for the best instruction set that the processor has, or for the one that the environment variable
// BACKSWEEP_ISA names, where the processor has it.
template <class T>
const Kernels<T>& kernels();

// The product of operands in bfloat16 by instructions for it, where the chosen set and the processor have
// them; else null. See bf16_product.hpp.
Product<float> bf16_instructions();

// The names of those that this build and this processor have, the best first; and of the one in use.
std::vector<std::string> instruction_sets();
std::string instruction_set();

}  // namespace backsweep
