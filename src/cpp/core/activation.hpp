// The activations σ: forward Z = σ(A) and the Hadamard product of the backward pass, D = G ∘ σ'.
// Meanings and defaults are PyTorch's of the same name.
#pragma once

#include <array>
#include <string_view>

#include "core/matrix.hpp"

namespace backsweep {

enum class Activation { identity, relu, leaky_relu, elu, sigmoid, tanh, softplus, gelu, silu };

// The names, in the order of the enumeration: their one home.
inline constexpr std::array<std::string_view, 9> activation_names = {
    "identity", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "silu"};

// Whether σ' is computed from A = Z W + b; the others compute it from the output, and A is not kept.
constexpr bool needs_preactivation(Activation sigma) {
  return sigma == Activation::gelu || sigma == Activation::silu;
}

// Z = σ(A). Z may be A.
template <class T>
void activation_forward(Activation sigma, const ConstMatrix<T>& A, const Matrix<T>& Z);

// D = G ∘ σ', with σ' taken from A where needs_preactivation(sigma), else from Z. D may be G.
template <class T>
void activation_backward(Activation sigma, const ConstMatrix<T>& G, const ConstMatrix<T>& A,
                         const ConstMatrix<T>& Z, const Matrix<T>& D);

}  // namespace backsweep
