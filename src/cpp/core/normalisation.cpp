#include "core/normalisation.hpp"

#include "core/kernels/kernels.hpp"

namespace backsweep {

template <class T>
void Normalisation<T>::leave_terms(const ConstMatrix<T>& products, const ConstMatrix<T>& D,
                                   const Matrix<T>& D_rows) const {
  const std::size_t m = D_rows.rows;
  kernels<T>().transpose(products.col_range(0, m), D_rows.col_range(0, n_));
  kernels<T>().transpose(D.col_range(0, m), D_rows.col_range(n_, n_));
}

// dγ and dβ lie as their terms do: the row of ones adds them up, over the samples or over the one row of sums
// that is left where the whole batch has been looked at.
template <class T>
void Normalisation<T>::gradient(const ParameterBlock&, const ConstMatrix<T>& Z, const Occupied&,
                                const ConstMatrix<T>&, const ConstMatrix<T>& D_rows,
                                const Matrix<T>& dtheta_block, const Ahead<T>& ahead) const {
  ProductOptions<T> options;
  options.ahead = &ahead;
  kernels<T>().product(true, Z.row_range(n_, 1), D_rows, nullptr, dtheta_block, options);
}

template class Normalisation<float>;
template class Normalisation<double>;

}  // namespace backsweep
