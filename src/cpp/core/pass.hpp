// What one pass over a batch is for, and where in it a tile lies: all that a layer is told beside its
// parameters.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernels/product_options.hpp"

namespace backsweep {

// What a training pass draws is a function of a seed and of the steps that the network has done, and within
// the pass of the place of an entry: which thread draws it, and in which tile, cannot change a bit.
struct Draws {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  Draws after(std::uint64_t steps) const { return {seed, step + steps}; }
};

template <class T>
struct Pass {
  bool training = false;  // else prediction: nothing is drawn, and statistics are the buffers'
  Draws draws;
  const T* buffers = nullptr;    // the network's, or in a layer its own
  std::size_t layer = 0;         // which one of the network
  std::size_t first_sample = 0;  // the place of the tile's first sample in the batch
  std::size_t samples = 0;       // of the tile
  Occupied occupied = {};        // of the layer's Z, as far as it is known
  // Of the way back. A relu's slope is 1 or 0, and the layer above has its Z[i+1] at hand: it may leave D[i]
  // where G[i+1] is expected.
  const T* gate_below = nullptr;  // the layer's Z, if G is to be 0 unless that is positive
  bool gated_above = false;       // that has been done to G_next
};

template <class T>
Pass<T> training_pass(const Draws& draws, const T* buffers) {
  return {true, draws, buffers};
}

template <class T>
Pass<T> prediction_pass(const T* buffers) {
  return {false, {}, buffers};
}

}  // namespace backsweep
