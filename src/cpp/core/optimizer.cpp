#include "core/optimizer.hpp"

#include <cmath>

#include "core/kernels/kernels.hpp"

namespace backsweep {

std::array<bool, max_states> states_used(const OptimizerSettings& s) {
  switch (s.kind) {
    case OptimizerKind::sgd:
      return {s.momentum != 0, false, false};
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      return {true, true, false};
    case OptimizerKind::rmsprop:
      return {true, s.momentum != 0, s.centered};
  }
  return {};
}

StepSize step_size(const OptimizerSettings& s, std::uint64_t index, double learning_rate) {
  const double t = static_cast<double>(index) + 1;
  const bool corrects = s.kind == OptimizerKind::adam || s.kind == OptimizerKind::adamw;
  return {index, learning_rate, 1, corrects ? 1 - std::pow(s.beta1, t) : 1,
          corrects ? 1 - std::pow(s.beta2, t) : 1};
}

template <class T>
void update(const OptimizerSettings& s, std::size_t begin, std::size_t end, const StepSize& step,
            const T* dtheta, const OptimizerState<T>& state, T* theta) {
  kernels<T>().update(s, begin, end, step, dtheta, state, theta);
}

template <class T>
void penalise(std::size_t n, double decay, const T* theta, T* dtheta) {
  kernels<T>().penalise(n, decay, theta, dtheta);
}

template <class T>
void squares_of_columns(const ConstMatrix<T>& W, double* squares) {
  kernels<T>().column_squares(W, squares);
}

template <class T>
double sum_of_squares(const T* x, std::size_t n) {
  double sum = 0;
  for (std::size_t j = 0; j < n; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
  return sum;
}

double clipping_factor(double clip_norm, double norm) {
  if (clip_norm == 0) return 1;
  const double factor = clip_norm / (norm + 1e-6);
  return factor < 1 ? factor : 1;
}

#define BACKSWEEP_INSTANTIATE(T)                                                                         \
  template void update<T>(const OptimizerSettings&, std::size_t, std::size_t, const StepSize&, const T*, \
                          const OptimizerState<T>&, T*);                                                 \
  template void penalise<T>(std::size_t, double, const T*, T*);                                          \
  template void squares_of_columns<T>(const ConstMatrix<T>&, double*);                                   \
  template double sum_of_squares<T>(const T*, std::size_t);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
