#include "core/elementary.hpp"

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void evaluate_elementary(Elementary function, const T* x, std::size_t n, T* y) {
  kernels<T>().elementary(function, x, n, y);
}

template void evaluate_elementary<float>(Elementary, const float*, std::size_t, float*);
template void evaluate_elementary<double>(Elementary, const double*, std::size_t, double*);

}  // namespace backsweep
