#include "core/loss.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"

namespace backsweep {

bool classifies(Loss loss) {
  return loss == Loss::softmax_cross_entropy || loss == Loss::sigmoid_cross_entropy;
}

bool labels_in_range(const std::int64_t* labels, std::size_t m, std::size_t k) {
  return std::all_of(labels, labels + m,
                     [k](std::int64_t y) { return y >= 0 && static_cast<std::size_t>(y) < k; });
}

template <class T>
double weight_sum(const Targets<T>& y, std::size_t m) {
  if (y.weights == nullptr) return static_cast<double>(m);
  double sum = 0;
  for (std::size_t i = 0; i < m; ++i) sum += static_cast<double>(y.weights[i]);
  return sum;
}

template <class T>
LossSums loss_and_gradient(Loss loss, const ConstMatrix<T>& Z, const Targets<T>& y, double scale,
                           const Matrix<T>& G) {
  const LossSums sums = kernels<T>().loss(loss, Z, y, scale, G);
  return {sums.loss, classifies(loss) ? sums.correct : 0.0};
}

#define BACKSWEEP_INSTANTIATE(T)                                                                 \
  template LossSums loss_and_gradient<T>(Loss, const ConstMatrix<T>&, const Targets<T>&, double, \
                                         const Matrix<T>&);                                      \
  template double weight_sum<T>(const Targets<T>&, std::size_t);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
