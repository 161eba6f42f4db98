// What a network says of many rows at once: its output, its loss, its gradients. All are prediction passes,
// but for gradients on request.
#pragma once

#include "core/step.hpp"

namespace backsweep {

// So many rows go through the layers as they come.
inline constexpr std::size_t few_rows = 14;

// out (m, n_out) = Z[L] of at most few_rows rows.
template <class T>
void forward_few(const Network<T>& network, const T* theta, const T* buffers, const ConstMatrix<T>& X,
                 const Matrix<T>& out, std::size_t n_threads);

// out (m, n_out) = Z[L] for every row of X, tile by tile: memory does not grow with m. False if a row is not
// finite.
template <class T>
bool forward(const Network<T>& network, const T* theta, const T* buffers, const Source& X,
             const Standardisation& standardisation, const Matrix<T>& out, std::size_t n_threads);

struct Evaluation {
  double loss = 0;      // the (weighted) mean
  double accuracy = 0;  // the (weighted) share of rows classified rightly; 0 where the loss does not classify
  bool input_valid = true;
};

// Tile by tile as well.
template <class T>
Evaluation evaluate(const Network<T>& network, const T* theta, const T* buffers, const Data<T>& data,
                    std::size_t n_threads);

// The loss of all rows as one batch, its gradient dtheta and, where dX has data, ∂ℓ/∂X (m, n_in).
template <class T>
Evaluation loss_and_gradients(const Network<T>& network, const T* theta, const Data<T>& data,
                              const Pass<T>& pass, T* dtheta, const Matrix<T>& dX, std::size_t n_threads);

}  // namespace backsweep
