// Sizes that the whole core goes by: of the machine's lines and registers, and of batches of few samples.
#pragma once

#include <cstddef>

namespace backsweep {

inline constexpr std::size_t cache_line = 64;  // bytes; the widest vector register has as many

// Samples in the widest vector of any instruction set and dtype: rows of a tile reach to a multiple of it.
// And in the narrowest that a product takes for what is left over.
inline constexpr std::size_t widest_vector = 16;
inline constexpr std::size_t narrowest_vector = 4;

// So few samples leave most of a vector empty: the products of all three directions run along the outputs.
inline constexpr std::size_t few_samples = 4;
// The way forward does where a vector would be full once or twice only, and its weights be read in short
// pieces.
inline constexpr std::size_t several_samples = 28;

}  // namespace backsweep
