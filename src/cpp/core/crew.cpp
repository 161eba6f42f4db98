#include "core/crew.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/settings.hpp"
#include "core/sizes.hpp"

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

using Clock = std::chrono::steady_clock;

constexpr int spins_before_yielding = 4000;
// A helper without work is at hand for so long, for the caller comes back soon as a rule; then it sleeps.
constexpr std::chrono::milliseconds wakeful_time(10);
// When it yields for longer, somebody else has had its core meanwhile.
constexpr std::chrono::microseconds longest_yield(500);

void pause_core() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  __asm__ volatile("yield");
#endif
}

// What a team does together: it ends before the caller of run_team goes on.
struct Work {
  const std::function<void(Member)>& body;
  alignas(cache_line) std::atomic<std::size_t> team{0};  // how many there are, once it is known who has come
  alignas(cache_line) std::atomic<std::size_t> helpers{0};  // of these, at work

  void of_member(std::size_t index, std::size_t size) const {
    const SubnormalsAreZero here;
    body({index, size});
  }
};

// Where threads may run. Linux tends to wake a thread on the core of who wakes it, the one core that is not
// idle, and there it waits until the caller's time is up, for milliseconds.
#if defined(__linux__)
class Cores {
 public:
  // Those that this thread may use.
  Cores() : known_(sched_getaffinity(0, sizeof cores_, &cores_) == 0) {}

  // But for the one that it runs on.
  Cores but_this() const {
    Cores others = *this;
    CPU_CLR(static_cast<unsigned>(sched_getcpu()), &others.cores_);
    return others;
  }

  // A request: where it is refused, for one that none of them is, nothing is lost.
  void give_to(std::thread& thread) const {
    if (known_) pthread_setaffinity_np(thread.native_handle(), sizeof cores_, &cores_);
  }

 private:
  cpu_set_t cores_;
  bool known_;
};
#else
struct Cores {
  Cores but_this() const { return *this; }
  void give_to(std::thread&) const {}
};
#endif

// A thread of the crew. Its caller calls, sees whether it comes, and else takes the call back.
class Helper {
 public:
  // Throws std::system_error where the system has no more threads.
  Helper() : thread_(&Helper::live, this) {}

  // False if it sleeps: then it is to be woken.
  bool call(Work& work) {
    call_.store(&work);
    return !sleeps_.load();
  }
  void wake(const Cores& cores) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!sleeps_.load()) return;  // it has seen the call by itself
    cores_ = cores;
    cores_.but_this().give_to(thread_);
    is_woken_ = true;
    rung_.notify_one();
  }
  bool has_come() const { return call_.load(std::memory_order_acquire) == nullptr; }

  // False if it has come in the meantime.
  bool take_back(Work& work) {
    Work* expected = &work;
    return call_.compare_exchange_strong(expected, nullptr);
  }

  std::size_t index = 0;  // as a member; to be set before the size of the team is
  bool is_free = true;    // for its crew

 private:
  void live() {
    for (;;) {
      sleep();
      while (Work* const work = called()) {
        Wait wait;
        while (work->team.load(std::memory_order_acquire) == 0) wait.pause();
        work->of_member(index, work->team.load(std::memory_order_relaxed));
        work->helpers.fetch_sub(1, std::memory_order_release);  // from here on it may be gone
      }
    }
  }

  // What it is called to, or null where it is time to sleep: also where somebody else wants its core.
  Work* called() {
    const auto bedtime = Clock::now() + wakeful_time;
    std::optional<Clock::time_point> yielded;
    for (Wait wait;; wait.pause()) {
      if (!has_come()) {
        if (Work* const work = call_.exchange(nullptr)) return work;
      }
      if (!wait.yields()) continue;
      const auto now = Clock::now();
      if (now >= bedtime || now - yielded.value_or(now) > longest_yield) return nullptr;
      yielded = now;
    }
  }

  // Until it is woken: if the work is done by then, it is at hand for the next.
  void sleep() {
    std::unique_lock<std::mutex> lock(mutex_);
    sleeps_.store(true);
    if (call_.load() != nullptr) is_woken_ = true;  // by one who has not seen that it sleeps
    rung_.wait(lock, [&] { return is_woken_; });
    is_woken_ = false;
    sleeps_.store(false);
    cores_.give_to(thread_);
  }

  alignas(cache_line) std::atomic<Work*> call_{nullptr};
  std::atomic<bool> sleeps_{true};
  std::mutex mutex_;
  std::condition_variable rung_;
  bool is_woken_ = false;
  Cores cores_;  // of the last who woke it
  std::thread thread_;
};

class Crew {
 public:
  Crew() { helpers_.reserve(most_threads); }

  // Up to n helpers that are free, always the same where they are. They are hired as they are needed, as many
  // as the machine has cores, or as one team needs: teams at the same time share them.
  std::vector<Helper*> take(std::size_t n) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Helper*> taken;
    taken.reserve(n);
    const std::size_t most = std::min(std::max(n, cores_ - 1), most_threads);
    for (std::size_t i = 0; i < most && taken.size() < n; ++i) {
      if (i == helpers_.size() && !hire()) break;
      if (!helpers_[i]->is_free) continue;
      helpers_[i]->is_free = false;
      taken.push_back(helpers_[i].get());
    }
    return taken;
  }

  void release(const std::vector<Helper*>& helpers) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Helper* helper : helpers) helper->is_free = true;
  }

 private:
  bool hire() {
    const SignalsAreForOthers here;
    try {
      helpers_.push_back(std::make_unique<Helper>());
    } catch (const std::exception&) {  // no more threads, or no memory: the team is as large as it can be
      return false;
    }
    return true;
  }

  const std::size_t cores_ = std::max(1u, std::thread::hardware_concurrency());  // asks the system
  std::mutex mutex_;
  std::vector<std::unique_ptr<Helper>> helpers_;
};

// Never destroyed: its threads end with the process, whatever else has been destroyed by then. A forked child
// has none of them, and starts with a new crew.
std::atomic<Crew*> the_crew{nullptr};

#if !defined(_WIN32)
const int fork_handler_installed = pthread_atfork(nullptr, nullptr, [] { the_crew.store(nullptr); });
#endif

Crew& crew() {
  if (the_crew.load() == nullptr) {
    auto made = std::make_unique<Crew>();
    Crew* none = nullptr;
    if (the_crew.compare_exchange_strong(none, made.get())) made.release();
  }
  return *the_crew.load();
}

// Keeps those who come before the patience with the next one is at an end.
void call(std::vector<Helper*>& helpers, Work& work, double patience) {
  std::optional<Cores> cores;  // asked for where somebody is to be woken
  for (Helper* helper : helpers) {
    if (helper->call(work)) continue;
    if (!cores) cores.emplace();
    helper->wake(*cores);
  }
  const auto comes = [](const Helper* helper) { return helper->has_come(); };
  const std::chrono::duration<double> longest(patience);
  auto since = Clock::now();
  std::ptrdiff_t there = 0;
  for (Wait wait; Clock::now() - since <= longest; wait.pause()) {
    const std::ptrdiff_t come = std::count_if(helpers.begin(), helpers.end(), comes);
    if (come == std::distance(helpers.begin(), helpers.end())) return;
    if (come > there) since = Clock::now();
    there = come;
  }
  const auto stays_away = [&](Helper* helper) { return helper->take_back(work); };
  helpers.erase(std::remove_if(helpers.begin(), helpers.end(), stays_away), helpers.end());
}

}  // namespace

void Wait::pause() {
  if (spins_ < spins_before_yielding) {
    ++spins_;
    pause_core();
  } else {
    std::this_thread::yield();
  }
}

bool Wait::yields() const { return spins_ == spins_before_yielding; }

void run_team(std::size_t n, const std::function<void(Member)>& body, double patience) {
  Work work{body};
  if (n <= 1) return work.of_member(0, 1);
  std::vector<Helper*> come;
  come.reserve(n);  // from here on nothing throws, until the helpers are free again
  const std::vector<Helper*> helpers = crew().take(n - 1);
  come = helpers;
  call(come, work, patience);
  for (std::size_t i = 0; i < come.size(); ++i) come[i]->index = i + 1;
  work.helpers.store(come.size(), std::memory_order_relaxed);
  work.team.store(come.size() + 1, std::memory_order_release);
  work.of_member(0, come.size() + 1);
  for (Wait wait; work.helpers.load(std::memory_order_acquire) > 0;) wait.pause();
  crew().release(helpers);
}

}  // namespace backsweep
