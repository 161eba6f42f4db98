// The stateless functions: activations, losses, layers and the updates, for either dtype.
#include <pybind11/stl.h>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"
#include "core/activation.hpp"
#include "core/bfloat16.hpp"
#include "core/elementary.hpp"
#include "core/functional.hpp"
#include "core/loss.hpp"

namespace backsweep::bindings {
namespace {

Activation activation(const std::string& name) {
  return by_name<Activation>(activation_names, name, "activation");
}
Loss loss_kind(const std::string& name) { return by_name<Loss>(loss_names, name, "loss"); }

template <class T>
Array<T> elementary(const std::string& name, const Array<T>& x) {
  const auto function = by_name<Elementary>(elementary_names, name, "function");
  if (x.ndim() != 1) refuse("x", "have one dimension", shape_text(x));
  const T* in = vector(x, "x", static_cast<std::size_t>(x.size()));
  Array<T> y(x.size());
  T* out = y.mutable_data();
  const WithoutGil nogil;
  evaluate_elementary<T>(function, in, static_cast<std::size_t>(x.size()), out);
  return y;
}

template <class T>
Array<T> activate(const std::string& sigma, const Array<T>& A) {
  const auto kind = activation(sigma);
  const auto A_view = matrix(A, "A");
  auto Z = new_matrix<T>(A_view.rows, A_view.cols);
  const auto Z_view = writable(Z);
  const WithoutGil nogil;
  activation_forward<T>(kind, A_view, Z_view);
  return Z;
}

template <class T>
Array<T> multiply_by_slope(const std::string& sigma, const Array<T>& G, const Array<T>& A) {
  const auto kind = activation(sigma);
  const auto A_view = matrix(A, "A");
  const auto G_view = matrix(G, "G", A_view.rows, A_view.cols);
  auto D = new_matrix<T>(A_view.rows, A_view.cols);
  const auto D_view = writable(D);
  const WithoutGil nogil;
  activation_forward<T>(kind, A_view, D_view);  // Z, which D then overwrites entry by entry
  activation_backward<T>(kind, G_view, A_view, D_view, D_view);
  return D;
}

// The shapes of a dense layer's arguments.
template <class T>
struct DenseArguments {
  Activation sigma;
  Matrix<const T> Z, W;
  const T* b;

  DenseArguments(const Array<T>& Z_array, const Array<T>& W_array, const std::optional<Array<T>>& b_array,
                 const std::string& sigma_name)
      : sigma(activation(sigma_name)), Z(matrix(Z_array, "Z")), W(matrix(W_array, "W")) {
    if (W.rows == 0 || W.cols == 0) refuse("W", "have at least one row and one column", shape_text(W_array));
    matrix(Z_array, "Z", Z.rows, W.rows);
    b = optional_vector(b_array, "b", W.cols);
  }
};

template <class T>
Array<T> dense(const Array<T>& Z, const Array<T>& W, const std::optional<Array<T>>& b,
               const std::string& sigma) {
  const DenseArguments<T> a(Z, W, b, sigma);
  auto Z_next = new_matrix<T>(a.Z.rows, a.W.cols);
  const auto Z_next_view = writable(Z_next);
  const WithoutGil nogil;
  functional::dense<T>(a.sigma, a.Z, a.W, a.b, Z_next_view);
  return Z_next;
}

template <class T>
py::tuple dense_gradients(const Array<T>& G_next, const Array<T>& Z, const Array<T>& W,
                          const std::optional<Array<T>>& b, const std::string& sigma) {
  const DenseArguments<T> a(Z, W, b, sigma);
  const auto G_next_view = matrix(G_next, "G_next", a.Z.rows, a.W.cols);
  auto G = new_matrix<T>(a.Z.rows, a.W.rows);
  auto dW = new_matrix<T>(a.W.rows, a.W.cols);
  std::optional<Array<T>> db;
  if (b) db = Array<T>(static_cast<py::ssize_t>(a.W.cols));
  const auto G_view = writable(G);
  const auto dW_view = writable(dW);
  T* db_data = db ? db->mutable_data() : nullptr;
  {
    const WithoutGil nogil;
    functional::dense_backward<T>(a.sigma, G_next_view, a.Z, a.W, a.b, G_view, dW_view, db_data);
  }
  return py::make_tuple(G, dW, db);
}

// A matrix of which each row has something in it.
template <class T>
Matrix<const T> with_columns(const Array<T>& Z) {
  const auto Z_view = matrix(Z, "Z");
  if (Z_view.cols == 0) refuse("Z", "have at least one column", shape_text(Z));
  return Z_view;
}

// Rows of which each column has a variance.
template <class T>
Matrix<const T> batch(const Array<T>& Z) {
  const auto Z_view = matrix(Z, "Z");
  if (Z_view.rows < 2 || Z_view.cols == 0)
    refuse("Z", "have at least two rows and one column", shape_text(Z));
  return Z_view;
}

// A = γ Ẑ + β, by either normalisation.
template <class T>
Array<T> normalised(const Matrix<const T>& Z, const Array<T>& gamma, const Array<T>& beta,
                    decltype(&functional::layer_norm<T>) normalise) {
  const T* gamma_data = vector(gamma, "gamma", Z.cols);
  const T* beta_data = vector(beta, "beta", Z.cols);
  auto A = new_matrix<T>(Z.rows, Z.cols);
  const auto A_view = writable(A);
  const WithoutGil nogil;
  normalise(Z, gamma_data, beta_data, A_view);
  return A;
}

template <class T>
py::tuple normalised_gradients(const Array<T>& D, const Matrix<const T>& Z, const Array<T>& gamma,
                               decltype(&functional::layer_norm_backward<T>) backward) {
  const auto D_view = matrix(D, "D", Z.rows, Z.cols);
  const T* gamma_data = vector(gamma, "gamma", Z.cols);
  auto G = new_matrix<T>(Z.rows, Z.cols);
  auto dgamma = Array<T>(gamma.size()), dbeta = Array<T>(gamma.size());
  const auto G_view = writable(G);
  T *dgamma_data = dgamma.mutable_data(), *dbeta_data = dbeta.mutable_data();
  {
    const WithoutGil nogil;
    backward(D_view, Z, gamma_data, G_view, dgamma_data, dbeta_data);
  }
  return py::make_tuple(G, dgamma, dbeta);
}

template <class T>
Array<T> layer_norm(const Array<T>& Z, const Array<T>& gamma, const Array<T>& beta) {
  return normalised<T>(with_columns(Z), gamma, beta, &functional::layer_norm<T>);
}

template <class T>
py::tuple layer_norm_gradients(const Array<T>& D, const Array<T>& Z, const Array<T>& gamma) {
  return normalised_gradients<T>(D, with_columns(Z), gamma, &functional::layer_norm_backward<T>);
}

template <class T>
Array<T> batch_norm(const Array<T>& Z, const Array<T>& gamma, const Array<T>& beta) {
  return normalised<T>(batch(Z), gamma, beta, &functional::batch_norm<T>);
}

template <class T>
py::tuple batch_norm_gradients(const Array<T>& D, const Array<T>& Z, const Array<T>& gamma) {
  return normalised_gradients<T>(D, batch(Z), gamma, &functional::batch_norm_backward<T>);
}

template <class T>
Array<T> dropout(const Array<T>& Z, double p, std::uint64_t seed, std::uint64_t step, std::size_t layer) {
  const auto Z_view = matrix(Z, "Z");
  require_probability(p);
  auto Z_next = new_matrix<T>(Z_view.rows, Z_view.cols);
  const auto Z_next_view = writable(Z_next);
  const WithoutGil nogil;
  functional::dropout<T>(p, {seed, step}, layer, Z_view, Z_next_view);
  return Z_next;
}

// What a loss is of. Targets come in either form: labels where y is an array of int64 of one dimension, else
// values.
template <class T>
struct LossArguments {
  Loss loss;
  ConstMatrix<T> Z;
  Targets<T> targets;

  LossArguments(const std::string& name, const Array<T>& logits, const py::array& y,
                const std::optional<Array<T>>& weights)
      : loss(loss_kind(name)), Z(matrix(logits, "Z")) {
    if (Z.rows == 0 || Z.cols == 0) refuse("Z", "have at least one row and one column", shape_text(logits));
    if (y.ndim() == 1 && py::isinstance<Array<std::int64_t>>(y)) {
      require_labels_loss(loss);
      const auto labels = py::cast<Array<std::int64_t>>(y);
      targets.labels = vector(labels, "y", Z.rows);
      if (!labels_in_range(targets.labels, Z.rows, Z.cols)) {
        refuse("y", "hold labels from 0 to " + std::to_string(Z.cols - 1), "others");
      }
    } else if (py::isinstance<Array<T>>(y)) {
      targets.values = matrix(py::cast<Array<T>>(y), "y", Z.rows, Z.cols);
    } else {
      throw py::type_error("y must be int64 labels or values of the dtype of Z");
    }
    targets.weights = optional_vector(weights, "sample_weight", Z.rows);
  }
};

template <class T>
double loss_value(const std::string& loss, const Array<T>& Z, const py::array& y,
                  const std::optional<Array<T>>& weights) {
  const LossArguments<T> of(loss, Z, y, weights);
  const WithoutGil nogil;
  return functional::loss<T>(of.loss, of.Z, of.targets, {});
}

template <class T>
Array<T> loss_gradient(const std::string& loss, const Array<T>& Z, const py::array& y,
                       const std::optional<Array<T>>& weights) {
  const LossArguments<T> of(loss, Z, y, weights);
  auto G = new_matrix<T>(of.Z.rows, of.Z.cols);
  const auto G_view = writable(G);
  const WithoutGil nogil;
  functional::loss<T>(of.loss, of.Z, of.targets, G_view);
  return G;
}

template <class T>
Array<T> softmax_rows(const Array<T>& Z) {
  const auto Z_view = with_columns(Z);
  auto S = new_matrix<T>(Z_view.rows, Z_view.cols);
  const auto S_view = writable(S);
  const WithoutGil nogil;
  functional::softmax<T>(Z_view, S_view);
  return S;
}

// A and B rounded, A as it is or its transpose: that is read in another way.
Array<float> bf16_product(const Array<float>& A, const Array<float>& B, bool transposed) {
  const auto A_view = matrix(A, "A");
  const auto B_view = matrix(B, "B");
  const std::size_t terms = transposed ? A_view.rows : A_view.cols;
  if (A.size() == 0) refuse("A", "hold an entry", shape_text(A));
  if (B.size() == 0) refuse("B", "hold an entry", shape_text(B));
  if (B_view.rows != terms) refuse("B", "have " + std::to_string(terms) + " rows", shape_text(B));
  auto C = new_matrix<float>(transposed ? A_view.cols : A_view.rows, B_view.cols);
  const auto C_view = writable(C);
  const WithoutGil nogil;
  product_in<float>(Precision::bf16)(!transposed, A_view, B_view, nullptr, C_view, {});
  return C;
}

template <class T>
void register_for(py::module_& module) {
  module.def("elementary", &elementary<T>, py::arg("function"), exactly("x"));
  module.def("activation_forward", &activate<T>, py::arg("sigma"), exactly("A"));
  module.def("activation_backward", &multiply_by_slope<T>, py::arg("sigma"), exactly("G"), exactly("A"));
  module.def("dense", &dense<T>, exactly("Z"), exactly("W"), exactly("b").none(true), py::arg("sigma"));
  module.def("dense_backward", &dense_gradients<T>, exactly("G_next"), exactly("Z"), exactly("W"),
             exactly("b").none(true), py::arg("sigma"));
  module.def("layer_norm", &layer_norm<T>, exactly("Z"), exactly("gamma"), exactly("beta"));
  module.def("layer_norm_backward", &layer_norm_gradients<T>, exactly("D"), exactly("Z"), exactly("gamma"));
  module.def("batch_norm", &batch_norm<T>, exactly("Z"), exactly("gamma"), exactly("beta"));
  module.def("batch_norm_backward", &batch_norm_gradients<T>, exactly("D"), exactly("Z"), exactly("gamma"));
  module.def("dropout", &dropout<T>, exactly("Z"), py::arg("p"), py::arg("seed"), py::arg("step"),
             py::arg("layer"));
  module.def("softmax", &softmax_rows<T>, exactly("Z"));
  module.def("loss_value", &loss_value<T>, py::arg("loss"), exactly("Z"), exactly("y"),
             exactly("sample_weight").none(true));
  module.def("loss_gradient", &loss_gradient<T>, py::arg("loss"), exactly("Z"), exactly("y"),
             exactly("sample_weight").none(true));
}

}  // namespace

void register_functions(py::module_& module) {
  register_for<float>(module);
  register_for<double>(module);
  module.def("bf16_product", &bf16_product, exactly("A"), exactly("B"), py::arg("transposed"));
}

}  // namespace backsweep::bindings
