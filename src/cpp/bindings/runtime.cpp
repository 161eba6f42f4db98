// Version, BLAS, threads: what the machine and the build are.

#include <cstdlib>
#include <string>
#include <string_view>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "core/activation.hpp"
#include "core/bfloat16.hpp"
#include "core/blas.hpp"
#include "core/elementary.hpp"
#include "core/kernels/kernels.hpp"
#include "core/layers.hpp"
#include "core/loss.hpp"
#include "core/optimizer.hpp"
#include "core/threads.hpp"

namespace backsweep::bindings {
namespace {

void copy(const py::array& source, py::array& target, std::size_t n_threads) {
  if (std::string_view("fiu").find(source.dtype().kind()) == std::string_view::npos) {
    refuse("source", "hold numbers", py::str(source.dtype()).cast<std::string>());
  }
  if (!source.dtype().equal(target.dtype()) || !source.attr("shape").equal(target.attr("shape"))) {
    refuse("target", "have the type and shape of source",
           py::str(target.dtype()).cast<std::string>() + " " + shape_text(target));
  }
  for (const py::array& array : {source, static_cast<const py::array&>(target)}) {
    if ((array.flags() & py::array::c_style) == 0)
      refuse("source and target", "be row-major", "another layout");
  }
  const void* from = source.data();
  void* to = target.mutable_data();  // raises where it is read-only
  const auto bytes = static_cast<std::size_t>(source.nbytes());
  const WithoutGil nogil;
  copy_bytes(from, to, bytes, n_threads);
}

// A set that is asked for in vain would not be missed.
void check_instruction_set() {
  const char* const wanted = std::getenv("BACKSWEEP_ISA");
  if (wanted == nullptr || *wanted == '\0' || instruction_set() == wanted) return;
  std::string names;
  for (const std::string& name : instruction_sets()) names += (names.empty() ? "" : ", ") + name;
  if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "BACKSWEEP_ISA must be one of %s here, got '%s': %s is used",
                       names.c_str(), wanted, instruction_set().c_str()) < 0)
    throw py::error_already_set();
}

}  // namespace

void register_runtime(py::module_& module) {
  blas::use_one_thread();
  check_instruction_set();
  module.attr("__version__") = BACKSWEEP_VERSION;
  module.attr("elementary_functions") = as_tuple(elementary_names);
  module.attr("activations") = as_tuple(activation_names);
  module.attr("layers") = as_tuple(layer_names);
  module.attr("losses") = as_tuple(loss_names);
  module.attr("optimizers") = as_tuple(optimizer_names);
  module.def("blas_description", &blas::description);
  module.def("instruction_sets", [] { return as_tuple(instruction_sets()); });
  module.def("instruction_set", &instruction_set);
  module.attr("precisions") = as_tuple(precision_names);
  module.def("has_bf16_instructions", &has_bf16_instructions);
  module.def("num_threads", &num_threads);
  module.def("copy", &copy, exactly("source"), exactly("target"), py::arg("n_threads"));
  module.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace backsweep::bindings
