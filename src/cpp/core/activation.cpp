#include "core/activation.hpp"

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void activation_forward(Activation sigma, const ConstMatrix<T>& A, const Matrix<T>& Z) {
  kernels<T>().activate(sigma, A, Z);
}

template <class T>
void activation_backward(Activation sigma, const ConstMatrix<T>& G, const ConstMatrix<T>& A,
                         const ConstMatrix<T>& Z, const Matrix<T>& D) {
  kernels<T>().multiply_by_slope(sigma, G, A, Z, D);
}

#define BACKSWEEP_INSTANTIATE(T)                                                                 \
  template void activation_forward<T>(Activation, const ConstMatrix<T>&, const Matrix<T>&);      \
  template void activation_backward<T>(Activation, const ConstMatrix<T>&, const ConstMatrix<T>&, \
                                       const ConstMatrix<T>&, const Matrix<T>&);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
