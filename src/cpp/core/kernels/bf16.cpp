// The product of operands in bfloat16, for processors that multiply these: compiled apart, with AVX-512 BF16.
#include "core/kernels/bf16_product.hpp"

namespace backsweep::avx512_bf16 {

void product(bool p_along_rows, const Matrix<const float>& A, const Matrix<const float>& B, const float* init,
             const Matrix<float>& C, const ProductOptions<float>& options) {
  if (p_along_rows) {
    Bf16Product<true>(A, B, init, C, options).compute();
  } else {
    Bf16Product<false>(A, B, init, C, options).compute();
  }
}

}  // namespace backsweep::avx512_bf16
