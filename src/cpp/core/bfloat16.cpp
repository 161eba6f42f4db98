#include "core/bfloat16.hpp"

#include <cassert>
#include <cstdint>
#include <cstring>

#include "core/buffer.hpp"

namespace backsweep {
namespace {

// A rounded copy, whose rows reach to the end of a whole vector as those of an operand do.
class Rounded {
 public:
  explicit Rounded(const Matrix<const float>& M)
      : rows_(M.rows), cols_(M.cols), stride_((M.cols / widest_vector + 1) * widest_vector) {
    entries_.resize(rows_ * stride_);
    for (std::size_t i = 0; i < rows_; ++i) {
      for (std::size_t j = 0; j < cols_; ++j) entries_[i * stride_ + j] = rounded_to_bf16(M.row(i)[j]);
    }
  }
  Matrix<const float> view() const { return {entries_.data(), rows_, cols_, stride_}; }

 private:
  std::size_t rows_, cols_, stride_;
  Buffer<float> entries_;
};

// Each sum is of the terms in their order, whatever the block it falls into.
void product_of_rounded(bool p_along_rows, const Matrix<const float>& A, const Matrix<const float>& B,
                        const float* init, const Matrix<float>& C, const ProductOptions<float>& options) {
  assert(options.rows_of_A == nullptr);
  ProductOptions<float> in_order = options;
  in_order.in_order = true;
  in_order.terms = {};
  kernels<float>().product(p_along_rows, Rounded(A).view(), Rounded(B).view(), init, C, in_order);
}

}  // namespace

float rounded_to_bf16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const std::uint32_t up = 0x7fff + ((bits >> 16) & 1);  // a tie goes to the even neighbour
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  bits = is_nan ? bits | 0x400000 : bits + up;
  bits &= 0xffff0000;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <>
Product<double> product_in<double>(Precision precision) {
  assert(precision == Precision::full);
  (void)precision;
  return kernels<double>().product;
}

template <>
Product<float> product_in<float>(Precision precision) {
  if (precision == Precision::full) return kernels<float>().product;
  const Product<float> instructions = bf16_instructions();
  return instructions == nullptr ? &product_of_rounded : instructions;
}

bool has_bf16_instructions() { return bf16_instructions() != nullptr; }

}  // namespace backsweep
