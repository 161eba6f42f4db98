// The crew: threads that wait for work, and the teams that are made of them.
#pragma once

#include <cstddef>
#include <functional>

namespace backsweep {

inline constexpr std::size_t most_threads = 256;

// One thread of a team. The team may turn out smaller than was asked for, so a barrier takes its size from
// here.
struct Member {
  std::size_t index;
  std::size_t team;
};

// Waits for what another thread does. Spins for some microseconds, then yields: on a busy machine a spinning
// thread keeps the one it waits for off the core.
class Wait {
 public:
  void pause();
  bool yields() const;  // from now on

 private:
  int spins_ = 0;
};

// In seconds. What is woken comes sooner as a rule.
inline constexpr double longest_patience = 1e-4;

// Runs body(member) on this thread and on up to n - 1 of the crew, and returns when all have. Those come that
// are free, and that do not keep this thread waiting for longer than `patience` seconds after the one before:
// a thread that sleeps wakes when the system lets it, on a busy machine after milliseconds. The body must not
// throw.
void run_team(std::size_t n, const std::function<void(Member)>& body, double patience = longest_patience);

}  // namespace backsweep
