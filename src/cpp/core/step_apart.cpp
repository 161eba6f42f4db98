// The parts of a step in which every member of a team has a narrow network to itself.
#include "core/step.hpp"

namespace backsweep {

template <class T>
void Step<T>::gather_batch(const RowSelection& batch, NarrowNetwork<T>& own) {
  network_.each_tile(network_.all_tiles(batch.count), batch.count, [&](std::size_t, Slice samples) {
    const std::size_t begin = samples.begin, n = samples.size();
    check(gather_features(data_.X, batch.range(begin, n), data_.standardisation, own.gathered(),
                          own.Z().columns(begin, n)));
    own.look(samples);
  });
}

template <class T>
void Step<T>::gather_targets(const Run& run, const RowSelection& batch) {
  network_.each_tile(run, batch.count, [&](std::size_t, Slice samples) {
    gather_targets(batch.range(samples.begin, samples.size()), samples.begin);
  });
}

template <class T>
void Step<T>::turn(const Run& run, const RowSelection& batch, double scale, const Pass<T>& pass) {
  const std::size_t last = network_.depth() - 1;
  network_.each_tile(run, batch.count, [&](std::size_t tile, Slice samples) {
    network_.forward(theta_, workspace_, {{tile, tile + 1}, samples}, batch.count, pass,
                     {1, network_.depth()});
    tile_sums_[tile] = loss(samples, scale);
    network_.slope(last, workspace_, network_.all_outputs(last, samples), pass);
  });
}

#define BACKSWEEP_INSTANTIATE(T)                                               \
  template void Step<T>::gather_batch(const RowSelection&, NarrowNetwork<T>&); \
  template void Step<T>::gather_targets(const Run&, const RowSelection&);      \
  template void Step<T>::turn(const Run&, const RowSelection&, double, const Pass<T>&);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
