#include "bindings/register.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of backsweep.";
  backsweep::bindings::register_runtime(module);
  backsweep::bindings::register_functions(module);
  backsweep::bindings::register_networks(module);
  backsweep::bindings::register_training(module);
}
