// How large a team is best: by trial, while it works.
#pragma once

#include <cstddef>
#include <vector>

namespace backsweep {

// Chooses among a team, half of it, a quarter, ..., and one thread by what they achieve. Where other
// processes keep cores busy, or the work is small, a team waits for a thread that does not run; the same
// results come sooner from fewer. Since they are the same to the bit, the choice may change at any time.
class TeamChooser {
 public:
  // Where it is not free, the team is always as large as can be: somebody has asked for it.
  TeamChooser(std::size_t most, bool free, double flops_of_step);

  std::size_t most() const { return sizes_.front().members; }

  // Members for the next stretch of work.
  std::size_t next() const { return sizes_[next_].members; }

  // Whether they are to be compared with those that did best so far: it may take as long as it shows.
  bool is_trial() const { return next_ != current_; }

  // What the stretch that next() was for took, and how many steps it had.
  void report(double seconds, std::size_t steps);

 private:
  struct Size {
    std::size_t members;
    double seconds = 0;  // a step's, when it was last taken: in the better of two stretches; 0 before
    double latest = 0;   // in the last of them
  };

  std::size_t after(std::size_t index) const { return index + 1 == sizes_.size() ? 0 : index + 1; }
  void judge();  // the one that has been tried
  std::size_t fastest() const;
  bool is_time_for_a_trial() const;

  std::vector<Size> sizes_;  // the largest first
  double flops_of_step_;
  std::size_t current_ = 0;           // which of these
  std::size_t next_ = 0;              // the same, or one that is tried
  bool returns_ = false;              // to one that was faster before
  std::size_t other_ = 1;             // which is to be tried next
  std::size_t stretches_ = 0;         // since another was tried
  std::size_t steps_ = 0;             // in these
  std::size_t stretches_to_try_ = 1;  // grows as long as the others lose
};

}  // namespace backsweep
