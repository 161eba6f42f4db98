// Layers and losses for matrices as they come from outside, one sample to a row. The products of
// a dense layer are BLAS's, which takes them so; for the others they are turned round and back.
#pragma once

#include "core/activation.hpp"
#include "core/loss.hpp"
#include "core/pass.hpp"

namespace backsweep::functional {

// Z_next(m, n_out) = σ(Z(m, n_in) W + b); b may be null.
template <class T>
void dense(Activation sigma, const ConstMatrix<T>& Z, const ConstMatrix<T>& W, const T* b,
           const Matrix<T>& Z_next);

// D = G_next ∘ σ', G = D Wᵀ, dW = Zᵀ D, db = column sums of D. db may be null.
template <class T>
void dense_backward(Activation sigma, const ConstMatrix<T>& G_next, const ConstMatrix<T>& Z,
                    const ConstMatrix<T>& W, const T* b, const Matrix<T>& G, const Matrix<T>& dW, T* db);

// A(m, n) = γ Ẑ + β, Ẑ(m, n) the rows of Z at mean 0 and variance 1.
template <class T>
void layer_norm(const ConstMatrix<T>& Z, const T* gamma, const T* beta, const Matrix<T>& A);

// From D = ∂ℓ/∂A: G = ∂ℓ/∂Z, dgamma = column sums of D ∘ Ẑ, dbeta = column sums of D.
template <class T>
void layer_norm_backward(const ConstMatrix<T>& D, const ConstMatrix<T>& Z, const T* gamma, const Matrix<T>& G,
                         T* dgamma, T* dbeta);

// Z_next = Z ∘ M (m, n), M the mask that layer `layer` of a network draws with these `draws`.
template <class T>
void dropout(double p, const Draws& draws, std::size_t layer, const ConstMatrix<T>& Z,
             const Matrix<T>& Z_next);

// A = γ Ẑ + β (m, n), Ẑ the rows of Z (m, n) with mean 0 and variance 1 in each column; m is at least 2.
template <class T>
void batch_norm(const ConstMatrix<T>& Z, const T* gamma, const T* beta, const Matrix<T>& A);

// dβ = column sums of D, dγ = column sums of D ∘ Ẑ, G = γ r (D - dβ/m - Ẑ dγ/m).
template <class T>
void batch_norm_backward(const ConstMatrix<T>& D, const ConstMatrix<T>& Z, const T* gamma, const Matrix<T>& G,
                         T* dgamma, T* dbeta);

// The mean loss of Z(m, k), where y.values are (m, k) as well; and G = ∂ℓ/∂Z where G is asked for.
template <class T>
double loss(Loss loss, const ConstMatrix<T>& Z, const Targets<T>& y, const Matrix<T>& G);

// S = softmax of each row of Z (m, k). S may be Z.
template <class T>
void softmax(const ConstMatrix<T>& Z, const Matrix<T>& S);

}  // namespace backsweep::functional
