#include "core/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace backsweep {

namespace {

// In a team other cores hold lines of what an update writes: it is worth asking from as many parameters on.
constexpr std::size_t parameters_shared = 1u << 16;
// Of fewer samples a product is over before anything has come: it would wait, and the update reads what lies
// side by side as fast by itself.
constexpr std::size_t samples_worth_asking = 16;

// A look at the clock takes the time of some thousand, and more where the system must be asked.
constexpr double flops_between_looks = 5e6;

double sum(const std::vector<double>& terms) { return std::accumulate(terms.begin(), terms.end(), 0.0); }

}  // namespace

template <class T>
Trainer<T>::Trainer(const Network<T>& network, const OptimizerSettings& optimizer, T* theta, T* buffers,
                    const OptimizerState<T>& state, const Data<T>& data, std::size_t batch_size,
                    std::size_t n_threads, const Objective& objective)
    : network_(network),
      optimizer_(optimizer),
      objective_(objective),
      theta_(theta),
      buffers_(buffers),
      state_(state),
      data_(data),
      batch_size_(std::min(batch_size, data.X.rows)),
      step_(network, theta, data, batch_size_, Network<T>::Purpose::training),
      flops_of_step_(network.step_flops() * static_cast<double>(batch_size_)),
      chooser_(
          team_size(flops_of_step_, std::max(network.tiles(batch_size_), step_.blocks().size()), n_threads),
          n_threads == 0, flops_of_step_) {
  for (const T* array : state_) arrays_of_update_ += array != nullptr;
  const std::size_t threads = chooser_.most();
  const std::vector<GradientBlock>& blocks = step_.blocks();
  if (objective_.penalty > 0) squares_[0] = squares_[1] = WeightSquares(blocks);
  if (optimizer_.clip_norm > 0) {
    dtheta_.resize(network.parameters());
    sums_of_squares_.resize(blocks.size());
  } else {
    std::size_t largest = 0;
    for (const GradientBlock& block : blocks) largest = std::max(largest, block.parameters.size());
    gradients_.assign(threads, Buffer<T>(largest));
  }
}

// Whether it is worth asking for what an update reads beside a gradient.
template <class T>
bool Trainer<T>::asks_for_update(std::size_t batch_rows, std::size_t team) const {
  if (batch_rows < samples_worth_asking) return false;
  const std::size_t n = network_.parameters();
  return team > 1 ? n >= parameters_shared : n * arrays_of_update_ * sizeof(T) > update_bytes_that_stay;
}

template <class T>
std::size_t Trainer<T>::rows_of(std::size_t first, std::size_t n_steps) const {
  const std::size_t steps = std::min(n_steps, steps_in_epoch() - first);
  return std::min(steps * batch_size_, data_.X.rows - std::min(first * batch_size_, data_.X.rows));
}

// An order begins with the rows of the first of the steps.
template <class T>
RowSelection Trainer<T>::batch(const Steps& steps, std::size_t s) const {
  const std::size_t begin = (steps.order == nullptr ? steps.first + s : s) * batch_size_;
  return {steps.order, begin, rows_of(steps.first + s, 1)};
}

template <class T>
Progress Trainer<T>::run(const std::int64_t* order, std::size_t first, const double* learning_rates,
                         std::size_t n_rates, std::uint64_t done_before, Draws draws, double seconds,
                         EpochSums& sums) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  Steps steps{order, first, std::min(n_rates, steps_in_epoch() - first), learning_rates, done_before, draws};
  Progress total;
  while (steps.count > 0 && total.stop == Progress::Stop::done) {
    const auto started = Clock::now();
    const Progress stretch = run_stretch(steps, sums);
    const auto ended = Clock::now();
    if (stretch.steps > 0) {
      chooser_.report(std::chrono::duration<double>(ended - started).count(), stretch.steps);
    }
    total.steps += stretch.steps;
    total.stop = stretch.stop;
    steps = steps.after(stretch.steps, batch_size_);
    if (total.stop == Progress::Stop::done && steps.count > 0 && ended >= deadline) {
      total.stop = Progress::Stop::out_of_time;
    }
  }
  give_back();
  return total;
}

// The two sweeps over a batch.
template <class T>
void Trainer<T>::sweep(Member member, Team& team, const RowSelection& rows, double scale,
                       const Pass<T>& pass) {
  std::size_t n = 0;
  for (const Phase phase : step_.phases(rows.count, member.team)) {
    team.sweeps.each(member, n++, step_.tasks(phase, rows.count, member.team), [&](std::size_t task) {
      step_.perform(phase, task, member.team, rows, objective_.loss_factor * scale, pass);
    });
  }
}

// dW and db, block by block, each followed by its update: or, where the gradient's norm must be known first,
// all of them followed by all updates.
template <class T>
void Trainer<T>::descend(Member member, Team& team, std::size_t batch_rows, double scale, StepSize size,
                         Upcoming& upcoming) {
  const std::size_t n_blocks = step_.blocks().size();
  const bool clips = optimizer_.clip_norm > 0;
  const bool asks = !clips && asks_for_update(batch_rows, member.team);
  const auto gradient_of = [&](std::size_t block) -> Matrix<T> {
    const auto& [begin, rows, cols, stride] = step_.blocks()[block].parameters;
    if (clips) return {dtheta_.data() + begin, rows, cols, stride};
    return {gradients_[member.index].data(), rows, cols, cols};
  };
  const auto update_block = [&](std::size_t block) {
    each_run(step_.blocks()[block].parameters, gradient_of(block),
             [&](std::size_t begin, std::size_t n, T* g) {
               update<T>(optimizer_, begin, begin + n, size, g, state_, theta_);
             });
  };
  team.blocks.each(member, n_blocks, [&](std::size_t block) {
    const auto& [layer, parameters, weights] = step_.blocks()[block];
    const Matrix<T> gradient = gradient_of(block);
    const Ahead<T> ahead{
        asks ? read_by_update<T>(parameters.begin, parameters.stride, theta_, state_) : Companions<T>{},
        &upcoming};
    step_.gradient(block, batch_rows, gradient, ahead);
    if (objective_.penalty > 0) {
      squares_[0].take(block, 0, weights_of(parameters, weights, theta_));
      penalise(parameters, weights, objective_.penalty * scale, theta_, gradient);
    }
    if (clips) {
      sums_of_squares_[block] = 0;
      each_run(parameters, gradient, [&](std::size_t, std::size_t n, const T* g) {
        sums_of_squares_[block] += sum_of_squares(g, n);
      });
    } else {
      update_block(block);
    }
  });
  if (!clips) return;
  team.barrier.wait(member.team);
  size.gradient_scale = clipping_factor(optimizer_.clip_norm, std::sqrt(sum(sums_of_squares_)));
  team.updates.each(member, n_blocks, [&](std::size_t block) { update_block(block); });
}

// Steps until some milliseconds are over, on as many threads as did best of late.
template <class T>
Progress Trainer<T>::run_stretch(Steps steps, EpochSums& sums) {
  constexpr std::chrono::milliseconds stretch_time(3), trial_time(1);
  Stretch stretch{Clock::now() + (chooser_.is_trial() ? trial_time : stretch_time), sums};
  const std::size_t members = chooser_.next();
  if (const std::size_t n = steps_apart(steps, members)) {
    steps.count = n;
    run_apart(members, steps, stretch);
    return stretch.progress;
  }
  give_back();
  Team team(members);
  run_team(members, [&](Member member) { step_together(member, team, steps, stretch); });
  return stretch.progress;
}

// Every member adds the same numbers in the same order, so all agree whether to go on.
template <class T>
bool Trainer<T>::goes_on(const LossSums& sums, bool valid, Member member, Stretch& stretch) const {
  const bool finite = std::isfinite(sums.loss);
  if (member.index == 0) {
    if (!finite) stretch.progress.stop = Progress::Stop::diverged;
    if (!valid) stretch.progress.stop = Progress::Stop::invalid_input;
  }
  return finite && valid;
}

// By member 0 alone. Whether the stretch is over.
template <class T>
bool Trainer<T>::count(const LossSums& sums, std::size_t m, double weight, Stretch& stretch) const {
  stretch.progress.steps += 1;
  stretch.sums.loss += sums.loss;
  stretch.sums.weight += weight;
  stretch.sums.correct += sums.correct;
  stretch.sums.batch_loss += static_cast<double>(m) * scale_of(weight) * sums.loss;
  stretch.flops += flops_of_step_;
  if (stretch.flops < flops_between_looks) return false;
  stretch.flops = 0;
  return Clock::now() >= stretch.end;
}

template <class T>
void Trainer<T>::step_together(Member member, Team& team, const Steps& steps, Stretch& stretch) {
  const bool leads = member.index == 0;
  for (std::size_t s = 0; s < steps.count; ++s) {
    const RowSelection rows = batch(steps, s);
    const double weight = step_.weight_sum(rows), scale = scale_of(weight);
    sweep(member, team, rows, scale, training_pass<T>(steps.draws.after(s), buffers_));

    const LossSums sums = step_.sums(rows.count);
    if (!goes_on(sums, step_.input_valid(), member, stretch)) break;
    if (leads) step_.remember(rows.count, buffers_);

    Upcoming upcoming =
        s + 1 < steps.count ? step_.upcoming(batch(steps, s + 1), member.index, member.team) : Upcoming{};
    descend(member, team, rows.count, scale, steps.size(optimizer_, s), upcoming);

    if (leads && count(sums, rows.count, weight, stretch)) team.stop.store(true, std::memory_order_relaxed);
    team.barrier.wait(member.team);
    if (leads && objective_.penalty > 0) {
      stretch.sums.penalty += penalty_factor(rows.count, scale) * squares_[0].sum();
    }
    if (team.stop.load(std::memory_order_relaxed)) break;
    team.blocks.restart(member);
    team.updates.restart(member);
  }
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace backsweep
