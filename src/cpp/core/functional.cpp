#include "core/functional.hpp"

#include <algorithm>
#include <vector>

#include "core/batch_norm.hpp"
#include "core/blas.hpp"
#include "core/kernels/kernels.hpp"
#include "core/layer_norm.hpp"
#include "core/workspace.hpp"

namespace backsweep::functional {
namespace {

// The transpose, its rows reaching to whole vectors.
template <class T>
OwnedMatrix<T> turned(const ConstMatrix<T>& M) {
  OwnedMatrix<T> result(M.cols, M.rows);
  if (M.rows > 0 && M.cols > 0) kernels<T>().transpose(M, result.view().col_range(0, M.rows));
  return result;
}

template <class T>
void turn_back(OwnedMatrix<T>& M, const Matrix<T>& rows) {
  if (rows.rows > 0 && rows.cols > 0) kernels<T>().transpose(M.view().col_range(0, rows.rows), rows);
}

// Z_next = Z W + b
template <class T>
void affine(const ConstMatrix<T>& Z, const ConstMatrix<T>& W, const T* b, const Matrix<T>& Z_next) {
  blas::product<T>(Z, W, Z_next);
  if (b == nullptr) return;
  for (std::size_t i = 0; i < Z_next.rows; ++i) {
    T* z = Z_next.row(i);
    for (std::size_t j = 0; j < Z_next.cols; ++j) z[j] += b[j];
  }
}

template <class T>
void column_sums(const ConstMatrix<T>& D, T* sums) {
  std::fill_n(sums, D.cols, T(0));
  for (std::size_t i = 0; i < D.rows; ++i) {
    const T* d = D.row(i);
    for (std::size_t j = 0; j < D.cols; ++j) sums[j] += d[j];
  }
}

}  // namespace

template <class T>
void dense(Activation sigma, const ConstMatrix<T>& Z, const ConstMatrix<T>& W, const T* b,
           const Matrix<T>& Z_next) {
  affine(Z, W, b, Z_next);
  activation_forward<T>(sigma, Z_next, Z_next);
}

template <class T>
void dense_backward(Activation sigma, const ConstMatrix<T>& G_next, const ConstMatrix<T>& Z,
                    const ConstMatrix<T>& W, const T* b, const Matrix<T>& G, const Matrix<T>& dW, T* db) {
  OwnedMatrix<T> A_owned(Z.rows, W.cols), Z_next_owned(Z.rows, W.cols), D_owned(Z.rows, W.cols);
  const Matrix<T> A = A_owned.view().col_range(0, W.cols);
  const Matrix<T> Z_next = Z_next_owned.view().col_range(0, W.cols);
  const Matrix<T> D = D_owned.view().col_range(0, W.cols);
  if (Z.rows > 0) {
    affine(Z, W, b, A);
    activation_forward<T>(sigma, A, Z_next);
    activation_backward<T>(sigma, G_next, A, Z_next, D);
  }
  blas::product_transposed_right<T>(D, W, G);
  blas::product_transposed_left<T>(Z, D, dW);
  if (db != nullptr) column_sums<T>(D, db);
}

template <class T>
void layer_norm(const ConstMatrix<T>& Z, const T* gamma, const T* beta, const Matrix<T>& A) {
  if (Z.rows == 0) return;
  OwnedMatrix<T> features = turned<T>(Z);
  const Matrix<T> all = features.view().col_range(0, Z.rows);
  kernels<T>().layer_norm_forward(all, gamma, beta, static_cast<T>(layer_norm_epsilon), {}, all);
  turn_back(features, A);
}

template <class T>
void layer_norm_backward(const ConstMatrix<T>& D, const ConstMatrix<T>& Z, const T* gamma, const Matrix<T>& G,
                         T* dgamma, T* dbeta) {
  OwnedMatrix<T> terms_owned(Z.rows, Z.cols);
  const Matrix<T> terms = terms_owned.view().col_range(0, Z.cols);
  if (Z.rows > 0) {
    OwnedMatrix<T> Z_features = turned<T>(Z), D_features = turned<T>(D), Zhat(Z.cols + 1, Z.rows);
    const auto all = [&](OwnedMatrix<T>& M) { return M.view().col_range(0, Z.rows); };
    const std::vector<T> zeros(Z.cols);  // for β, which Ẑ does not see
    kernels<T>().layer_norm_forward(all(Z_features), gamma, zeros.data(), static_cast<T>(layer_norm_epsilon),
                                    all(Zhat), all(Z_features));
    kernels<T>().layer_norm_backward(all(D_features), gamma, all(Zhat), all(Z_features));
    turn_back(Z_features, G);
    kernels<T>().transpose(all(Zhat).row_range(0, Z.cols), terms);
  }
  column_sums<T>(terms, dgamma);
  column_sums<T>(D, dbeta);
}

template <class T>
void dropout(double p, const Draws& draws, std::size_t layer, const ConstMatrix<T>& Z,
             const Matrix<T>& Z_next) {
  if (Z.rows == 0 || Z.cols == 0) return;
  OwnedMatrix<T> Z_features = turned<T>(Z), M(Z.cols, Z.rows);
  Pass<T> pass = training_pass<T>(draws, nullptr);
  pass.layer = layer;
  kernels<T>().dropout_forward(pass, p, Z_features.view(), M.view(), Z_features.view());
  turn_back(Z_features, Z_next);
}

template <class T>
void batch_norm(const ConstMatrix<T>& Z, const T* gamma, const T* beta, const Matrix<T>& A) {
  OwnedMatrix<T> features = turned<T>(Z);
  const Matrix<T> Z_features = features.view().col_range(0, Z.rows);
  Buffer<T> mean(Z.cols), variance(Z.cols);
  kernels<T>().batch_statistics(Z_features, mean.data(), variance.data());
  kernels<T>().batch_norm_forward(Z_features, mean.data(), variance.data(),
                                  static_cast<T>(batch_norm_epsilon), gamma, beta, {}, Z_features);
  turn_back(features, A);
}

template <class T>
void batch_norm_backward(const ConstMatrix<T>& D, const ConstMatrix<T>& Z, const T* gamma, const Matrix<T>& G,
                         T* dgamma, T* dbeta) {
  constexpr T epsilon = static_cast<T>(batch_norm_epsilon);
  OwnedMatrix<T> features = turned<T>(Z), D_features = turned<T>(D), G_features(Z.cols, Z.rows);
  const Matrix<T> Zhat = features.view().col_range(0, Z.rows);
  Buffer<T> mean(Z.cols), variance(Z.cols), ones(Z.cols, T(1)), zeros(Z.cols);
  kernels<T>().batch_statistics(Zhat, mean.data(), variance.data());
  kernels<T>().batch_norm_forward(Zhat, mean.data(), variance.data(), epsilon, ones.data(), zeros.data(), {},
                                  Zhat);
  kernels<T>().batch_norm_backward(D_features.view().col_range(0, Z.rows), Zhat, variance.data(), epsilon,
                                   gamma, dgamma, dbeta, G_features.view().col_range(0, Z.rows));
  turn_back(G_features, G);
}

template <class T>
double loss(Loss loss, const ConstMatrix<T>& Z, const Targets<T>& y, const Matrix<T>& G) {
  OwnedMatrix<T> Z_features = turned<T>(Z), values = turned<T>(y.values), G_features(G ? Z.cols : 0, Z.rows);
  const Targets<T> targets{y.labels, values.view(), y.weights};
  const double weight = weight_sum(y, Z.rows);
  const double sum = loss_and_gradient<T>(loss, Z_features.view().col_range(0, Z.rows), targets, 1 / weight,
                                          G ? G_features.view().col_range(0, Z.rows) : Matrix<T>{})
                         .loss;
  if (G) turn_back(G_features, G);
  return sum / weight;
}

template <class T>
void softmax(const ConstMatrix<T>& Z, const Matrix<T>& S) {
  constexpr std::size_t samples_at_a_time = 64;
  OwnedMatrix<T> features(Z.cols, std::min(Z.rows, samples_at_a_time));
  for (std::size_t i = 0; i < Z.rows; i += samples_at_a_time) {
    const std::size_t samples = std::min(Z.rows - i, samples_at_a_time);
    const Matrix<T> some = features.view().col_range(0, samples);
    kernels<T>().transpose(Z.row_range(i, samples), some);
    kernels<T>().softmax(some, some);
    kernels<T>().transpose(some, S.row_range(i, samples));
  }
}

#define BACKSWEEP_INSTANTIATE(T)                                                                            \
  template void dense<T>(Activation, const ConstMatrix<T>&, const ConstMatrix<T>&, const T*,                \
                         const Matrix<T>&);                                                                 \
  template void dense_backward<T>(Activation, const ConstMatrix<T>&, const ConstMatrix<T>&,                 \
                                  const ConstMatrix<T>&, const T*, const Matrix<T>&, const Matrix<T>&, T*); \
  template void layer_norm<T>(const ConstMatrix<T>&, const T*, const T*, const Matrix<T>&);                 \
  template void layer_norm_backward<T>(const ConstMatrix<T>&, const ConstMatrix<T>&, const T*,              \
                                       const Matrix<T>&, T*, T*);                                           \
  template void dropout<T>(double, const Draws&, std::size_t, const ConstMatrix<T>&, const Matrix<T>&);     \
  template void batch_norm<T>(const ConstMatrix<T>&, const T*, const T*, const Matrix<T>&);                 \
  template void batch_norm_backward<T>(const ConstMatrix<T>&, const ConstMatrix<T>&, const T*,              \
                                       const Matrix<T>&, T*, T*);                                           \
  template double loss<T>(Loss, const ConstMatrix<T>&, const Targets<T>&, const Matrix<T>&);                \
  template void softmax<T>(const ConstMatrix<T>&, const Matrix<T>&);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep::functional
