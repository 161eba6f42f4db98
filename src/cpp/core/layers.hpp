// The kinds of layers, and a layer from its specification: the one place that knows them all.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "core/activation.hpp"
#include "core/bfloat16.hpp"
#include "core/layer.hpp"

namespace backsweep {

enum class LayerKind { dense, layer_norm, dropout, batch_norm };

// The names, in the order of the enumeration: their one home.
inline constexpr std::array<std::string_view, 4> layer_names = {"dense", "layer_norm", "dropout",
                                                                "batch_norm"};

// Whether a layer of this kind has as many outputs as inputs.
constexpr bool keeps_width(LayerKind kind) { return kind != LayerKind::dense; }

struct LayerSpec {
  LayerKind kind;
  std::size_t n_in;
  std::size_t n_out;
  Activation sigma;
  bool bias;                              // of a dense layer
  double p = 0;                           // of dropout, in [0, 1)
  Precision precision = Precision::full;  // of a dense layer that is wide enough
};

template <class T>
std::unique_ptr<Layer<T>> make_layer(const LayerSpec& spec);

}  // namespace backsweep
