// The interpreter's lock, given up while numbers are worked on.
#pragma once

#include <Python.h>

namespace backsweep::bindings {

class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  // A thread that comes back when the interpreter is ending is ended here: before Python 3.14 by unwinding
  // its stack, through this destructor.
  ~WithoutGil() noexcept(false) { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace backsweep::bindings
