#include "core/layers.hpp"

#include <algorithm>

#include "core/batch_norm.hpp"
#include "core/dense.hpp"
#include "core/dropout.hpp"
#include "core/layer_norm.hpp"

namespace backsweep {

template <class T>
std::unique_ptr<Layer<T>> make_layer(const LayerSpec& spec) {
  switch (spec.kind) {
    case LayerKind::layer_norm:
      return std::make_unique<LayerNorm<T>>(spec.n_out, spec.sigma);
    case LayerKind::dropout:
      return std::make_unique<Dropout<T>>(spec.n_out, spec.p);
    case LayerKind::batch_norm:
      return std::make_unique<BatchNorm<T>>(spec.n_out, spec.sigma);
    case LayerKind::dense:
      break;
  }
  const bool is_wide = std::min(spec.n_in, spec.n_out) >= fewest_units_of_bf16;
  return std::make_unique<Dense<T>>(spec.n_in, spec.n_out, spec.sigma, spec.bias,
                                    is_wide ? spec.precision : Precision::full);
}

template std::unique_ptr<Layer<float>> make_layer<float>(const LayerSpec&);
template std::unique_ptr<Layer<double>> make_layer<double>(const LayerSpec&);

}  // namespace backsweep
