#include "core/functional.hpp"

#include "core/dense.hpp"
#include "core/kernels/kernels.hpp"
#include "core/workspace.hpp"

namespace backsweep::functional {
namespace {

// The transpose, its rows reaching to whole vectors, and a row of ones.
template <class T>
OwnedMatrix<T> turned(ConstMatrix<T> M) {
  OwnedMatrix<T> result = OwnedMatrix<T>::and_ones(M.cols, M.rows);
  if (M.rows > 0 && M.cols > 0) kernels<T>().transpose(M, result.view().col_range(0, M.rows));
  return result;
}

template <class T>
void turn_back(OwnedMatrix<T>& M, Matrix<T> rows) {
  if (rows.rows > 0 && rows.cols > 0) kernels<T>().transpose(M.view().col_range(0, rows.rows), rows);
}

}  // namespace

template <class T>
void dense(Activation sigma, ConstMatrix<T> Z, ConstMatrix<T> W, const T* b, Matrix<T> Z_next) {
  if (Z.rows == 0) return;
  OwnedMatrix<T> Z_features = turned<T>(Z), Z_next_features(W.cols, Z.rows);
  dense_forward<T>(sigma, Z_features.view(), W, b, {}, Z_next_features.view());
  turn_back(Z_next_features, Z_next);
}

template <class T>
void dense_backward(Activation sigma, ConstMatrix<T> G_next, ConstMatrix<T> Z, ConstMatrix<T> W, const T* b,
                    Matrix<T> G, Matrix<T> dW, T* db) {
  const std::size_t m = Z.rows;
  OwnedMatrix<T> Z_features = turned<T>(Z), D = turned<T>(G_next), A(W.cols, m), Z_next(W.cols, m),
                 D_rows(m, W.cols);
  OwnedMatrix<T> G_features(G ? W.rows : 0, m);
  if (m > 0) {
    dense_forward<T>(sigma, Z_features.view(), W, b, A.view(), Z_next.view());
    backsweep::dense_backward<T>(sigma, D.view(), W, A.view(), Z_next.view(), D.view(), G_features.view());
    kernels<T>().transpose(D.view().col_range(0, m), D_rows.view().col_range(0, W.cols));
    if (G) turn_back(G_features, G);
  }
  const Matrix<T> D_used = D_rows.view().row_range(0, m);
  dense_gradient<T>(Z_features.view(), D_used, dW);
  if (db != nullptr) {
    dense_gradient<T>(Z_features.view_and_ones().row_range(W.rows, 1), D_used, {db, 1, W.cols, W.cols});
  }
}

template <class T>
double loss(Loss loss, ConstMatrix<T> Z, const Targets<T>& y, Matrix<T> G) {
  OwnedMatrix<T> Z_features = turned<T>(Z), values = turned<T>(y.values), G_features(G ? Z.cols : 0, Z.rows);
  const Targets<T> targets{y.labels, values.view(), y.weights};
  const double weight = weight_sum(y, Z.rows);
  const double sum = loss_and_gradient<T>(loss, Z_features.view().col_range(0, Z.rows), targets, 1 / weight,
                                          G ? G_features.view().col_range(0, Z.rows) : Matrix<T>{})
                         .loss;
  if (G) turn_back(G_features, G);
  return sum / weight;
}

#define BACKSWEEP_INSTANTIATE(T)                                                                        \
  template void dense<T>(Activation, ConstMatrix<T>, ConstMatrix<T>, const T*, Matrix<T>);              \
  template void dense_backward<T>(Activation, ConstMatrix<T>, ConstMatrix<T>, ConstMatrix<T>, const T*, \
                                  Matrix<T>, Matrix<T>, T*);                                            \
  template double loss<T>(Loss, ConstMatrix<T>, const Targets<T>&, Matrix<T>);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep::functional
