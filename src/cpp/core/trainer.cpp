#include "core/trainer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace backsweep {

namespace {

// Parameters and state of more bytes leave the second-level cache between one step and the next. In a team
// other cores hold lines of them: there it is worth asking from as many parameters on.
constexpr std::size_t update_bytes_that_stay = 1u << 20;
constexpr std::size_t parameters_shared = 1u << 16;
// Of fewer samples a product is over before anything has come: it would wait, and the update reads what lies
// side by side as fast by itself.
constexpr std::size_t samples_worth_asking = 16;

// A look at the clock takes the time of some thousand, and more where the system must be asked.
constexpr double flops_between_looks = 5e6;

// f(where it begins among the parameters, how many, their gradient) for each run of parameters that lie side
// by side.
template <class T, class F>
void each_run(const ParameterBlock& block, const Matrix<T>& gradient, F f) {
  if (block.lies_together()) return f(block.begin, block.size(), gradient.data);
  for (std::size_t r = 0; r < block.rows; ++r) f(block.begin + r * block.stride, block.cols, gradient.row(r));
}

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
  if (objective_.penalty > 0) penalties_.resize(blocks.size());
  if (optimizer_.clip_norm > 0) {
    dtheta_.resize(network.parameters());
    sums_of_squares_.resize(blocks.size());
  } else {
    std::size_t largest = 0;
    for (const GradientBlock& block : blocks) largest = std::max(largest, block.parameters.size());
    gradients_.assign(threads, Buffer<T>(largest));
  }
}

// What an update reads beside the gradient of a block, where it is worth asking for.
template <class T>
Companions<T> Trainer<T>::read_by_update(const ParameterBlock& block, std::size_t batch_rows,
                                         std::size_t team) const {
  Companions<T> companions;
  const std::size_t n = network_.parameters();
  if (batch_rows < samples_worth_asking) return companions;
  if (team > 1 ? n < parameters_shared : n * arrays_of_update_ * sizeof(T) <= update_bytes_that_stay)
    return companions;
  companions.stride = block.stride;
  companions.add(theta_ + block.begin);
  for (const T* state : state_) {
    if (state != nullptr) companions.add(state + block.begin);
  }
  return companions;
}

template <class T>
std::size_t Trainer<T>::rows_of(std::size_t first, std::size_t n_steps) const {
  const std::size_t steps = std::min(n_steps, steps_in_epoch() - first);
  return std::min(steps * batch_size_, data_.X.rows - std::min(first * batch_size_, data_.X.rows));
}

// The rows of step first + s, where `order` begins with those of step first.
template <class T>
RowSelection Trainer<T>::batch(const std::int64_t* order, std::size_t first, std::size_t s) const {
  const std::size_t begin = (order == nullptr ? first + s : s) * batch_size_;
  return {order, begin, rows_of(first + s, 1)};
}

template <class T>
Progress Trainer<T>::run(const std::int64_t* order, std::size_t first, const double* learning_rates,
                         std::size_t n_rates, std::uint64_t done_before, Draws draws, double seconds,
                         EpochSums& sums) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
  const std::size_t n_steps = std::min(n_rates, steps_in_epoch() - first);
  Progress total;
  while (total.steps < n_steps && total.stop == Progress::Stop::done) {
    const auto started = Clock::now();
    const Progress stretch =
        run_stretch(order == nullptr ? nullptr : order + total.steps * batch_size_, first + total.steps,
                    learning_rates + total.steps, n_steps - total.steps, done_before + total.steps,
                    draws.after(total.steps), sums);
    const auto ended = Clock::now();
    if (stretch.steps > 0) {
      chooser_.report(std::chrono::duration<double>(ended - started).count(), stretch.steps);
    }
    total.steps += stretch.steps;
    total.stop = stretch.stop;
    if (total.stop == Progress::Stop::done && total.steps < n_steps && ended >= deadline) {
      total.stop = Progress::Stop::out_of_time;
    }
  }
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
    const Ahead<T> ahead{clips ? Companions<T>{} : read_by_update(parameters, batch_rows, member.team),
                         &upcoming};
    step_.gradient(block, batch_rows, gradient, ahead);
    if (objective_.penalty > 0) {
      std::size_t left = weights;
      penalties_[block] = 0;
      each_run(parameters, gradient, [&](std::size_t begin, std::size_t n, T* g) {
        n = std::min(n, left);
        left -= n;
        penalties_[block] += penalise(n, objective_.penalty * scale, theta_ + begin, g);
      });
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
Progress Trainer<T>::run_stretch(const std::int64_t* order, std::size_t first, const double* learning_rates,
                                 std::size_t n_steps, std::uint64_t done_before, Draws draws,
                                 EpochSums& epoch_sums) {
  constexpr std::chrono::milliseconds stretch_time(3), trial_time(1);
  const auto end = Clock::now() + (chooser_.is_trial() ? trial_time : stretch_time);
  double flops = 0;  // since the clock was looked at

  Progress progress;  // this and the sums are written by member 0 alone
  const std::size_t members = chooser_.next();
  Team team(members);

  run_team(members, [&](Member member) {
    const bool leads = member.index == 0;
    for (std::size_t s = 0; s < n_steps; ++s) {
      const RowSelection rows = batch(order, first, s);
      const double weight = step_.weight_sum(rows);
      const double scale = weight > 0 ? 1 / weight : 0;
      sweep(member, team, rows, scale, training_pass<T>(draws.after(s), buffers_));

      // Every member adds the same numbers in the same order, so all agree whether to go on.
      const LossSums sums = step_.sums(rows.count);
      const bool finite = std::isfinite(sums.loss);
      const bool valid = step_.input_valid();
      if (leads) {
        if (!finite) progress.stop = Progress::Stop::diverged;
        if (!valid) progress.stop = Progress::Stop::invalid_input;
      }
      if (!finite || !valid) break;
      if (leads) step_.remember(rows.count, buffers_);

      Upcoming upcoming = s + 1 < n_steps
                              ? step_.upcoming(batch(order, first, s + 1), member.index, member.team)
                              : Upcoming{};
      descend(member, team, rows.count, scale, step_size(optimizer_, done_before + s, learning_rates[s]),
              upcoming);

      if (leads) {
        progress.steps += 1;
        epoch_sums.loss += sums.loss;
        epoch_sums.weight += weight;
        epoch_sums.correct += sums.correct;
        epoch_sums.batch_loss += static_cast<double>(rows.count) * scale * sums.loss;
        flops += flops_of_step_;
        if (flops >= flops_between_looks) {
          flops = 0;
          if (Clock::now() >= end) team.stop.store(true, std::memory_order_relaxed);
        }
      }
      team.barrier.wait(member.team);
      if (leads && objective_.penalty > 0) {
        epoch_sums.penalty +=
            static_cast<double>(rows.count) * scale * objective_.penalty / 2 * sum(penalties_);
      }
      if (team.stop.load(std::memory_order_relaxed)) break;
      team.blocks.restart(member);
      team.updates.restart(member);
    }
  });
  return progress;
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace backsweep
