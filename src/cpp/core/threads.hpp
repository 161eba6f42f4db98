// The team: how many threads work, how they share tasks and how they wait for one another.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <vector>

#include "core/buffer.hpp"

namespace backsweep {

// Cores that this process may use: its affinity, its cgroup's quota and OMP_NUM_THREADS, whichever is least;
// or what set_num_threads was told.
std::size_t num_threads();

// n = 0 returns to the automatic choice.
void set_num_threads(std::size_t n);

// The threads for some work: requested (0: num_threads(), or one where the work is too small to share), but
// never more than there are tasks, and one in a forked child whose parent has run a team: its threads did
// not survive the fork.
std::size_t team_size(double flops, std::size_t tasks, std::size_t requested);

// Chooses among a team, half of it, a quarter, ..., and one thread by what they achieve. Where other
// processes keep cores busy, or the work is small, a team waits for a thread that does not run; the same
// results come sooner from fewer. Since they are the same to the bit, the choice may change at any time.
class TeamChooser {
 public:
  // Where it is not free, the team is always as large as can be: somebody has asked for it.
  TeamChooser(std::size_t most, bool free, double flops_of_step);

  std::size_t most() const { return sizes_.front(); }

  // Members for the next stretch of work.
  std::size_t next() const { return sizes_[trying_other_ ? other_ : current_]; }

  // What the stretch that next() was for took, and how many steps it had.
  void report(double seconds, std::size_t steps);

 private:
  std::size_t after(std::size_t index) const { return index + 1 == sizes_.size() ? 0 : index + 1; }

  std::vector<std::size_t> sizes_;  // the largest first
  double flops_of_step_;
  std::size_t current_ = 0;  // which of these
  std::size_t other_ = 1;    // which is to be tried next
  bool trying_other_ = false;
  std::size_t untried_;               // others that have had no turn yet
  double seconds_ = 0;                // a step's, as it was of late; 0 before the first report
  std::size_t stretches_ = 0;         // since another was tried
  std::size_t steps_ = 0;             // in these
  std::size_t stretches_to_try_ = 1;  // grows as long as the others lose
};

// Waits for a whole team. Spins for some microseconds, then yields: on a busy machine a spinning thread
// keeps the one it waits for off the core.
class Barrier {
 public:
  // Every write of a member before wait() is seen by every member after it.
  void wait(std::size_t members);

 private:
  std::atomic<std::size_t> arrived_{0};
  std::atomic<std::size_t> round_{0};
};

// One thread of a team. The team may turn out smaller than was asked for (inside another parallel region,
// or under OMP_THREAD_LIMIT), so a barrier takes its size from here.
struct Member {
  std::size_t index;
  std::size_t team;
};

// Hands out the tasks 0, 1, ..., n-1, each once: to each member those of its own share, then what is left of
// the others'. So a member does by and large the same tasks each time, and finds in its caches what it left
// there. Which thread does a task never changes a result: a task writes only what is its own.
class Tasks {
 public:
  explicit Tasks(std::size_t members) : claimed_(members) {}

  // Calls f(task) for those of n tasks that fall to a member.
  template <class F>
  void each(Member member, std::size_t n, const F& f) {
    for (std::size_t task = claim(member, n); task < n; task = claim(member, n)) f(task);
  }

  // To be called by every member, where a barrier stands before the call and another before the next each().
  void restart(Member member) { claimed_[member.index].count.store(0, std::memory_order_relaxed); }

 private:
  // The next of n tasks, or a number that is at least n when there is none.
  std::size_t claim(Member member, std::size_t n) {
    if (member.team == 1) {  // nobody else counts
      const std::size_t task = claimed_[0].count.load(std::memory_order_relaxed);
      claimed_[0].count.store(task + 1, std::memory_order_relaxed);
      return task;
    }
    for (std::size_t i = 0; i < member.team; ++i) {
      const std::size_t owner = (member.index + i) % member.team;
      const std::size_t begin = n * owner / member.team, end = n * (owner + 1) / member.team;
      std::atomic<std::size_t>& claimed = claimed_[owner].count;
      if (claimed.load(std::memory_order_relaxed) >= end - begin) continue;
      const std::size_t task = begin + claimed.fetch_add(1, std::memory_order_relaxed);
      if (task < end) return task;
    }
    return n;
  }

  struct alignas(alignment) Claimed {  // a cache line to each member
    std::atomic<std::size_t> count{0};
  };

  std::vector<Claimed> claimed_;
};

// Work that a team does in phases: each is shared, and the team waits before the next. Members count the
// phases from 0 for themselves, and all the same.
class PhasedTasks {
 public:
  explicit PhasedTasks(std::size_t members) : turns_{Tasks(members), Tasks(members)} {}

  template <class F>
  void each(Member member, std::size_t phase, std::size_t n, const F& f) {
    Tasks& tasks = turns_[phase % 2];  // while these are put back, the next phase claims from the others
    tasks.each(member, n, f);
    barrier_.wait(member.team);
    tasks.restart(member);
  }

 private:
  Barrier barrier_;
  Tasks turns_[2];
};

// Runs body(member) on a team of up to n threads and returns when all have. The body must not throw.
void run_team(std::size_t n, const std::function<void(Member)>& body);

// Runs body(task) for every task on a team of n.
void for_each_task(std::size_t n, std::size_t tasks, const std::function<void(std::size_t)>& body);

// Bytes that take long enough come by several threads: of memory that is new, each gets a part of the pages.
void copy_bytes(const void* from, void* to, std::size_t bytes, std::size_t n_threads);

}  // namespace backsweep
