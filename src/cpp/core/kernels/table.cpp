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
void product_either(bool p_along_rows, Matrix<const T> A, Matrix<const T> B, const T* init, Matrix<T> C,
                    const ProductOptions<T>& options) {
  if (p_along_rows) {
    product<T, true>(A, B, init, C, options);
  } else {
    product<T, false>(A, B, init, C, options);
  }
}

}  // namespace

namespace BACKSWEEP_ISA_NAMESPACE {

template <class T>
constexpr Kernels<T> table = {lanes<T>,
                              &product_either<T>,
                              most_rows,
                              &dots<T>,
                              &row_product<T>,
                              &column_product<T>,
                              &transpose<T>,
                              &transpose_rows<T>,
                              conversions<T>,
                              &find_occupied<T>,
                              &elementary<T>,
                              &activate<T>,
                              &multiply_by_slope<T>,
                              &loss_of_columns<T>,
                              &update_slice<T>,
                              &penalise_slice<T>,
                              &layer_norm_forward<T>,
                              &layer_norm_backward<T>,
                              &batch_statistics<T>,
                              &batch_norm_forward<T>,
                              &batch_norm_backward<T>,
                              &batch_norm_backward_given<T>,
                              &dropout_forward<T>,
                              &dropout_backward<T>};

const Kernels<float>& float_kernels() { return table<float>; }
const Kernels<double>& double_kernels() { return table<double>; }

}  // namespace BACKSWEEP_ISA_NAMESPACE
}  // namespace backsweep
