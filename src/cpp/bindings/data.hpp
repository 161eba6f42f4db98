// The rows that a network reads, as they come in from Python: checked against the network, never copied.
#pragma once

#include <algorithm>

#include "bindings/arrays.hpp"
#include "core/network.hpp"
#include "core/step.hpp"

namespace backsweep::bindings {

using Vector64 = Array<double>;

inline Source rows_of(const py::array& array, const char* name, std::size_t rows, std::size_t cols) {
  const Source result = source(array, name);
  if (result.rows != rows || result.cols != cols) {
    refuse(name, "have " + std::to_string(rows) + " rows of " + std::to_string(cols), shape_text(array));
  }
  return result;
}

template <class T>
Source inputs(const Network<T>& network, const py::array& X) {
  const Source result = source(X, "X");
  if (X.ndim() != 2 || result.cols != network.n_in()) {
    refuse("X", "have shape (m, " + std::to_string(network.n_in()) + ")", shape_text(X));
  }
  return result;
}

template <class T>
Standardisation standardisation(const Network<T>& network, const std::optional<Vector64>& mean,
                                const std::optional<Vector64>& scale) {
  if (mean.has_value() != scale.has_value()) refuse("mean and scale", "be given together", "one");
  Standardisation standardisation{optional_vector(mean, "mean", network.n_in())};
  const double* scales = optional_vector(scale, "scale", network.n_in());
  for (std::size_t j = 0; scales != nullptr && j < network.n_in(); ++j) {
    standardisation.inverse_scale.push_back(1 / scales[j]);
  }
  return standardisation;
}

// y: labels where `labels`, else one column for each output.
template <class T>
Data<T> data_of(const Network<T>& network, const py::array& X, const py::array& y, bool labels,
                const std::optional<py::array>& sample_weight, const std::optional<Vector64>& mean,
                const std::optional<Vector64>& scale) {
  Data<T> data;
  data.X = inputs(network, X);
  if (data.X.rows == 0) refuse("X", "have at least one row", "none");
  if (labels) require_labels_loss(network.loss());
  data.y = rows_of(y, "y", data.X.rows, labels ? 1 : network.n_out());
  data.labels = labels;
  if (sample_weight) data.weights = rows_of(*sample_weight, "sample_weight", data.X.rows, 1);
  data.standardisation = standardisation(network, mean, scale);
  return data;
}

// Running statistics: those of all layers, one after another.
template <class T>
const T* buffers_of(const Network<T>& network, const Array<T>& buffers) {
  return vector(buffers, "buffers", network.buffers());
}

// A training pass over one row would have no variance to divide by.
template <class T>
void require_rows(const Network<T>& network, std::size_t rows, const char* name) {
  if (rows < network.fewest_rows()) {
    refuse(name, "leave each batch at least " + std::to_string(network.fewest_rows()) + " rows",
           std::to_string(rows));
  }
}

template <class T>
const T* parameters(const Network<T>& network, const Array<T>& theta) {
  return vector(theta, "theta", network.parameters());
}

// What a training pass draws: a seed, and the steps that the network has done.
inline Draws draws_of(const Array<std::int64_t>& given) {
  const std::int64_t* draws = vector(given, "draws", 2);
  if (draws[0] < 0 || draws[1] < 0)
    refuse("draws", "be at least 0", std::to_string(std::min(draws[0], draws[1])));
  return {static_cast<std::uint64_t>(draws[0]), static_cast<std::uint64_t>(draws[1])};
}

inline void require(bool input_valid) {
  if (!input_valid)
    throw py::value_error(
        "X must be finite, also once it is standardised, y hold labels from 0 to k - 1, and order rows of X");
}

}  // namespace backsweep::bindings
