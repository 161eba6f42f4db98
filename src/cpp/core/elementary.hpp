// The elementary functions that activations and losses are made of, by name: for whoever wants to see how
// exact each is.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace backsweep {

enum class Elementary { exp, expm1, log, log1p, tanh, logistic, erfc };

// The names, in the order of the enumeration: their one home. log takes positive normal numbers, log1p
// numbers from 0 to 1, expm1 those up to 88.
inline constexpr std::array<std::string_view, 7> elementary_names = {"exp",  "expm1",    "log", "log1p",
                                                                     "tanh", "logistic", "erfc"};

// y[i] = function(x[i])
template <class T>
void evaluate_elementary(Elementary function, const T* x, std::size_t n, T* y);

}  // namespace backsweep
