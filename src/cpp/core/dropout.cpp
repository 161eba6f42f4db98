#include "core/dropout.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void Dropout<T>::forward(const T*, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
                         const Pass<T>& pass) const {
  if (pass.training) return kernels<T>().dropout_forward(pass, p_, Z, A, Z_next);
  for (std::size_t j = 0; j < n_; ++j) {
    std::copy_n(Z.row(j), Z.cols, Z_next.row(j));
    if (A) std::fill_n(A.row(j), A.cols, T(1));
  }
}

template <class T>
void Dropout<T>::forward_rows(const T*, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                              const Pass<T>&) const {
  for (std::size_t i = 0; i < Z.rows; ++i) std::copy_n(Z.row(i), n_, Z_next.row(i));
}

template <class T>
void Dropout<T>::backward(const T*, const Matrix<T>& A, const ConstMatrix<T>&, const Matrix<T>& G_next,
                          const Matrix<T>&, const Matrix<T>& G, const Pass<T>&) const {
  if (G) kernels<T>().dropout_backward(G_next, A, G);
}

template class Dropout<float>;
template class Dropout<double>;

}  // namespace backsweep
