// What holds for a thread as long as one of these lives.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <signal.h>
#endif

namespace backsweep {

// Results and operands too small for a normal number count as 0. Moments of parameters that have come to rest
// decay into that range, where every operation takes a hundred cycles.
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

// Signals go to other threads, also past those that this one starts; but not those that a fault raises.
class SignalsAreForOthers {
 public:
#if defined(_WIN32)
  SignalsAreForOthers() {}
#else
  SignalsAreForOthers() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsAreForOthers() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
#endif
  SignalsAreForOthers(const SignalsAreForOthers&) = delete;
  SignalsAreForOthers& operator=(const SignalsAreForOthers&) = delete;

#if !defined(_WIN32)
 private:
  sigset_t before_;
#endif
};

}  // namespace backsweep
