// An epoch of mini-batches, or as much of one as fits into some time: the only loop over steps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/chooser.hpp"
#include "core/narrow_network.hpp"
#include "core/optimizer.hpp"
#include "core/penalty.hpp"
#include "core/step.hpp"
#include "core/threads.hpp"

namespace backsweep {

// Sums over the rows seen so far. Each step adds to them in turn, so that they do not depend on the runs that
// an epoch comes in.
struct EpochSums {
  double loss = 0;     // Σ w ℓ
  double weight = 0;   // Σ w
  double correct = 0;  // Σ w [classified rightly]
  // With every batch counted by its m rows, whatever they weigh: Σ m Σwℓ/Σw, and Σ m of the penalty.
  double batch_loss = 0;
  double penalty = 0;
};

// What a step descends: loss_factor · ℓ + penalty/2 Σ W² / Σw, with Σw over the batch and W without biases.
struct Objective {
  double loss_factor = 1;
  double penalty = 0;
};

// What a run of steps came to.
struct Progress {
  std::size_t steps = 0;
  enum class Stop { done, out_of_time, diverged, invalid_input } stop = Stop::done;
};

template <class T>
class Trainer {
 public:
  // The parameters, and what is kept from step to step, belong to the caller. Every batch must have
  // network.fewest_rows().
  Trainer(const Network<T>& network, const OptimizerSettings& optimizer, T* theta, T* buffers,
          const OptimizerState<T>& state, const Data<T>& data, std::size_t batch_size, std::size_t n_threads,
          const Objective& objective = {});

  std::size_t steps_in_epoch() const { return (data_.X.rows + batch_size_ - 1) / batch_size_; }
  // The rows of steps first, first + 1, ...: of n_steps, or of those that the epoch has.
  std::size_t rows_of(std::size_t first, std::size_t n_steps) const;

  // Steps first, first + 1, ... of an epoch, with one learning rate for each of at most n_rates steps. Their
  // rows come in `order`, which begins with that of the first step (null: as they are). done_before counts
  // the optimizer's steps so far, `draws` says what is drawn in the first of these. A step whose loss is not
  // finite is not taken: the run stops before its update.
  Progress run(const std::int64_t* order, std::size_t first, const double* learning_rates,
               std::size_t n_rates, std::uint64_t done_before, Draws draws, double seconds, EpochSums& sums);

 private:
  using Clock = std::chrono::steady_clock;

  // Consecutive steps of an epoch.
  struct Steps {
    const std::int64_t* order;
    std::size_t first;
    std::size_t count;
    const double* learning_rates;
    std::uint64_t done_before;
    Draws draws;

    Steps after(std::size_t n, std::size_t batch_size) const {
      return {order == nullptr ? order : order + n * batch_size,
              first + n,
              count - n,
              learning_rates + n,
              done_before + n,
              draws.after(n)};
    }
    StepSize size(const OptimizerSettings& optimizer, std::size_t s) const {
      return step_size(optimizer, done_before + s, learning_rates[s]);
    }
  };

  // What some of them came to: written by member 0 alone.
  struct Stretch {
    Clock::time_point end;
    EpochSums& sums;
    Progress progress = {};
    double flops = 0;           // since the clock was looked at
    double penalty_factor = 0;  // of steps apart: of the latest penalty, whose squares are yet to be added
    std::size_t latest = 0;     // which these are
  };

  // What the members of a team have in common while they take steps together.
  struct Team {
    explicit Team(std::size_t members) : sweeps(members), blocks(members), updates(members) {}

    PhasedTasks sweeps;
    Tasks blocks, updates;
    Barrier barrier;
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> last_step{~std::size_t(0)};  // of steps apart
  };

  RowSelection batch(const Steps& steps, std::size_t s) const;
  double penalty_factor(std::size_t m, double scale) const {
    return static_cast<double>(m) * scale * objective_.penalty / 2;
  }
  static double scale_of(double weight) { return weight > 0 ? 1 / weight : 0; }
  bool asks_for_update(std::size_t batch_rows, std::size_t team) const;

  // The parts of a step, to be called by every member. Those of a batch's rows that are read next are asked
  // for meanwhile.
  void sweep(Member member, Team& team, const RowSelection& rows, double scale, const Pass<T>& pass);
  void descend(Member member, Team& team, std::size_t batch_rows, double scale, StepSize size,
               Upcoming& upcoming);

  Progress run_stretch(Steps steps, EpochSums& sums);
  bool goes_on(const LossSums& sums, bool valid, Member member, Stretch& stretch) const;
  bool count(const LossSums& sums, std::size_t m, double weight, Stretch& stretch) const;

  // Steps in which the team shares tiles or layers, then blocks of the gradient; and steps in which each
  // member has a narrow network to itself. To be called by every member.
  void step_together(Member member, Team& team, const Steps& steps, Stretch& stretch);
  void step_apart(Member member, Team& team, const Steps& steps, Stretch& stretch);

  // How many of the steps come apart. Until parameters are given back the narrow networks have them.
  std::size_t steps_apart(const Steps& steps, std::size_t team) const;
  void run_apart(std::size_t members, const Steps& steps, Stretch& stretch);
  void give_back();
  void take_squares_of_last(Member member, WeightSquares& squares) const;
  void add_penalty(Stretch& stretch) const;

  const Network<T>& network_;
  OptimizerSettings optimizer_;
  Objective objective_;
  T* theta_;
  T* buffers_;
  OptimizerState<T> state_;
  std::size_t arrays_of_update_ = 1;  // θ and the states there are
  Data<T> data_;
  std::size_t batch_size_;
  Step<T> step_;
  double flops_of_step_;  // of a whole batch
  TeamChooser chooser_;
  // One block for each thread; or, where the norm of the whole gradient must be known before the first
  // update, the whole gradient and the blocks' sums of squares.
  std::vector<Buffer<T>> gradients_;
  Buffer<T> dtheta_;
  std::vector<double> sums_of_squares_;
  std::vector<std::unique_ptr<NarrowNetwork<T>>> narrow_;  // one for each member of a team that steps apart
  bool is_apart_ = false;
  WeightSquares squares_[2];  // where there is a penalty; steps apart take them in turn
};

}  // namespace backsweep
