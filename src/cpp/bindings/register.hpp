// One function for each family of names; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace backsweep::bindings {

void register_functions(pybind11::module_& module);
void register_networks(pybind11::module_& module);
void register_training(pybind11::module_& module);
void register_runtime(pybind11::module_& module);

}  // namespace backsweep::bindings
