// What one pass over a batch is for, and where in it a tile lies: all that a layer is told beside its
// numbers.
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

struct Pass {
  bool training = false;  // else prediction, in which nothing is drawn
  Draws draws;
  std::size_t layer = 0;         // which one of the network
  std::size_t first_sample = 0;  // the place of the tile's first sample in the batch
  Occupied occupied = {};        // of the layer's Z, as far as it is known

  Pass at(std::size_t layer_index, std::size_t sample, const Occupied& of_layer = {}) const {
    return {training, draws, layer_index, sample, of_layer};
  }
};

inline Pass training_pass(Draws draws) { return {true, draws}; }

}  // namespace backsweep
