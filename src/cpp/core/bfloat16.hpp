// bfloat16: the upper half of a float32, 8 bits of significand. Products may take their operands in it, and
// add up in float32 what they multiply: half the work where the processor has an instruction for it.
#pragma once

#include <array>
#include <string_view>

#include "core/kernels/kernels.hpp"

namespace backsweep {

// What products take their operands in: the dtype of the network, or bfloat16, rounded to nearest even.
enum class Precision { full, bf16 };
inline constexpr std::array<std::string_view, 2> precision_names = {"full", "bf16"};

// As full, a layer of fewer inputs or outputs: copying its operands would take longer than is saved.
inline constexpr std::size_t fewest_units_of_bf16 = 64;

// x in bfloat16, as a float; what is not finite stays so.
float rounded_to_bf16(float x);

// The product of a precision. In bf16, which float32 alone has, it omits no zeros and takes all rows of A.
template <class T>
Product<T> product_in(Precision precision);

// Whether the processor has instructions for it; without them operands are rounded and multiplied as others.
bool has_bf16_instructions();

}  // namespace backsweep
