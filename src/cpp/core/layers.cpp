#include "core/layers.hpp"

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
  return std::make_unique<Dense<T>>(spec.n_in, spec.n_out, spec.sigma, spec.bias);
}

template std::unique_ptr<Layer<float>> make_layer<float>(const LayerSpec&);
template std::unique_ptr<Layer<double>> make_layer<double>(const LayerSpec&);

}  // namespace backsweep
