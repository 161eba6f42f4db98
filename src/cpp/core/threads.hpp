// The team: how many threads work, how they share tasks and how they wait for one another.
#pragma once

#include <atomic>
#include <vector>

#include "core/crew.hpp"
#include "core/sizes.hpp"

namespace backsweep {

// Cores that this process may use: its affinity, its cgroup's quota and OMP_NUM_THREADS, whichever is least;
// or what set_num_threads was told.
std::size_t num_threads();

// n = 0 returns to the automatic choice.
void set_num_threads(std::size_t n);

// The threads for some work: requested (0: num_threads(), or one where the work is too small to share), but
// never more than there are tasks.
std::size_t team_size(double flops, std::size_t tasks, std::size_t requested);

// Waits for a whole team.
class Barrier {
 public:
  // Every write of a member before wait() is seen by every member after it.
  void wait(std::size_t members);

 private:
  alignas(cache_line) std::atomic<std::size_t> arrived_{0};
  alignas(cache_line) std::atomic<std::size_t> round_{0};
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

  struct alignas(cache_line) Claimed {  // a cache line to each member
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

// Runs body(task) for every task on a team of n.
void for_each_task(std::size_t n, std::size_t tasks, const std::function<void(std::size_t)>& body);

// Bytes that take long enough come by several threads: of memory that is new, each gets a part of the pages.
void copy_bytes(const void* from, void* to, std::size_t bytes, std::size_t n_threads);

}  // namespace backsweep
