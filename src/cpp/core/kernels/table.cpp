// One set of kernels: compiled once for each instruction set, under the name that the build gives it.
#include "core/kernels/activation.hpp"
#include "core/kernels/batch_normalisation.hpp"
#include "core/kernels/conversion.hpp"
#include "core/kernels/dots.hpp"
#include "core/kernels/dropout.hpp"
#include "core/kernels/elementary.hpp"
#include "core/kernels/kernels.hpp"
#include "core/kernels/loss.hpp"
#include "core/kernels/normalisation.hpp"
#include "core/kernels/occupied.hpp"
#include "core/kernels/optimizer.hpp"
#include "core/kernels/product.hpp"
#include "core/kernels/row_product.hpp"
#include "core/kernels/transpose.hpp"

namespace backsweep {
namespace {

template <class T>
inline __attribute__((always_inline)) void product_either(bool p_along_rows, Matrix<const T> A,
                                                          Matrix<const T> B, const T* init, Matrix<T> C,
                                                          const ProductOptions<T>& options) {
  if (p_along_rows) {
    product<T, true>(A, B, init, C, options);
  } else {
    product<T, false>(A, B, init, C, options);
  }
}

// A kernel as the table has it. Matrices come by reference: of one by value a copy would be passed on, with
// wide loads that must wait for the narrow stores of who has just made it. The kernel itself takes them by
// value, lest it read them again whenever it has stored something. Those that small networks wait for are
// inlined here, or take them by reference themselves, so that no copy is passed on either.
template <auto kernel>
struct Entry;

template <class Argument>
struct Passed {
  using type = Argument;
};
template <class T>
struct Passed<Matrix<T>> {
  using type = const Matrix<T>&;
};

template <class Result, class... Arguments, Result (*kernel)(Arguments...)>
struct Entry<kernel> {
  static Result call(typename Passed<Arguments>::type... arguments) { return kernel(arguments...); }
};

}  // namespace

namespace BACKSWEEP_ISA_NAMESPACE {

template <class T>
constexpr Kernels<T> table = {lanes<T>,
                              &Entry<&product_either<T>>::call,
                              most_rows,
                              &Entry<&dots<T>>::call,
                              &Entry<&row_product<T>>::call,
                              &Entry<&column_product<T>>::call,
                              &Entry<&transpose<T>>::call,
                              &Entry<&transpose_rows<T>>::call,
                              conversions<T>,
                              &Entry<&find_occupied<T>>::call,
                              &elementary<T>,
                              &Entry<&activate<T>>::call,
                              &Entry<&multiply_by_slope<T>>::call,
                              &Entry<&softmax_of_columns<T>>::call,
                              &Entry<&loss_of_columns<T>>::call,
                              &update_slice<T>,
                              &penalise_slice<T>,
                              &column_squares<T>,
                              &Entry<&layer_norm_forward<T>>::call,
                              &Entry<&layer_norm_backward<T>>::call,
                              &Entry<&batch_statistics<T>>::call,
                              &Entry<&batch_norm_forward<T>>::call,
                              &Entry<&batch_norm_backward<T>>::call,
                              &Entry<&batch_norm_backward_given<T>>::call,
                              &Entry<&dropout_forward<T>>::call,
                              &Entry<&dropout_backward<T>>::call};

const Kernels<float>& float_kernels() { return table<float>; }
const Kernels<double>& double_kernels() { return table<double>; }

}  // namespace BACKSWEEP_ISA_NAMESPACE
}  // namespace backsweep
