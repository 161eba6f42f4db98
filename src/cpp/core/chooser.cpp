#include "core/chooser.hpp"

#include <algorithm>

namespace backsweep {
namespace {

// Between two trials. There are fewer as long as they lose, and all the more as those that won turn out to
// have been lucky: beside another process a team is fast until the scheduler makes up for it.
constexpr std::size_t fewest_stretches = 16, most_stretches = 256;
constexpr std::size_t factor_of_a_loss = 2, divisor_of_a_win = 4, factor_of_a_return = 8;
// A size that was faster by so much when it was last taken is tried at once.
constexpr double clearly_faster = 0.95;
// Fewer may take as many times as long as they are fewer: a trial of a single step is to cost a sixteenth of
// the time at most.
constexpr std::size_t steps_for_a_trial = 16;
// In a second. A team that does less than as many slow cores as are to be tried would do can hardly lose.
constexpr double flops_of_slow_core = 2e10;

}  // namespace

TeamChooser::TeamChooser(std::size_t most, bool free, double flops_of_step)
    : sizes_{{most}}, flops_of_step_(flops_of_step) {
  while (free && sizes_.back().members > 1) sizes_.push_back({sizes_.back().members / 2});
}

void TeamChooser::report(double seconds, std::size_t steps) {
  if (sizes_.size() == 1) return;
  Size& size = sizes_[next_];
  const double latest = seconds / static_cast<double>(steps);
  if (next_ == current_) {
    // One stretch that was held up tells nothing of the next.
    size.seconds = size.latest == 0 ? latest : std::min(size.latest, latest);
    ++stretches_;
    steps_ += steps;
  } else {
    size.seconds = latest;
    judge();
  }
  size.latest = latest;
  next_ = fastest();
  returns_ = next_ != current_;
  if (!returns_ && is_time_for_a_trial()) next_ = other_;
}

void TeamChooser::judge() {
  const bool wins = sizes_[next_].seconds < sizes_[current_].seconds;
  if (wins) {
    current_ = next_;
    if (returns_)
      stretches_to_try_ *= factor_of_a_return;
    else
      stretches_to_try_ /= divisor_of_a_win;
  } else if (!returns_) {
    stretches_to_try_ *= factor_of_a_loss;
  }
  stretches_to_try_ = std::clamp(stretches_to_try_, fewest_stretches, most_stretches);
  if (std::any_of(sizes_.begin(), sizes_.end(), [](const Size& s) { return s.seconds == 0; }))
    stretches_to_try_ = 1;
  stretches_ = steps_ = 0;
  if (!returns_) other_ = after(other_);
  if (other_ == current_) other_ = after(other_);
}

std::size_t TeamChooser::fastest() const {
  std::size_t best = current_;
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].seconds > 0 && sizes_[i].seconds < sizes_[best].seconds) best = i;
  }
  return sizes_[best].seconds < clearly_faster * sizes_[current_].seconds ? best : current_;
}

bool TeamChooser::is_time_for_a_trial() const {
  if (stretches_ < stretches_to_try_) return false;
  const Size &current = sizes_[current_], &other = sizes_[other_];
  const std::size_t times_as_long = std::max<std::size_t>(current.members / other.members, 1);
  const auto cores = static_cast<double>(other.members < current.members ? other.members : 1);
  return steps_ >= steps_for_a_trial * times_as_long ||
         current.seconds * cores * flops_of_slow_core > flops_of_step_;
}

}  // namespace backsweep
