// The layer and the losses for matrices as they come from outside, one sample to a row. The layer's products
// are BLAS's, which takes them so; for a loss they are turned round and back.
#pragma once

#include "core/activation.hpp"
#include "core/loss.hpp"

namespace backsweep::functional {

// Z_next(m, n_out) = σ(Z(m, n_in) W + b); b may be null.
template <class T>
void dense(Activation sigma, ConstMatrix<T> Z, ConstMatrix<T> W, const T* b, Matrix<T> Z_next);

// D = G_next ∘ σ', G = D Wᵀ, dW = Zᵀ D, db = column sums of D. db may be null.
template <class T>
void dense_backward(Activation sigma, ConstMatrix<T> G_next, ConstMatrix<T> Z, ConstMatrix<T> W, const T* b,
                    Matrix<T> G, Matrix<T> dW, T* db);

// The mean loss of Z(m, k), where y.values are (m, k) as well; and G = ∂ℓ/∂Z where G is asked for.
template <class T>
double loss(Loss loss, ConstMatrix<T> Z, const Targets<T>& y, Matrix<T> G);

}  // namespace backsweep::functional
