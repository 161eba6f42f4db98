// What a step does one after another. All that falls into one phase may be done at the same time; a team
// waits between one and the next.
#pragma once

#include <cstddef>
#include <vector>

#include "core/network.hpp"

namespace backsweep {

struct Phase {
  enum class Work {
    // Tile by tile, between layers that look at the whole batch:
    sweep,
    // Layer by layer:
    gather,
    look,
    forward,
    loss,
    slope,
    backward,
    // A layer that looks at the whole batch, either way:
    batch_forward,
    batch_backward,
  };
  Work work;
  std::size_t index = 0;  // of the layer; of a sweep: its number, counted forward and back
};
using Phases = std::vector<Phase>;

// Tile by tile. One phase is all where no layer looks at the whole batch: each run of tiles is gathered,
// swept forward, given its loss and swept backward, and the team waits once. Else sweeps, which come as far
// as such a layer, take turns with that layer's own phases: first all on the way forward, then all on the way
// back.
template <class T>
Phases phases_by_tiles(const Network<T>& network, bool training);

// Layer by layer: a tile's units are shared too, and a team can be larger than there are tiles. It waits
// after each layer.
template <class T>
Phases phases_by_layers(const Network<T>& network, bool training, bool with_dX);

}  // namespace backsweep
