#include "core/threads.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace backsweep {
namespace {

// Below this much work a second thread costs more than it brings: about the time of two barriers.
constexpr double flops_worth_a_team = 2e6;
// What it takes to call one more: n of them share the work and take n times as long to call, so that n =
// √(work / this) is best.
constexpr double work_of_a_call = 5e4;

std::atomic<std::size_t> chosen_threads{0};

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

}  // namespace

std::size_t num_threads() {
  const std::size_t chosen = chosen_threads.load();
  return chosen == 0 ? automatic_threads() : chosen;
}

void set_num_threads(std::size_t n) { chosen_threads.store(std::min(n, most_threads)); }

std::size_t team_size(double flops, std::size_t tasks, std::size_t requested) {
  const auto worth_calling = static_cast<std::size_t>(std::sqrt(std::min(flops, 1e12) / work_of_a_call));
  const std::size_t automatic = flops < flops_worth_a_team ? 1 : std::min(num_threads(), worth_calling);
  return std::clamp<std::size_t>(requested == 0 ? automatic : requested, 1,
                                 std::clamp<std::size_t>(tasks, 1, most_threads));
}

void Barrier::wait(std::size_t members) {
  if (members == 1) return;
  const std::size_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (Wait wait; round_.load(std::memory_order_acquire) == round;) wait.pause();
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
