#include "core/phases.hpp"

namespace backsweep {

template <class T>
Phases phases_by_tiles(const Network<T>& network, bool training) {
  using Work = Phase::Work;
  const std::size_t turn = training ? network.segments() - 1 : 0;
  Phases phases;
  for (std::size_t index = 0; index < turn; ++index) {
    phases.push_back({Work::sweep, index});
    phases.push_back({Work::batch_forward, index});
  }
  phases.push_back({Work::sweep, turn});
  for (std::size_t index = turn; index-- > 0;) {
    phases.push_back({Work::batch_backward, index});
    phases.push_back({Work::sweep, 2 * turn - index});
  }
  return phases;
}

template <class T>
Phases phases_by_layers(const Network<T>& network, bool training, bool with_dX) {
  using Work = Phase::Work;
  Phases phases{{Work::gather}};
  if (network.omits_zeros()) phases.push_back({Work::look});
  std::size_t whole = 0;  // layers so far that look at the whole batch
  const auto is_whole = [&](std::size_t i) { return training && network.looks_at_whole_batch(i); };
  for (std::size_t i = 0; i < network.depth(); ++i) {
    phases.push_back(is_whole(i) ? Phase{Work::batch_forward, whole++} : Phase{Work::forward, i});
  }
  phases.push_back({Work::loss});
  for (std::size_t i = network.depth(); i-- > 0;) {
    const bool has_slope = i + 1 == network.depth() || network.is_by_units(i + 1);
    if (is_whole(i)) {
      phases.push_back({Work::batch_backward, --whole});
    } else if (!network.is_by_units(i)) {
      phases.push_back({Work::backward, i});
    } else {
      if (!has_slope) phases.push_back({Work::slope, i});
      if (i > 0 || with_dX) phases.push_back({Work::backward, i});
    }
  }
  return phases;
}

#define BACKSWEEP_INSTANTIATE(T)                               \
  template Phases phases_by_tiles<T>(const Network<T>&, bool); \
  template Phases phases_by_layers<T>(const Network<T>&, bool, bool);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
