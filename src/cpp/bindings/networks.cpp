// Networks: what they say of rows, one class for each dtype.
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>

#include "bindings/data.hpp"
#include "bindings/register.hpp"
#include "core/inference.hpp"
#include "core/labels.hpp"
#include "core/layers.hpp"

namespace backsweep::bindings {
namespace {

// n_in, n_out, activation, bias, kind, p
using Spec = std::tuple<std::size_t, std::size_t, std::string, bool, std::string, double>;

template <class T>
std::unique_ptr<Network<T>> make_network(const std::vector<Spec>& specs, const std::string& loss,
                                         const std::string& precision_name) {
  if (specs.empty()) refuse("layers", "hold at least one layer", "none");
  const auto precision = by_name<Precision>(precision_names, precision_name, "precision");
  if (precision != Precision::full && !std::is_same_v<T, float>)
    refuse("precision", "be 'full' in float64", precision_name);
  std::vector<std::unique_ptr<Layer<T>>> layers;
  double parameters = 0;
  for (const auto& [n_in, n_out, sigma, bias, kind_name, p] : specs) {
    const auto kind = by_name<LayerKind>(layer_names, kind_name, "kind");
    if (n_in < 1 || n_out < 1 || n_in > INT_MAX || n_out > INT_MAX) {
      refuse("widths", "lie between 1 and 2**31 - 1", std::to_string(n_in) + " and " + std::to_string(n_out));
    }
    if (!layers.empty() && layers.back()->n_out() != n_in) {
      refuse("layers", "follow one another",
             std::to_string(n_in) + " after " + std::to_string(layers.back()->n_out()));
    }
    if (keeps_width(kind) && n_in != n_out) {
      refuse("layers", "keep their width where they are not dense",
             std::to_string(n_in) + " and " + std::to_string(n_out));
    }
    require_probability(p);
    parameters += static_cast<double>(n_in + 1) * static_cast<double>(n_out);
    if (parameters * sizeof(T) > static_cast<double>(PTRDIFF_MAX)) {
      refuse("widths", "give parameters that fit into memory", std::to_string(parameters));
    }
    layers.push_back(make_layer<T>(
        {kind, n_in, n_out, by_name<Activation>(activation_names, sigma, "activation"), bias, p, precision}));
  }
  return std::make_unique<Network<T>>(std::move(layers), by_name<Loss>(loss_names, loss, "loss"));
}

template <class T>
Array<T> network_forward(const Network<T>& network, const Array<T>& theta, const Array<T>& buffers,
                         const py::array& X, const std::optional<Vector64>& mean,
                         const std::optional<Vector64>& scale, std::size_t n_threads) {
  const Source rows = inputs(network, X);
  const auto standardised = standardisation(network, mean, scale);
  const T* theta_data = parameters(network, theta);
  const T* buffer_data = buffers_of(network, buffers);
  auto Z = new_matrix<T>(rows.rows, network.n_out());
  const auto Z_view = writable(Z);
  bool valid = false;
  {
    const WithoutGil nogil;
    valid = forward<T>(network, theta_data, buffer_data, rows, standardised, Z_view, n_threads);
  }
  require(valid);
  return Z;
}

// The same for the caller who asks for few rows often, and whose time goes into checks: None unless X is an
// ordinary array of at most few_rows finite rows, and the work too short for others to wait for the GIL.
template <class T>
py::object network_forward_few(const Network<T>& network, const Array<T>& theta, const Array<T>& buffers,
                               py::handle X) {
  constexpr double short_work = 4e6;  // in flops: some tenths of a millisecond
  // No subclass: a masked array is refused elsewhere.
  const bool is_array = reinterpret_cast<PyObject*>(Py_TYPE(X.ptr())) ==
                        reinterpret_cast<PyObject*>(py::detail::npy_api::get().PyArray_Type_);
  if (!is_array || !Array<T>::check_(X)) return py::none();
  const auto rows = py::reinterpret_borrow<Array<T>>(X);
  if (!is_aligned(rows) || rows.ndim() != 2 || static_cast<std::size_t>(rows.shape(1)) != network.n_in() ||
      rows.shape(0) < 1 || static_cast<std::size_t>(rows.shape(0)) > few_rows ||
      network.forward_flops() * static_cast<double>(rows.shape(0)) > short_work) {
    return py::none();
  }
  const Matrix<const T> view = matrix(rows, "X");
  if (!all_finite<T>(view)) return py::none();
  const T* theta_data = parameters(network, theta);
  const T* buffer_data = buffers_of(network, buffers);
  auto Z = new_matrix<T>(view.rows, network.n_out());
  forward_few<T>(network, theta_data, buffer_data, view, writable(Z), 1);
  return Z;
}

template <class T>
py::tuple network_evaluate(const Network<T>& network, const Array<T>& theta, const Array<T>& buffers,
                           const py::array& X, const py::array& y, bool labels,
                           const std::optional<py::array>& sample_weight, const std::optional<Vector64>& mean,
                           const std::optional<Vector64>& scale, std::size_t n_threads) {
  const Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  const T* theta_data = parameters(network, theta);
  const T* buffer_data = buffers_of(network, buffers);
  Evaluation result;
  {
    const WithoutGil nogil;
    result = evaluate<T>(network, theta_data, buffer_data, data, n_threads);
  }
  require(result.input_valid);
  return py::make_tuple(result.loss, result.accuracy);
}

template <class T>
py::tuple network_gradients(const Network<T>& network, const Array<T>& theta, const Array<T>& buffers,
                            const py::array& X, const py::array& y, bool labels,
                            const std::optional<py::array>& sample_weight,
                            const std::optional<Vector64>& mean, const std::optional<Vector64>& scale,
                            bool training, const Array<std::int64_t>& draws, bool wants_dX,
                            std::size_t n_threads) {
  const Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  if (data.X.rows > INT_MAX) refuse("X", "have fewer than 2**31 rows", shape_text(X));
  if (training) require_rows(network, data.X.rows, "X");
  const T* theta_data = parameters(network, theta);
  const T* buffer_data = buffers_of(network, buffers);
  const Pass<T> pass = training ? training_pass(draws_of(draws), buffer_data) : prediction_pass(buffer_data);
  auto dtheta = Array<T>(static_cast<py::ssize_t>(network.parameters()));
  T* dtheta_data = dtheta.mutable_data();
  auto dX = wants_dX ? new_matrix<T>(data.X.rows, network.n_in()) : Array<T>();
  const auto dX_view = wants_dX ? writable(dX) : Matrix<T>{};
  Evaluation result;
  {
    const WithoutGil nogil;
    result = loss_and_gradients<T>(network, theta_data, data, pass, dtheta_data, dX_view, n_threads);
  }
  require(result.input_valid);
  return py::make_tuple(result.loss, dtheta, wants_dX ? py::object(dX) : py::none());
}

template <class T>
py::object first_nonfinite(const py::array& X, std::size_t n_threads) {
  const Source rows = source(X, "X");
  std::optional<Position> position;
  {
    const WithoutGil nogil;
    position = find_nonfinite<T>(rows, n_threads);
  }
  return position ? py::object(py::make_tuple(position->row, position->col)) : py::none();
}

py::object first_no_label(const py::array& y, std::size_t classes) {
  if (y.ndim() != 1) refuse("y", "have one dimension", shape_text(y));
  const Source labels = source(y, "y");
  std::optional<std::size_t> row;
  {
    const WithoutGil nogil;
    row = find_no_label(labels, classes);
  }
  return row ? py::object(py::int_(*row)) : py::none();
}

template <class T>
void register_for(py::module_& module, const std::string& dtype) {
  module.def(("Network_" + dtype).c_str(), &make_network<T>, py::arg("layers"), py::arg("loss"),
             py::arg("precision"));
  py::class_<Network<T>>(module, ("_Network_" + dtype).c_str(), made_by_functions())
      .def_property_readonly("parameters", &Network<T>::parameters)
      .def_property_readonly("buffers", &Network<T>::buffers)
      .def("forward", &network_forward<T>, exactly("theta"), exactly("buffers"), exactly("X"),
           py::arg("mean"), py::arg("scale"), py::arg("n_threads"))
      .def("forward_few", &network_forward_few<T>, exactly("theta"), exactly("buffers"), py::arg("X"))
      .def("evaluate", &network_evaluate<T>, exactly("theta"), exactly("buffers"), exactly("X"), exactly("y"),
           py::arg("labels"), exactly("sample_weight").none(true), py::arg("mean"), py::arg("scale"),
           py::arg("n_threads"))
      .def("loss_and_gradients", &network_gradients<T>, exactly("theta"), exactly("buffers"), exactly("X"),
           exactly("y"), py::arg("labels"), exactly("sample_weight").none(true), py::arg("mean"),
           py::arg("scale"), py::arg("training"), exactly("draws"), py::arg("wants_dX"),
           py::arg("n_threads"));
  module.def(("first_nonfinite_" + dtype).c_str(), &first_nonfinite<T>, exactly("X"), py::arg("n_threads"));
}

}  // namespace

void register_networks(py::module_& module) {
  module.def("first_no_label", &first_no_label, exactly("y"), py::arg("classes"));
  register_for<float>(module, "float32");
  register_for<double>(module, "float64");
}

}  // namespace backsweep::bindings
