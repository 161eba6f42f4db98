#include "core/dropout.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void Dropout<T>::forward(const T*, ConstMatrix<T> Z, Matrix<T> A, Matrix<T> Z_next,
                         const Pass<T>& pass) const {
  if (pass.training) return kernels<T>().dropout_forward(pass, p_, Z, A, Z_next);
  for (std::size_t j = 0; j < n_; ++j) {
    std::copy_n(Z.row(j), Z.cols, Z_next.row(j));
    if (A) std::fill_n(A.row(j), A.cols, T(1));
  }
}

template <class T>
void Dropout<T>::forward_rows(const T*, ConstMatrix<T> Z, Matrix<T> Z_next, const Pass<T>&) const {
  for (std::size_t i = 0; i < Z.rows; ++i) std::copy_n(Z.row(i), n_, Z_next.row(i));
}

template <class T>
void Dropout<T>::backward(const T*, Matrix<T> A, ConstMatrix<T>, Matrix<T> G_next, Matrix<T>, Matrix<T> G,
                          const Pass<T>&) const {
  if (G) kernels<T>().dropout_backward(G_next, A, G);
}

template class Dropout<float>;
template class Dropout<double>;

}  // namespace backsweep
