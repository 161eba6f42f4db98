#include "core/narrow_network.hpp"

#include <algorithm>

namespace backsweep {
namespace {

// A layer of fewer units does some things in another way.
constexpr std::size_t fewest_units = 32;
// Of fewer samples a step is mostly the update.
constexpr std::size_t fewest_samples = 32;
// Each member gathers the whole batch, an entry in the time of so many operations, and some have more units
// than others. What cores save that need not hand each other lines is worth so many.
constexpr double work_to_gather_entry = 20;
constexpr double work_saved = 8e6;

// Whole vectors of units: what a layer computes of them, and in which order, is as in the whole layer.
Slice units_of(Member member, std::size_t units) {
  const auto begin = [&](std::size_t i) {
    return i == member.team ? units : units * i / member.team / widest_vector * widest_vector;
  };
  return {begin(member.index), begin(member.index + 1)};
}

template <class T>
void copy(const Matrix<const T>& from, const Matrix<T>& to) {
  for (std::size_t r = 0; r < from.rows; ++r) std::copy_n(from.row(r), from.cols, to.row(r));
}

}  // namespace

template <class T>
bool NarrowNetwork<T>::suits(const Network<T>& network, std::size_t m, std::size_t team) {
  const std::size_t units = network.layer(0).n_out();
  if (team < 2 || network.depth() != 2 || !network.is_by_units(0) || !network.is_by_units(1) ||
      network.has_large_layer() || m < fewest_samples || units < fewest_units * team) {
    return false;
  }
  const double fair = 1 / static_cast<double>(team), samples = static_cast<double>(m);
  const double most =
      static_cast<double>(units_of({team - 1, team}, units).size()) / static_cast<double>(units);
  const double more_rows = (1 - fair) * work_to_gather_entry * static_cast<double>(network.n_in());
  return (more_rows + (most - fair) * network.step_flops()) * samples <= work_saved;
}

template <class T>
NarrowNetwork<T>::NarrowNetwork(const Network<T>& network, const std::vector<GradientBlock>& blocks,
                                Member member, std::size_t m, const OptimizerState<T>& state)
    : network_(network),
      units_(units_of(member, network.layer(0).n_out())),
      first_(network.layer(0).by_units()->narrower(network.n_in(), units_.size(), true)),
      last_(network.layer(1).by_units()->narrower(units_.size(), network.n_out(),
                                                  member.index + 1 == member.team)),
      last_blocks_(last_->gradient_blocks(m)),
      theta_(first_->parameters()),
      Z_(OwnedMatrix<T>::and_ones(network.n_in(), m)),
      A_(first_->kept_rows(), m),
      G_(units_.size(), m),
      D_rows_(m, first_->summed()),
      gathered_(widest_vector, network.n_in()),
      upcoming_(m) {
  // The same rows, so that squares of weights come in the same parts.
  for (const GradientBlock& block : blocks) {
    const auto& [begin, rows, cols, stride] = block.parameters;
    if (block.layer == 0)
      first_blocks_.push_back({begin / cols * units_.size(), rows, units_.size(), units_.size()});
  }
  std::size_t arrays = 1;
  for (std::size_t k = 0; k < max_states; ++k) {
    if (state[k] == nullptr) continue;
    states_[k].resize(theta_.size());
    state_[k] = states_[k].data();
    ++arrays;
  }
  asks_for_update_ = (theta_.size() + last_->parameters()) * arrays * sizeof(T) > update_bytes_that_stay;
  std::size_t largest = 0;
  for (const auto* own : {&first_blocks_, &last_blocks_}) {
    for (const ParameterBlock& block : *own) largest = std::max(largest, block.size());
  }
  gradient_.resize(largest);
  if (network.omits_zeros()) occupied_ = OccupiedFeatures(network.n_in(), m);
}

template <class T>
template <class F>
void NarrowNetwork<T>::each_array(T* theta, const OptimizerState<T>& state, const F& f) const {
  const std::size_t n = units_.size(), n_whole = network_.layer(0).n_out(), rows = theta_.size() / n;
  const auto both = [&](const T* own, T* whole) {
    f(Matrix<T>{const_cast<T*>(own), rows, n, n},
      Matrix<T>{whole, rows, n_whole, n_whole}.col_range(units_.begin, n));
  };
  both(theta_.data(), theta);
  for (std::size_t k = 0; k < max_states; ++k) {
    if (state_[k] != nullptr) both(state_[k], state[k]);
  }
}

template <class T>
void NarrowNetwork<T>::take(T* theta, const OptimizerState<T>& state) {
  each_array(theta, state, [&](const Matrix<T>& own, const Matrix<T>& whole) { copy<T>(whole, own); });
}

template <class T>
void NarrowNetwork<T>::give(T* theta, const OptimizerState<T>& state) const {
  each_array(theta, state, [&](const Matrix<T>& own, const Matrix<T>& whole) { copy<T>(own, whole); });
}

template <class T>
void NarrowNetwork<T>::look(Slice samples) {
  if (network_.omits_zeros()) {
    occupied_.look(Z_.view().col_range(samples.begin, samples.size()), samples.begin);
  }
}

template <class T>
void NarrowNetwork<T>::forward(Workspace<T>& ws, std::size_t m, const Pass<T>& pass) {
  network_.each_tile(network_.all_tiles(m), m, [&](std::size_t, Slice samples) {
    const std::size_t begin = samples.begin, n = samples.size();
    first_->forward(theta_.data(), Z_.columns(begin, n), A_.columns(begin, n), hidden(ws, samples),
                    network_.in_layer(0, samples, pass, occupied_.of(begin, n)));
  });
}

template <class T>
void NarrowNetwork<T>::backward(const T* theta, Workspace<T>& ws, std::size_t m, const Pass<T>& pass) {
  const bool gates = network_.gates(1);
  network_.each_tile(network_.all_tiles(m), m, [&](std::size_t, Slice samples) {
    const std::size_t begin = samples.begin, n = samples.size();
    const Matrix<T> Z = hidden(ws, samples), G = G_.columns(begin, n);
    Pass<T> in_last = network_.in_layer(1, samples, pass), in_first = network_.in_layer(0, samples, pass);
    if (gates) in_last.gate_below = Z.data;
    in_first.gated_above = gates;
    last_->by_units()->backward_inputs({0, units_.size()}, theta + last_offset(), ws.G[2].columns(begin, n),
                                       ws.D_rows[1].view().row_range(begin, n), G, in_last);
    first_->backward(theta_.data(), A_.columns(begin, n), Z, G, D_rows_.view().row_range(begin, n), {},
                     in_first);
  });
}

template <class T>
void NarrowNetwork<T>::descend(Descent descent, T* theta, const OptimizerState<T>& state, Workspace<T>& ws,
                               std::size_t m) {
  const auto of_batch = [&](OwnedMatrix<T>& D) { return D.view().col_range(0, m); };
  const auto turned = [&](OwnedMatrix<T>& D_rows) { return D_rows.view().row_range(0, m); };
  const Matrix<T> Z = ws.Z[1].view_and_ones();
  descend({*first_, first_blocks_, Z_.view_and_ones(), occupied_.of(0, m), of_batch(G_), turned(D_rows_),
           theta_.data(), state_, 0, &descent.squares},
          descent);
  descend({*last_,
           last_blocks_,
           Z.row_range(units_.begin, Z.rows - units_.begin),
           {},
           of_batch(ws.G[2]),
           turned(ws.D_rows[1]),
           theta,
           state,
           last_offset(),
           nullptr},
          descent);
}

template <class T>
void NarrowNetwork<T>::descend(const Swept& swept, Descent& descent) {
  T* const theta = swept.theta + swept.offset;
  for (std::size_t i = 0; i < swept.blocks.size(); ++i) {
    const ParameterBlock& block = swept.blocks[i];
    const Matrix<T> gradient{gradient_.data(), block.rows, block.cols, block.cols};
    Ahead<T> ahead{{}, &descent.upcoming};
    if (asks_for_update_) {
      ahead.companions =
          read_by_update<T>(swept.offset + block.begin, block.stride, swept.theta, swept.state);
    }
    swept.layer.gradient(block, swept.Z, swept.occupied, swept.D, swept.D_rows, gradient, ahead);
    if (descent.decay > 0) {
      const std::size_t weights = weights_in(block, swept.layer.weights());
      if (swept.squares != nullptr)
        swept.squares->take(i, units_.begin, weights_of<T>(block, weights, theta));
      penalise<T>(block, weights, descent.decay, theta, gradient);
    }
    each_run(block, gradient, [&](std::size_t at, std::size_t n, const T* dtheta) {
      const std::size_t begin = swept.offset + at;
      update<T>(descent.optimizer, begin, begin + n, descent.size, dtheta, swept.state, swept.theta);
    });
  }
}

template class NarrowNetwork<float>;
template class NarrowNetwork<double>;

}  // namespace backsweep
