// The passes of network.hpp for a team that shares each layer.
#include <algorithm>
#include <cmath>

#include "core/network.hpp"
#include "core/threads.hpp"

namespace backsweep {
namespace {

// Work is counted in operations that a core does in the same time. An entry that is written where others have
// read: its line must first come back from their caches.
constexpr double work_of_entry = 200;
// A byte of the weights, which come from beyond the second-level cache where they do not fit into it, or
// where another core has updated them.
constexpr double work_of_byte = 2;
// One more wait of a team.
constexpr double work_of_a_wait = 2e5;
// A part of less, some microseconds', costs more to hand out than it brings. Where a part is large, a
// member's share comes in several, so that others can take what a slow one leaves.
constexpr double work_of_smallest_part = 5e5;
constexpr double work_of_large_part = 1e7;
constexpr std::size_t large_parts_of_member = 3;
// Fewer outputs are summed in another order (see rows_of_same_order in network.cpp).
constexpr std::size_t fewest_units = widest_vector;

Slice units_of_part(std::size_t k, std::size_t parts, std::size_t units) {
  const auto begin = [&](std::size_t i) {
    return i == parts ? units : units * i / parts / fewest_units * fewest_units;
  };
  return {begin(k), begin(k + 1)};
}

}  // namespace

// In how many parts `units` of layer i come, on m samples that come in several already.
template <class T>
std::size_t Network<T>::parts_of_units(std::size_t i, std::size_t units, std::size_t m,
                                       std::size_t of_samples, std::size_t team) const {
  if (team == 1 || !is_by_units(i)) return 1;
  const double entries = static_cast<double>(units) * static_cast<double>(m);
  const double bytes = static_cast<double>(layers_[i]->weights() * sizeof(T));
  const double work =
      layers_[i]->flops() * static_cast<double>(m) + work_of_entry * entries + work_of_byte * bytes;
  const std::size_t several = large_parts_of_member * team;
  const std::size_t wanted = work < static_cast<double>(several) * work_of_large_part ? team : several;
  const std::size_t parts = std::min(wanted, static_cast<std::size_t>(work / work_of_smallest_part));
  const std::size_t most = std::max<std::size_t>(units / fewest_units, 1);
  return std::clamp<std::size_t>((parts + of_samples - 1) / of_samples, 1, most);
}

template <class T>
std::size_t Network<T>::parts_of_samples(std::size_t i, std::size_t m) const {
  return joins_[i] ? runs(m, 1) : tiles(m);
}

// A member takes units that lie side by side, of all samples if it can.
template <class T>
Part Network<T>::part(std::size_t i, std::size_t index, std::size_t units, std::size_t m,
                      std::size_t team) const {
  const std::size_t of_samples = parts_of_samples(i, m);
  const std::size_t k = index / of_samples, s = index % of_samples;
  return {units_of_part(k, parts_of_units(i, units, m, of_samples, team), units),
          joins_[i] ? run(s, m, 1).samples : tile(s, m)};
}

template <class T>
std::size_t Network<T>::forward_parts(std::size_t i, std::size_t m, std::size_t team) const {
  const std::size_t of_samples = parts_of_samples(i, m);
  return parts_of_units(i, layers_[i]->n_out(), m, of_samples, team) * of_samples;
}

template <class T>
std::size_t Network<T>::backward_parts(std::size_t i, std::size_t m, std::size_t team) const {
  const std::size_t of_samples = parts_of_samples(i, m);
  return parts_of_units(i, layers_[i]->n_in(), m, of_samples, team) * of_samples;
}

template <class T>
void Network<T>::forward_part(std::size_t i, std::size_t index, const T* theta, Workspace<T>& ws,
                              std::size_t m, std::size_t team, const Pass<T>& pass) const {
  forward(i, theta, ws, part(i, index, layers_[i]->n_out(), m, team), pass);
}

template <class T>
void Network<T>::forward(std::size_t i, const T* theta, Workspace<T>& ws, const Part& part,
                         const Pass<T>& pass) const {
  if (!is_by_units(i)) return forward(i, theta, ws, part.samples, pass);
  const std::size_t begin = part.samples.begin, count = part.samples.size();
  const Occupied occupied = i == 0 ? ws.occupied.of(begin, count) : Occupied{};
  layers_[i]->by_units()->forward_outputs(part.units, theta + offsets_[i], ws.Z[i].columns(begin, count),
                                          ws.A[i].columns(begin, count), ws.Z[i + 1].columns(begin, count),
                                          in_layer(i, part.samples, pass, occupied));
}

template <class T>
std::size_t Network<T>::output_parts(std::size_t i, std::size_t m, std::size_t team) const {
  return parts_of_units(i, layers_[i]->n_out(), m, 1, team);
}

template <class T>
void Network<T>::forward_outputs(std::size_t i, std::size_t index, const T* theta, Workspace<T>& ws,
                                 std::size_t m, std::size_t team, const Pass<T>& pass) const {
  const Slice outputs = units_of_part(index, output_parts(i, m, team), layers_[i]->n_out());
  forward(i, theta, ws, Part{outputs, {0, m}}, pass);
}

template <class T>
void Network<T>::forward_rows(const T* theta, const T* buffers, const ConstMatrix<T>& X, const Matrix<T>& Z,
                              const Matrix<T>& buffer, const Matrix<T>& other, std::size_t team) const {
  const auto each_layer = [&](std::size_t members, const auto& share) {
    Matrix<const T> input = X;
    Matrix<T> here = buffer, there = other;
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& layer = *layers_[i];
      const Matrix<T> output = i + 1 == depth() ? Z : here.col_range(0, layer.n_out());
      const Pass<T> pass = in_layer(i, {0, X.rows}, prediction_pass(buffers));
      const std::size_t n = output_parts(i, X.rows, members);
      share(i, n, [&](std::size_t k) {
        if (n == 1) return layer.forward_rows(theta + offsets_[i], input, output, pass);
        layer.by_units()->forward_rows_outputs(units_of_part(k, n, layer.n_out()), theta + offsets_[i], input,
                                               output, pass);
      });
      input = output;
      std::swap(here, there);
    }
  };
  if (team == 1) {
    return run_team(1, [&](Member) { each_layer(1, [](std::size_t, std::size_t, const auto& f) { f(0); }); });
  }
  PhasedTasks layers(team);
  run_team(team, [&](Member member) {
    each_layer(member.team,
               [&](std::size_t i, std::size_t n, const auto& f) { layers.each(member, i, n, f); });
  });
}

// With a layer by units below, its D follows while these of its units are in the cache.
template <class T>
void Network<T>::backward_part(std::size_t i, std::size_t index, const T* theta, Workspace<T>& ws,
                               std::size_t m, std::size_t team, const Pass<T>& pass) const {
  const auto [inputs, samples] = part(i, index, layers_[i]->n_in(), m, team);
  if (!is_by_units(i)) return backward(i, theta, ws, samples, pass, false);
  const std::size_t begin = samples.begin, count = samples.size();
  Pass<T> here = in_layer(i, samples, pass);
  if (gates(i)) here.gate_below = ws.Z[i].columns(begin, count).data;
  layers_[i]->by_units()->backward_inputs(inputs, theta + offsets_[i], ws.G[i + 1].columns(begin, count),
                                          ws.D_rows[i].view().row_range(begin, count),
                                          ws.G[i].columns(begin, count), here);
  if (i > 0 && is_by_units(i - 1)) slope(i - 1, ws, {inputs, samples}, pass, gates(i));
}

template <class T>
void Network<T>::slope(std::size_t i, Workspace<T>& ws, const Part& part, const Pass<T>& pass,
                       bool gated_above) const {
  const std::size_t begin = part.samples.begin, count = part.samples.size();
  Pass<T> here = in_layer(i, part.samples, pass);
  here.gated_above = gated_above;
  layers_[i]->by_units()->slope_outputs(part.units, ws.A[i].columns(begin, count),
                                        ws.Z[i + 1].columns(begin, count), ws.G[i + 1].columns(begin, count),
                                        ws.D_rows[i].view().row_range(begin, count), here);
}

template <class T>
bool Network<T>::sooner_by_layers(double flops, std::size_t m, std::size_t passes, std::size_t pieces,
                                  double waiting, std::size_t team) const {
  if (team == 1) return false;
  const auto members = static_cast<double>(team), in_pieces = static_cast<double>(pieces);
  const double arithmetic = flops * static_cast<double>(m);
  const double weights = work_of_byte * sizeof(T) * flops / 2;  // each is read for two operations
  const double by_pieces = std::ceil(in_pieces / members) * (arithmetic / in_pieces + weights);
  return (arithmetic + static_cast<double>(passes) * weights) / members + waiting < by_pieces;
}

template <class T>
bool Network<T>::shares_layers(std::size_t m, std::size_t team) const {
  const double waits = static_cast<double>(2 * depth() + 1);  // more than tiles need
  return sooner_by_layers(sweeps_flops(), m, 1, runs(m, team), waits * work_of_a_wait, team);
}

template <class T>
bool Network<T>::shares_layers_forward(std::size_t m, std::size_t passes, std::size_t pieces,
                                       std::size_t team) const {
  const double waits = static_cast<double>(passes * (depth() + 3));
  return sooner_by_layers(forward_flops_, m, passes, pieces, waits * work_of_a_wait, team);
}

#define BACKSWEEP_INSTANTIATE(T)                                                                            \
  template std::size_t Network<T>::forward_parts(std::size_t, std::size_t, std::size_t) const;              \
  template std::size_t Network<T>::backward_parts(std::size_t, std::size_t, std::size_t) const;             \
  template void Network<T>::forward_part(std::size_t, std::size_t, const T*, Workspace<T>&, std::size_t,    \
                                         std::size_t, const Pass<T>&) const;                                \
  template void Network<T>::backward_part(std::size_t, std::size_t, const T*, Workspace<T>&, std::size_t,   \
                                          std::size_t, const Pass<T>&) const;                               \
  template void Network<T>::slope(std::size_t, Workspace<T>&, const Part&, const Pass<T>&, bool) const;     \
  template std::size_t Network<T>::output_parts(std::size_t, std::size_t, std::size_t) const;               \
  template void Network<T>::forward_outputs(std::size_t, std::size_t, const T*, Workspace<T>&, std::size_t, \
                                            std::size_t, const Pass<T>&) const;                             \
  template void Network<T>::forward_rows(const T*, const T*, const ConstMatrix<T>&, const Matrix<T>&,       \
                                         const Matrix<T>&, const Matrix<T>&, std::size_t) const;            \
  template bool Network<T>::shares_layers(std::size_t, std::size_t) const;                                  \
  template bool Network<T>::shares_layers_forward(std::size_t, std::size_t, std::size_t, std::size_t) const;
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
