// The parts of a step in which every member of a team has a narrow network to itself.
#include "core/step.hpp"

namespace backsweep {

template <class T>
void Step<T>::gather_batch(const RowSelection& batch, NarrowNetwork<T>& own) {
  for (std::size_t tile = 0; tile < network_.tiles(batch.count); ++tile) {
    const auto [begin, end] = network_.tile(tile, batch.count);
    const std::size_t n = end - begin;
    check(gather_features(data_.X, batch.range(begin, n), data_.standardisation, own.gathered(),
                          own.Z().columns(begin, n)));
    own.look({begin, end});
  }
}

template <class T>
void Step<T>::gather_targets(Slice tiles, const RowSelection& batch) {
  for (std::size_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const Slice samples = network_.tile(tile, batch.count);
    gather_targets(batch.range(samples.begin, samples.size()), samples.begin);
  }
}

template <class T>
void Step<T>::turn(Slice tiles, const RowSelection& batch, double scale, const Pass<T>& pass) {
  const std::size_t last = network_.depth() - 1;
  for (std::size_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const Run run{{tile, tile + 1}, network_.tile(tile, batch.count)};
    network_.forward(theta_, workspace_, run, batch.count, pass, {1, network_.depth()});
    tile_sums_[tile] = loss(run.samples, scale);
    network_.slope(last, workspace_, network_.all_outputs(last, run.samples), pass);
  }
}

template void Step<float>::gather_batch(const RowSelection&, NarrowNetwork<float>&);
template void Step<double>::gather_batch(const RowSelection&, NarrowNetwork<double>&);
template void Step<float>::gather_targets(Slice, const RowSelection&);
template void Step<double>::gather_targets(Slice, const RowSelection&);
template void Step<float>::turn(Slice, const RowSelection&, double, const Pass<float>&);
template void Step<double>::turn(Slice, const RowSelection&, double, const Pass<double>&);

}  // namespace backsweep
