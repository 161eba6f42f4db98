// The training of networks: a trainer for each dtype, orders of rows, and the optimizers' updates by
// themselves.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bindings/data.hpp"
#include "bindings/register.hpp"
#include "core/order.hpp"
#include "core/trainer.hpp"

namespace backsweep::bindings {
namespace {

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
    else if (name == "epsilon_hat")
      s.epsilon_hat = value.cast<bool>();
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
  StepSize size = step_size(s, step, learning_rate);
  if (s.clip_norm > 0)
    size.gradient_scale = clipping_factor(s.clip_norm, std::sqrt(sum_of_squares(gradient, n)));
  update<T>(s, 0, n, size, gradient, states, theta_data);
}

void shuffle_rows(Array<std::int64_t> order, std::size_t left, const Array<std::uint64_t>& draws) {
  const auto n = static_cast<std::size_t>(order.size()), steps = static_cast<std::size_t>(draws.size());
  std::int64_t* entries = writable_vector(order, "order", n);
  const std::uint64_t* factors = vector(draws, "draws", steps);
  if (left > std::min(n, most_shuffled)) {
    refuse("left", "be a number of entries, below 2**32", std::to_string(left));
  }
  if (steps > left) refuse("draws", "be no more than are left", shape_text(draws));
  const WithoutGil nogil;
  shuffle(entries, left, factors, steps);
}

void require_below(Matrix<const std::int64_t> shifts, const char* name, std::size_t limit) {
  for (std::size_t i = 0; i < shifts.rows * shifts.cols; ++i) {
    if (shifts.data[i] < 0 || static_cast<std::size_t>(shifts.data[i]) >= limit)
      refuse(name, "lie between 0 and " + std::to_string(limit - 1), std::to_string(shifts.data[i]));
  }
}

void rectangle_order(Array<std::int64_t> order, std::size_t begin, std::size_t m,
                     const Array<std::int64_t>& row_shifts, const Array<std::int64_t>& column_shifts) {
  const auto count = static_cast<std::size_t>(order.size());
  std::int64_t* entries = writable_vector(order, "order", count);
  const Matrix<const std::int64_t> along = matrix(row_shifts, "row_shifts");
  const std::size_t height = along.cols, width = matrix(column_shifts, "column_shifts").cols;
  const Rectangle rectangle{m, along, matrix(column_shifts, "column_shifts", along.rows, width)};
  if (m < 1 || width < 1 || (m - 1) / width + 1 != height)
    refuse("m",
           "be the cells of " + std::to_string(height) + " rows of " + std::to_string(width) +
               ", or of fewer in the last",
           std::to_string(m));
  require_below(rectangle.row_shifts, "row_shifts", width);
  require_below(rectangle.column_shifts, "column_shifts", height);
  if (begin > m || count > m - begin)
    refuse("order", "end with entry " + std::to_string(m),
           std::to_string(count) + " from " + std::to_string(begin));
  rectangle.order(begin, count, entries);  // with the GIL: nobody may change the shifts now
}

// A trainer together with the arrays that it reads and writes, so that they live as long.
template <class T>
struct BoundTrainer {
  py::object network_object;
  Array<T> theta;
  Array<T> buffers;
  std::vector<Array<T>> state;
  Array<std::int64_t> draws;
  std::vector<py::object> inputs;
  Trainer<T> trainer;
};

template <class T>
std::unique_ptr<BoundTrainer<T>> make_trainer(
    const py::object& network_object, Array<T> theta, Array<T> buffers, std::vector<Array<T>> state,
    const py::dict& settings, const py::array& X, const py::array& y, bool labels,
    const std::optional<py::array>& sample_weight, const std::optional<Vector64>& mean,
    const std::optional<Vector64>& scale, std::size_t batch_size, std::size_t n_threads, double loss_factor,
    double penalty, double loss_cap, Array<std::int64_t> draws) {
  const auto& network = network_object.cast<const Network<T>&>();
  Data<T> data = data_of(network, X, y, labels, sample_weight, mean, scale);
  if (batch_size < 1 || batch_size > INT_MAX)
    refuse("batch_size", "lie between 1 and 2**31 - 1", std::to_string(batch_size));
  if (!(loss_cap > 0)) refuse("loss_cap", "be greater than 0", std::to_string(loss_cap));
  data.loss_cap = static_cast<T>(loss_cap);
  if (!std::isfinite(loss_factor)) refuse("loss_factor", "be finite", std::to_string(loss_factor));
  if (!(std::isfinite(penalty) && penalty >= 0))
    refuse("penalty", "be finite and at least 0", std::to_string(penalty));
  const std::size_t whole = std::min(batch_size, data.X.rows), left = data.X.rows % whole;
  require_rows(network, left > 0 ? left : whole, "batch_size");
  T* theta_data = writable_vector(theta, "theta", network.parameters());
  T* buffer_data = writable_vector(buffers, "buffers", network.buffers());
  draws_of(draws);
  writable_vector(draws, "draws", 2);
  const OptimizerSettings s = settings_of(settings);
  const OptimizerState<T> states = state_of<T>(s, state, network.parameters());
  return std::unique_ptr<BoundTrainer<T>>(
      new BoundTrainer<T>{network_object,
                          theta,
                          buffers,
                          state,
                          draws,
                          {X, y, py::cast(sample_weight), py::cast(mean), py::cast(scale)},
                          Trainer<T>(network, s, theta_data, buffer_data, states, data, batch_size, n_threads,
                                     Objective{loss_factor, penalty})});
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
                      Vector64 sums, double seconds) {
  // Counted in the caller's arrays, so that an interrupt right after the run finds it counted.
  std::int64_t* count = writable_vector(steps, "steps", 1);
  if (*count < 0) refuse("steps", "be at least 0", std::to_string(*count));
  const Draws draws = draws_of(bound.draws);
  std::int64_t* drawn = bound.draws.mutable_data();
  double* totals = writable_vector(sums, "sums", 5);
  const auto n_rates = static_cast<std::size_t>(learning_rates.size());
  const double* rates = vector(learning_rates, "learning_rates", n_rates);
  if (first > bound.trainer.steps_in_epoch())
    refuse("first", "be a step of the epoch", std::to_string(first));
  const std::int64_t* order_data = optional_vector(order, "order", bound.trainer.rows_of(first, n_rates));
  Progress progress;
  {
    const WithoutGil nogil;
    EpochSums so_far{totals[0], totals[1], totals[2], totals[3], totals[4]};
    progress = bound.trainer.run(order_data, first, rates, n_rates, static_cast<std::uint64_t>(*count), draws,
                                 seconds, so_far);
    *count += static_cast<std::int64_t>(progress.steps);
    drawn[1] += static_cast<std::int64_t>(progress.steps);
    totals[0] = so_far.loss;
    totals[1] = so_far.weight;
    totals[2] = so_far.correct;
    totals[3] = so_far.batch_loss;
    totals[4] = so_far.penalty;
  }
  require(progress.stop != Progress::Stop::invalid_input);
  return py::make_tuple(progress.steps, stop_name(progress.stop));
}

template <class T>
void register_for(py::module_& module, const std::string& dtype) {
  module.def(("Trainer_" + dtype).c_str(), &make_trainer<T>, py::arg("network"), exactly("theta"),
             exactly("buffers"), exactly("state"), py::arg("settings"), exactly("X"), exactly("y"),
             py::arg("labels"), exactly("sample_weight").none(true), py::arg("mean"), py::arg("scale"),
             py::arg("batch_size"), py::arg("n_threads"), py::arg("loss_factor"), py::arg("penalty"),
             py::arg("loss_cap"), exactly("draws"));
  py::class_<BoundTrainer<T>>(module, ("_Trainer_" + dtype).c_str(), made_by_functions())
      .def_property_readonly("steps_in_epoch",
                             [](const BoundTrainer<T>& b) { return b.trainer.steps_in_epoch(); })
      .def("run", &trainer_run<T>, exactly("order").none(true), py::arg("first"), py::arg("learning_rates"),
           exactly("steps"), exactly("sums"), py::arg("seconds"));
  module.def("optimizer_update", &optimizer_update<T>, exactly("theta"), exactly("dtheta"), exactly("state"),
             py::arg("settings"), py::arg("learning_rate"), py::arg("step"));
}

}  // namespace

void register_training(py::module_& module) {
  module.def("shuffle", &shuffle_rows, exactly("order"), py::arg("left"), exactly("draws"));
  module.def("rectangle_order", &rectangle_order, exactly("order"), py::arg("begin"), py::arg("m"),
             exactly("row_shifts"), exactly("column_shifts"));
  register_for<float>(module, "float32");
  register_for<double>(module, "float64");
}

}  // namespace backsweep::bindings
