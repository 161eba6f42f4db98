#include "core/activation.hpp"

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void activation_forward(Activation sigma, ConstMatrix<T> A, Matrix<T> Z) {
  kernels<T>().activate(sigma, A, Z);
}

template <class T>
void activation_backward(Activation sigma, ConstMatrix<T> G, ConstMatrix<T> A, ConstMatrix<T> Z,
                         Matrix<T> D) {
  kernels<T>().multiply_by_slope(sigma, G, A, Z, D);
}

#define BACKSWEEP_INSTANTIATE(T)                                              \
  template void activation_forward<T>(Activation, ConstMatrix<T>, Matrix<T>); \
  template void activation_backward<T>(Activation, ConstMatrix<T>, ConstMatrix<T>, ConstMatrix<T>, Matrix<T>);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
