// Version, BLAS, threads: what the machine and the build are.

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "core/activation.hpp"
#include "core/blas.hpp"
#include "core/elementary.hpp"
#include "core/kernels/kernels.hpp"
#include "core/layers.hpp"
#include "core/loss.hpp"
#include "core/optimizer.hpp"
#include "core/threads.hpp"

namespace backsweep::bindings {
void register_runtime(py::module_& module) {
  blas::use_one_thread();
  module.attr("__version__") = BACKSWEEP_VERSION;
  module.attr("elementary_functions") = as_tuple(elementary_names);
  module.attr("activations") = as_tuple(activation_names);
  module.attr("layers") = as_tuple(layer_names);
  module.attr("losses") = as_tuple(loss_names);
  module.attr("optimizers") = as_tuple(optimizer_names);
  module.def("blas_description", &blas::description);
  module.def("instruction_sets", [] { return as_tuple(instruction_sets()); });
  module.def("instruction_set", &instruction_set);
  module.def("num_threads", &num_threads);
  module.def("set_num_threads", &set_num_threads, py::arg("n"));
}

}  // namespace backsweep::bindings
