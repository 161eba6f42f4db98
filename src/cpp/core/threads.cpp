#include "core/threads.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace backsweep {
namespace {

// Below this much work a second thread costs more than it brings: about the time of two barriers. With more
// the team is as large as can be, since OpenMP ends threads that a smaller one leaves out, and starts them
// again for the next.
constexpr double flops_worth_a_team = 2e6;
constexpr std::size_t most_threads = 256;
constexpr int spins_before_yielding = 4000;

std::atomic<std::size_t> chosen_threads{0};
std::atomic<bool> team_has_run{false};
std::atomic<bool> forked_after_team{false};

void pause_core() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  __asm__ volatile("yield");
#endif
}

// While it lives, results and operands too small for a normal number count as 0 on this thread. Moments of
// parameters that have come to rest decay into that range, where every operation takes a hundred cycles.
class SubnormalsAreZero {
 public:
#if defined(__x86_64__) || defined(_M_X64)
  SubnormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~SubnormalsAreZero() { _mm_setcsr(before_); }
#elif defined(__aarch64__) && defined(__GNUC__)
  SubnormalsAreZero() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    __asm__ volatile("msr fpcr, %0" : : "r"(before_ | 1u << 24));
  }
  ~SubnormalsAreZero() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }
#endif
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
#if defined(__x86_64__) || defined(_M_X64)
  unsigned before_;
#elif defined(__aarch64__) && defined(__GNUC__)
  unsigned long before_;
#endif
};

std::size_t affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::size_t>(CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// Cores of the cgroup's quota, rounded up, or `otherwise` where there is none.
std::size_t read_quota_cores(std::size_t otherwise) {
#if defined(__linux__)
  const auto first_numbers = [](const char* path, const char* format, double* a, double* b) {
    std::FILE* file = std::fopen(path, "r");
    if (file == nullptr) return 0;
    const int read = b == nullptr ? std::fscanf(file, format, a) : std::fscanf(file, format, a, b);
    std::fclose(file);
    return read;
  };
  double quota = 0;
  double period = 0;
  bool found = first_numbers("/sys/fs/cgroup/cpu.max", "%lf %lf", &quota, &period) == 2;
  if (!found) {  // the older hierarchy
    found = first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "%lf", &quota, nullptr) == 1 &&
            first_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "%lf", &period, nullptr) == 1;
  }
  if (found && quota > 0 && period > 0) {
    return static_cast<std::size_t>(std::max(1.0, (quota + period - 1) / period));
  }
#endif
  return otherwise;
}

std::size_t automatic_threads() {
  static const std::size_t quota_cores = read_quota_cores(most_threads);
  std::size_t n = std::min(affinity_cores(), quota_cores);
  if (const char* value = std::getenv("OMP_NUM_THREADS")) {
    char* end = nullptr;
    const unsigned long wanted = std::strtoul(value, &end, 10);
    if (end != value && wanted > 0) n = std::min<std::size_t>(n, wanted);
  }
  return std::clamp<std::size_t>(n, 1, most_threads);
}

#if !defined(_WIN32)
// An OpenMP team does not survive fork(): a child that asked for it would wait for ever.
const int fork_handler_installed = pthread_atfork(nullptr, nullptr, [] {
  if (team_has_run.load()) forked_after_team.store(true);
});
#endif

}  // namespace

std::size_t num_threads() {
  const std::size_t chosen = chosen_threads.load();
  return chosen == 0 ? automatic_threads() : chosen;
}

void set_num_threads(std::size_t n) { chosen_threads.store(std::min(n, most_threads)); }

std::size_t team_size(double flops, std::size_t tasks, std::size_t requested) {
  if (forked_after_team.load()) return 1;
  const std::size_t automatic = flops < flops_worth_a_team ? 1 : num_threads();
  return std::clamp<std::size_t>(requested == 0 ? automatic : requested, 1,
                                 std::clamp<std::size_t>(tasks, 1, most_threads));
}

TeamChooser::TeamChooser(std::size_t most, bool free, double flops_of_step)
    : sizes_{most}, flops_of_step_(flops_of_step) {
  while (free && sizes_.back() > 1) sizes_.push_back(sizes_.back() / 2);
  untried_ = sizes_.size() - 1;
}

void TeamChooser::report(double seconds, std::size_t steps) {
  constexpr std::size_t fewest_stretches = 16, most_stretches = 256;
  constexpr double flops_of_slow_core = 2e10;  // in a second
  if (sizes_.size() == 1) return;
  const double seconds_per_step = seconds / static_cast<double>(steps);
  if (!trying_other_) {
    seconds_ = seconds_ == 0 ? seconds_per_step : 0.5 * (seconds_ + seconds_per_step);
    steps_ += steps;
    // Fewer may take as many times as long as they are fewer: a trial of a single step is to cost a sixteenth
    // of the time at most. Where a team takes longer than a slow core would alone, it cannot cost much.
    const std::size_t fewest_steps = 16 * std::max<std::size_t>(sizes_[current_] / sizes_[other_], 1);
    const bool waits = seconds_per_step * flops_of_slow_core > flops_of_step_;
    trying_other_ = ++stretches_ >= stretches_to_try_ && (steps_ >= fewest_steps || waits);
    return;
  }
  trying_other_ = false;
  stretches_ = steps_ = 0;
  if (untried_ > 0) --untried_;
  const bool better = seconds_per_step < seconds_;
  const std::size_t lost = better ? fewest_stretches : 2 * stretches_to_try_;
  stretches_to_try_ = untried_ > 0 ? 1 : std::clamp(lost, fewest_stretches, most_stretches);
  const std::size_t next = after(other_) == current_ && !better ? after(current_) : after(other_);
  if (better) {
    current_ = other_;
    seconds_ = seconds_per_step;
  }
  other_ = next;
}

void Barrier::wait(std::size_t members) {
  if (members == 1) return;
  const std::size_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin) {
    if (spin < spins_before_yielding) {
      pause_core();
    } else {
      std::this_thread::yield();
    }
  }
}

void run_team(std::size_t n, const std::function<void(Member)>& body) {
  if (n <= 1) {
    const SubnormalsAreZero here;
    body({0, 1});
    return;
  }
  team_has_run.store(true);
#pragma omp parallel num_threads(static_cast<int>(n))
  {
    const SubnormalsAreZero here;
    body({static_cast<std::size_t>(omp_get_thread_num()), static_cast<std::size_t>(omp_get_num_threads())});
  }
}

void for_each_task(std::size_t n, std::size_t tasks, const std::function<void(std::size_t)>& body) {
  Tasks queue(n);
  run_team(n, [&](Member member) { queue.each(member, tasks, body); });
}

void copy_bytes(const void* from, void* to, std::size_t bytes, std::size_t n_threads) {
  constexpr std::size_t piece = 1u << 21;  // a large page
  constexpr double flops_of_byte = 4;      // what is done in the time of one, from memory
  const std::size_t pieces = (bytes + piece - 1) / piece;
  for_each_task(team_size(flops_of_byte * static_cast<double>(bytes), pieces, n_threads), pieces,
                [&](std::size_t i) {
                  const std::size_t begin = i * piece;
                  std::memmove(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                               std::min(piece, bytes - begin));
                });
}

}  // namespace backsweep
