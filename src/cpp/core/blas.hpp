// The three matrix products of a layer, single-threaded. C is overwritten.
#pragma once

#include <string>

#include "core/matrix.hpp"

namespace backsweep::blas {

// C(m, n) = A(m, k) B(k, n)
template <class T>
void product(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C);

// C(m, n) = A(k, m)ᵀ B(k, n)
template <class T>
void product_transposed_left(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C);

// C(m, n) = A(m, k) B(n, k)ᵀ
template <class T>
void product_transposed_right(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C);

// Which library computes the products, in its own words.
std::string description();

// Puts the library on one thread: the threads are ours. Called once, before any product.
void use_one_thread();

}  // namespace backsweep::blas
