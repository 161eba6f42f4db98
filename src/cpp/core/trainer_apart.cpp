// Steps in which every member of a team has a narrow network to itself: they meet twice, before the last
// layer, which each takes some samples through, and after it.
#include <algorithm>
#include <memory>

#include "core/trainer.hpp"

namespace backsweep {

namespace {

// To take parameters out and to give them back takes a team the time of some hundred operations for each
// byte: steps of fewer than this are not worth it.
constexpr double flops_of_a_byte = 2400;

}  // namespace

// The norm of the whole gradient would be known too late. The last batch of an epoch may be too small.
template <class T>
std::size_t Trainer<T>::steps_apart(const Steps& steps, std::size_t team) const {
  if (optimizer_.clip_norm > 0 || !step_.blocks().front().parameters.lies_together()) return 0;
  if (!NarrowNetwork<T>::suits(network_, batch_size_, team)) return 0;
  const double bytes = static_cast<double>(network_.parameters() * arrays_of_update_ * sizeof(T));
  const double flops = flops_of_step_ * static_cast<double>(steps.count);
  if (!is_apart_ && flops < flops_of_a_byte * bytes) return 0;
  const std::size_t m = batch(steps, steps.count - 1).count;
  return steps.count - (NarrowNetwork<T>::suits(network_, m, team) ? 0 : 1);
}

template <class T>
void Trainer<T>::run_apart(std::size_t members, const Steps& steps, Stretch& stretch) {
  if (narrow_.size() != members) {
    give_back();
    narrow_.clear();
    for (std::size_t index = 0; index < members; ++index) {
      narrow_.push_back(std::make_unique<NarrowNetwork<T>>(network_, step_.blocks(), Member{index, members},
                                                           batch_size_, state_));
    }
  }
  Team team(members);
  const bool takes = !is_apart_;
  bool all_came = true;  // written by member 0 alone
  run_team(members, [&](Member member) {
    if (member.team == members) {
      if (takes) narrow_[member.index]->take(theta_, state_);
      return step_apart(member, team, steps, stretch);
    }
    if (member.index == 0) {
      all_came = false;
      give_back();
    }
    team.barrier.wait(member.team);
    step_together(member, team, steps, stretch);
  });
  is_apart_ = all_came;
  add_penalty(stretch);
}

template <class T>
void Trainer<T>::give_back() {
  if (!is_apart_) return;
  for (const auto& own : narrow_) own->give(theta_, state_);
  is_apart_ = false;
}

template <class T>
void Trainer<T>::add_penalty(Stretch& stretch) const {
  if (stretch.penalty_factor > 0) {
    stretch.sums.penalty += stretch.penalty_factor * squares_[stretch.latest].sum();
  }
  stretch.penalty_factor = 0;
}

// A member's share of the last layer's blocks.
template <class T>
void Trainer<T>::take_squares_of_last(Member member, WeightSquares& squares) const {
  const std::vector<GradientBlock>& blocks = step_.blocks();
  const auto is_of_first = [](const GradientBlock& block) { return block.layer == 0; };
  const std::size_t first = static_cast<std::size_t>(
      std::partition_point(blocks.begin(), blocks.end(), is_of_first) - blocks.begin());
  const std::size_t n = blocks.size() - first;
  for (std::size_t i = n * member.index / member.team; i < n * (member.index + 1) / member.team; ++i) {
    const auto& [layer, parameters, weights] = blocks[first + i];
    squares.take(first + i, 0, weights_of(parameters, weights, theta_));
  }
}

// What a member writes between one wait and the next nobody else reads then, so that no third is needed:
// Z[1] and D[0] are its own units', Z[2], D[1] and the sums its own tiles', parameters its own but for the
// last layer's, which are read before the second wait and written after it. Whether the input is valid is
// read between the two: before the first, somebody may be at the next batch.
template <class T>
void Trainer<T>::step_apart(Member member, Team& team, const Steps& steps, Stretch& stretch) {
  NarrowNetwork<T>& own = *narrow_[member.index];
  Workspace<T>& ws = step_.workspace();
  for (std::size_t s = 0; s < steps.count; ++s) {
    const RowSelection rows = batch(steps, s);
    const std::size_t m = rows.count, n = network_.tiles(m);
    const Run tiles =
        network_.run_of({n * member.index / member.team, n * (member.index + 1) / member.team}, m);
    const double weight = step_.weight_sum(rows), scale = scale_of(weight);
    const Pass<T> pass = training_pass<T>(steps.draws.after(s), buffers_);

    step_.gather_batch(rows, own);
    step_.gather_targets(tiles, rows);
    own.forward(ws, m, pass);
    team.barrier.wait(member.team);
    const bool valid = step_.input_valid(), is_last = s == team.last_step.load(std::memory_order_relaxed);
    step_.turn(tiles, rows, objective_.loss_factor * scale, pass);
    if (member.index == 0) add_penalty(stretch);  // of the step before
    if (objective_.penalty > 0) take_squares_of_last(member, squares_[s % 2]);
    team.barrier.wait(member.team);

    const LossSums sums = step_.sums(m);
    if (!goes_on(sums, valid, member, stretch)) break;
    const Upcoming upcoming =
        s + 1 < steps.count ? step_.upcoming(batch(steps, s + 1), member, own) : Upcoming{};
    own.backward(theta_, ws, m, pass);
    own.descend(
        {optimizer_, steps.size(optimizer_, s), objective_.penalty * scale, squares_[s % 2], upcoming},
        theta_, state_, ws, m);
    if (member.index == 0) {
      stretch.penalty_factor = penalty_factor(m, scale);
      stretch.latest = s % 2;
      const bool is_over = count(sums, m, weight, stretch);
      // The others see it in the next step.
      if (is_over && !is_last) team.last_step.store(s + 1, std::memory_order_relaxed);
    }
    if (is_last) break;
  }
}

#define BACKSWEEP_INSTANTIATE(T)                                                 \
  template std::size_t Trainer<T>::steps_apart(const Steps&, std::size_t) const; \
  template void Trainer<T>::run_apart(std::size_t, const Steps&, Stretch&);      \
  template void Trainer<T>::give_back();                                         \
  template void Trainer<T>::take_squares_of_last(Member, WeightSquares&) const;  \
  template void Trainer<T>::add_penalty(Stretch&) const;                         \
  template void Trainer<T>::step_apart(Member, Team&, const Steps&, Stretch&);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
