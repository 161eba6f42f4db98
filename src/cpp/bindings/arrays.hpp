// The door: every check that keeps memory safe when an array comes in from Python stands here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/gil.hpp"
#include "core/loss.hpp"
#include "core/matrix.hpp"
#include "core/source.hpp"

namespace backsweep::bindings {

namespace py = pybind11;

// An array of exactly this type, row-major and aligned: never a converted copy, so that what is written
// to it reaches the caller.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

[[noreturn]] inline void refuse(const std::string& name, const std::string& expected,
                                const std::string& got) {
  throw py::value_error(name + " must " + expected + ", got " + got);
}

// Of being dropped: not 1, which would leave nothing to divide by.
inline void require_probability(double p) {
  if (!(p >= 0 && p < 1)) refuse("p", "be at least 0 and below 1", std::to_string(p));
}

inline std::string shape_text(const py::array& array) {
  return py::str(array.attr("shape")).cast<std::string>();
}

// A view into raw bytes may begin anywhere; the core reads whole numbers.
template <class T>
bool is_aligned(const Array<T>& array) {
  return reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0;
}

template <class T>
void require_aligned(const Array<T>& array, const char* name) {
  if (!is_aligned(array)) {
    refuse(name, "begin at a multiple of its items' size", "an unaligned array");
  }
}

// A two-dimensional array as a matrix.
template <class T>
Matrix<const T> matrix(const Array<T>& array, const char* name) {
  if (array.ndim() != 2) refuse(name, "have two dimensions", shape_text(array));
  require_aligned(array, name);
  const auto rows = static_cast<std::size_t>(array.shape(0));
  const auto cols = static_cast<std::size_t>(array.shape(1));
  if (array.shape(0) > INT_MAX || array.shape(1) > INT_MAX)
    refuse(name, "be smaller than 2**31 each way", shape_text(array));
  return {array.data(), rows, cols, cols};
}

template <class T>
Matrix<const T> matrix(const Array<T>& array, const char* name, std::size_t rows, std::size_t cols) {
  const Matrix<const T> M = matrix(array, name);
  if (M.rows != rows || M.cols != cols) {
    refuse(name, "have shape (" + std::to_string(rows) + ", " + std::to_string(cols) + ")",
           shape_text(array));
  }
  return M;
}

// A new matrix for a result.
template <class T>
Array<T> new_matrix(std::size_t rows, std::size_t cols) {
  return Array<T>({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(cols)});
}

template <class T>
Matrix<T> writable(Array<T>& array) {
  const auto cols = static_cast<std::size_t>(array.shape(1));
  return {array.mutable_data(), static_cast<std::size_t>(array.shape(0)), cols, cols};
}

template <class T>
const T* vector(const Array<T>& array, const char* name, std::size_t size) {
  if (array.ndim() != 1 || static_cast<std::size_t>(array.size()) != size) {
    refuse(name, "have shape (" + std::to_string(size) + ",)", shape_text(array));
  }
  require_aligned(array, name);
  return array.data();
}

// A vector that is written in place; mutable_data refuses a read-only one.
template <class T>
T* writable_vector(Array<T>& array, const char* name, std::size_t size) {
  vector(array, name, size);
  return array.mutable_data();
}

template <class T>
const T* optional_vector(const std::optional<Array<T>>& array, const char* name, std::size_t size) {
  return array ? vector(*array, name, size) : nullptr;
}

// Rows of any numeric array; a one-dimensional array is one column. The array must outlive the source.
Source source(const py::array& array, const char* name);

// An argument that is taken as it is: an array of another dtype, layout or byte order is refused instead of
// copied, so dtype overloads stay apart, and what is written to an argument reaches the caller.
inline py::arg exactly(const char* name) { return py::arg(name).noconvert(); }

// For classes whose objects are made by functions: a class that Python could instantiate could be asked, by
// way of __new__, for an object with nothing in it.
inline py::custom_type_setup made_by_functions() {
  return py::custom_type_setup([](PyHeapTypeObject* type) {
    type->ht_type.tp_new = [](PyTypeObject*, PyObject*, PyObject*) -> PyObject* {
      PyErr_SetString(PyExc_TypeError,
                      "objects of this class are made by the functions Network_* and Trainer_*");
      return nullptr;
    };
  });
}

// Labels are the classes of one softmax.
inline void require_labels_loss(Loss loss) {
  if (loss != Loss::softmax_cross_entropy)
    throw py::type_error("labels are targets of softmax_cross_entropy only");
}

// The value of an enumeration by its name, from the core's own list of names.
template <class Enum, class Names>
Enum by_name(const Names& names, const std::string& name, const char* what) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  throw py::value_error(std::string("unknown ") + what + " '" + name + "'");
}

template <class Names>
py::tuple as_tuple(const Names& names) {
  py::tuple tuple(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) tuple[i] = py::str(std::string(names[i]));
  return tuple;
}

}  // namespace backsweep::bindings
