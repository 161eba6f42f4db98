// Networks and their training, one class for each dtype.
#include <pybind11/stl.h>

#include <cmath>
#include <string>
#include <tuple>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "core/dense.hpp"
#include "core/inference.hpp"
#include "core/trainer.hpp"

namespace backsweep::bindings {
namespace {

using DenseSpec = std::tuple<std::size_t, std::size_t, std::string, bool>;  // n_in, n_out, activation, bias
using Vector64 = Array<double>;

template <class T>
std::unique_ptr<Network<T>> make_network(const std::vector<DenseSpec>& specs, const std::string& loss) {
  if (specs.empty()) refuse("layers", "hold at least one layer", "none");
  std::vector<std::unique_ptr<Layer<T>>> layers;
  double parameters = 0;
  for (const auto& [n_in, n_out, sigma, bias] : specs) {
    if (n_in < 1 || n_out < 1 || n_in > INT_MAX || n_out > INT_MAX) {
      refuse("widths", "lie between 1 and 2**31 - 1", std::to_string(n_in) + " and " + std::to_string(n_out));
    }
    if (!layers.empty() && layers.back()->n_out() != n_in) {
      refuse("layers", "follow one another",
             std::to_string(n_in) + " after " + std::to_string(layers.back()->n_out()));
    }
    parameters += static_cast<double>(n_in + 1) * static_cast<double>(n_out);
    if (parameters * sizeof(T) > static_cast<double>(PTRDIFF_MAX)) {
      refuse("widths", "give parameters that fit into memory", std::to_string(parameters));
    }
    layers.push_back(std::make_unique<Dense<T>>(
        n_in, n_out, by_name<Activation>(activation_names, sigma, "activation"), bias));
  }
  return std::make_unique<Network<T>>(std::move(layers), by_name<Loss>(loss_names, loss, "loss"));
}

Source rows_of(const py::array& array, const char* name, std::size_t rows, std::size_t cols) {
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
Standardisation<T> standardisation(const Network<T>& network, const std::optional<Vector64>& mean,
                                   const std::optional<Vector64>& scale) {
  if (mean.has_value() != scale.has_value()) refuse("mean and scale", "be given together", "one");
  return {optional_vector(mean, "mean", network.n_in()), optional_vector(scale, "scale", network.n_in())};
}

// y: labels where `labels`, else one column for each output.
template <class T>
Data<T> data_of(const Network<T>& network, const py::array& X, const py::array& y, bool labels,
                const std::optional<py::array>& sample_weight, const std::optional<Vector64>& mean,
                const std::optional<Vector64>& scale) {
  Data<T> data;
  data.X = inputs(network, X);
  if (data.X.rows == 0) refuse("X", "have at least one row", "none");
  if (labels && network.loss() != Loss::softmax_cross_entropy) {
    throw py::type_error("labels are targets of softmax_cross_entropy only");
  }
  data.y = rows_of(y, "y", data.X.rows, labels ? 1 : network.n_out());
  data.labels = labels;
  if (sample_weight) data.weights = rows_of(*sample_weight, "sample_weight", data.X.rows, 1);
  data.standardisation = standardisation(network, mean, scale);
  return data;
}

template <class T>
const T* parameters(const Network<T>& network, const Array<T>& theta) {
  return vector(theta, "theta", network.parameters());
}

void require(bool input_valid) {
  if (!input_valid)
    throw py::value_error(
        "y must hold labels from 0 to k - 1, and order rows of X; they changed while they were read");
}

template <class T>
Array<T> network_forward(const Network<T>& network, const Array<T>& theta, const py::array& X,
                         const std::optional<Vector64>& mean, const std::optional<Vector64>& scale,
                         std::size_t n_threads) {
  const Source rows = inputs(network, X);
  const auto standardised = standardisation(network, mean, scale);
  const T* theta_data = parameters(network, theta);
  auto Z = new_matrix<T>(rows.rows, network.n_out());
  const auto Z_view = writable(Z);
  {
    const py::gil_scoped_release nogil;
    forward<T>(network, theta_data, rows, standardised, Z_view, n_threads);
  }
  return Z;
}

template <class T>
py::tuple network_evaluate(const Network<T>& network, const Array<T>& theta, const py::array& X,
                           const py::array& y, bool labels, const std::optional<py::array>& sample_weight,
                           const std::optional<Vector64>& mean, const std::optional<Vector64>& scale,
                           std::size_t n_threads) {
  const Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  const T* theta_data = parameters(network, theta);
  Evaluation result;
  {
    const py::gil_scoped_release nogil;
    result = evaluate<T>(network, theta_data, data, n_threads);
  }
  require(result.input_valid);
  return py::make_tuple(result.loss, result.accuracy);
}

template <class T>
py::tuple network_gradients(const Network<T>& network, const Array<T>& theta, const py::array& X,
                            const py::array& y, bool labels, const std::optional<py::array>& sample_weight,
                            const std::optional<Vector64>& mean, const std::optional<Vector64>& scale,
                            bool wants_dX, std::size_t n_threads) {
  const Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  if (data.X.rows > INT_MAX) refuse("X", "have fewer than 2**31 rows", shape_text(X));
  const T* theta_data = parameters(network, theta);
  auto dtheta = Array<T>(static_cast<py::ssize_t>(network.parameters()));
  T* dtheta_data = dtheta.mutable_data();
  auto dX = wants_dX ? new_matrix<T>(data.X.rows, network.n_in()) : Array<T>();
  const auto dX_view = wants_dX ? writable(dX) : Matrix<T>{};
  Evaluation result;
  {
    const py::gil_scoped_release nogil;
    result = loss_and_gradients<T>(network, theta_data, data, dtheta_data, dX_view, n_threads);
  }
  require(result.input_valid);
  return py::make_tuple(result.loss, dtheta, wants_dX ? py::object(dX) : py::none());
}

OptimizerSettings settings_of(const py::dict& given) {
  OptimizerSettings s;
  for (const auto& [key, value] : given) {
    const auto name = key.cast<std::string>();
    if (name == "kind")
      s.kind = by_name<OptimizerKind>(optimizer_names, value.cast<std::string>(), "optimizer");
    else if (name == "momentum")
      s.momentum = value.cast<double>();
    else if (name == "nesterov")
      s.nesterov = value.cast<bool>();
    else if (name == "weight_decay")
      s.weight_decay = value.cast<double>();
    else if (name == "beta1")
      s.beta1 = value.cast<double>();
    else if (name == "beta2")
      s.beta2 = value.cast<double>();
    else if (name == "alpha")
      s.alpha = value.cast<double>();
    else if (name == "epsilon")
      s.epsilon = value.cast<double>();
    else if (name == "centered")
      s.centered = value.cast<bool>();
    else if (name == "clip_norm")
      s.clip_norm = value.cast<double>();
    else
      throw py::value_error("unknown optimizer setting '" + name + "'");
  }
  return s;
}

template <class T>
OptimizerState<T> state_of(const OptimizerSettings& settings, std::vector<Array<T>>& arrays,
                           std::size_t parameters) {
  const auto used = states_used(settings);
  OptimizerState<T> state{};
  std::size_t next = 0;
  for (std::size_t i = 0; i < max_states; ++i) {
    if (!used[i]) continue;
    if (next == arrays.size())
      refuse("state", "hold one vector for each that the optimizer keeps", std::to_string(next));
    state[i] = writable_vector(arrays[next++], "state", parameters);
  }
  return state;
}

// One update, apart from any network: the fused loop that a step applies to each block.
template <class T>
void optimizer_update(Array<T> theta, const Array<T>& dtheta, std::vector<Array<T>> state,
                      const py::dict& settings, double learning_rate, std::uint64_t step) {
  const auto n = static_cast<std::size_t>(theta.size());
  T* theta_data = writable_vector(theta, "theta", n);
  const T* gradient = vector(dtheta, "dtheta", n);
  const OptimizerSettings s = settings_of(settings);
  const OptimizerState<T> states = state_of<T>(s, state, n);
  const double factor = clipping_factor(s.clip_norm, std::sqrt(sum_of_squares(gradient, n)));
  update<T>(s, 0, n, step, learning_rate, factor, gradient, states, theta_data);
}

// A trainer together with the arrays that it reads and writes, so that they live as long.
template <class T>
struct BoundTrainer {
  py::object network_object;
  Array<T> theta;
  std::vector<Array<T>> state;
  std::vector<py::object> inputs;
  Trainer<T> trainer;
};

template <class T>
std::unique_ptr<BoundTrainer<T>> make_trainer(const py::object& network_object, Array<T> theta,
                                              std::vector<Array<T>> state, const py::dict& settings,
                                              const py::array& X, const py::array& y, bool labels,
                                              const std::optional<py::array>& sample_weight,
                                              const std::optional<Vector64>& mean,
                                              const std::optional<Vector64>& scale, std::size_t batch_size,
                                              std::size_t n_threads) {
  const auto& network = network_object.cast<const Network<T>&>();
  const Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  if (batch_size < 1 || batch_size > INT_MAX)
    refuse("batch_size", "lie between 1 and 2**31 - 1", std::to_string(batch_size));
  T* theta_data = writable_vector(theta, "theta", network.parameters());
  const OptimizerSettings s = settings_of(settings);
  const OptimizerState<T> states = state_of<T>(s, state, network.parameters());
  return std::unique_ptr<BoundTrainer<T>>(
      new BoundTrainer<T>{network_object,
                          theta,
                          state,
                          {X, y, py::cast(sample_weight), py::cast(mean), py::cast(scale)},
                          Trainer<T>(network, s, theta_data, states, data, batch_size, n_threads)});
}

const char* stop_name(Progress::Stop stop) {
  switch (stop) {
    case Progress::Stop::done:
      return "done";
    case Progress::Stop::out_of_time:
      return "out_of_time";
    case Progress::Stop::diverged:
      return "diverged";
    case Progress::Stop::invalid_input:
      break;
  }
  return "invalid_input";
}

template <class T>
py::tuple trainer_run(BoundTrainer<T>& bound, const std::optional<Array<std::int64_t>>& order,
                      std::size_t first, const Vector64& learning_rates, Array<std::int64_t> steps,
                      double seconds) {
  const std::size_t rows = bound.trainer.rows();
  // Counted in the caller's array, so that an interrupt right after the run finds it counted.
  std::int64_t* count = writable_vector(steps, "steps", 1);
  if (*count < 0) refuse("steps", "be at least 0", std::to_string(*count));
  const std::int64_t* order_data = optional_vector(order, "order", rows);
  const auto n_rates = static_cast<std::size_t>(learning_rates.size());
  const double* rates = vector(learning_rates, "learning_rates", n_rates);
  if (first > bound.trainer.steps_in_epoch())
    refuse("first", "be a step of the epoch", std::to_string(first));
  Progress progress;
  {
    const py::gil_scoped_release nogil;
    progress =
        bound.trainer.run(order_data, first, rates, n_rates, static_cast<std::uint64_t>(*count), seconds);
    *count += static_cast<std::int64_t>(progress.steps);
  }
  require(progress.stop != Progress::Stop::invalid_input);
  return py::make_tuple(progress.steps, progress.loss, progress.weight, progress.correct,
                        stop_name(progress.stop));
}

template <class T>
py::object first_nonfinite(const py::array& X) {
  const Source rows = source(X, "X");
  std::optional<Position> position;
  {
    const py::gil_scoped_release nogil;
    position = find_nonfinite<T>(rows, 0, rows.rows);
  }
  return position ? py::object(py::make_tuple(position->row, position->col)) : py::none();
}

template <class T>
void register_for(py::module_& module, const std::string& dtype) {
  const auto exactly = [](const char* name) { return py::arg(name).noconvert(); };
  // Objects are made by functions: a class that Python could instantiate could be asked, by way of __new__,
  // for an object without a network in it.
  const py::custom_type_setup never_new([](PyHeapTypeObject* type) {
    type->ht_type.tp_new = [](PyTypeObject*, PyObject*, PyObject*) -> PyObject* {
      PyErr_SetString(PyExc_TypeError,
                      "objects of this class are made by the functions Network_* and Trainer_*");
      return nullptr;
    };
  });
  module.def(("Network_" + dtype).c_str(), &make_network<T>, py::arg("layers"), py::arg("loss"));
  py::class_<Network<T>>(module, ("_Network_" + dtype).c_str(), never_new)
      .def_property_readonly("parameters", &Network<T>::parameters)
      .def("forward", &network_forward<T>, exactly("theta"), exactly("X"), py::arg("mean"), py::arg("scale"),
           py::arg("n_threads"))
      .def("evaluate", &network_evaluate<T>, exactly("theta"), exactly("X"), exactly("y"), py::arg("labels"),
           exactly("sample_weight").none(true), py::arg("mean"), py::arg("scale"), py::arg("n_threads"))
      .def("loss_and_gradients", &network_gradients<T>, exactly("theta"), exactly("X"), exactly("y"),
           py::arg("labels"), exactly("sample_weight").none(true), py::arg("mean"), py::arg("scale"),
           py::arg("wants_dX"), py::arg("n_threads"));
  module.def(("Trainer_" + dtype).c_str(), &make_trainer<T>, py::arg("network"), exactly("theta"),
             exactly("state"), py::arg("settings"), exactly("X"), exactly("y"), py::arg("labels"),
             exactly("sample_weight").none(true), py::arg("mean"), py::arg("scale"), py::arg("batch_size"),
             py::arg("n_threads"));
  py::class_<BoundTrainer<T>>(module, ("_Trainer_" + dtype).c_str(), never_new)
      .def_property_readonly("steps_in_epoch",
                             [](const BoundTrainer<T>& b) { return b.trainer.steps_in_epoch(); })
      .def("run", &trainer_run<T>, exactly("order").none(true), py::arg("first"), py::arg("learning_rates"),
           exactly("steps"), py::arg("seconds"));
  module.def(("first_nonfinite_" + dtype).c_str(), &first_nonfinite<T>, exactly("X"));
  module.def("optimizer_update", &optimizer_update<T>, exactly("theta"), exactly("dtheta"), exactly("state"),
             py::arg("settings"), py::arg("learning_rate"), py::arg("step"));
}

}  // namespace

void register_networks(py::module_& module) {
  register_for<float>(module, "float32");
  register_for<double>(module, "float64");
}

}  // namespace backsweep::bindings
