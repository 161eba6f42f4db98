// The optimizers: one fused update per kind over a slice of the flat vectors. Semantics are PyTorch's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/ahead.hpp"
#include "core/matrix.hpp"

namespace backsweep {

enum class OptimizerKind { sgd, adam, adamw, rmsprop };

// The names, in the order of the enumeration: their one home.
inline constexpr std::array<std::string_view, 4> optimizer_names = {"sgd", "adam", "adamw", "rmsprop"};

// Fields that a kind does not know are ignored.
struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0;    // sgd, rmsprop
  bool nesterov = false;  // sgd
  double weight_decay = 0;
  double beta1 = 0.9;  // adam, adamw
  double beta2 = 0.999;
  double alpha = 0.99;       // rmsprop
  double epsilon = 1e-8;     // adam, adamw, rmsprop
  bool epsilon_hat = false;  // adam, adamw: ε beside √v as it is, not beside √v̂
  bool centered = false;     // rmsprop
  double clip_norm = 0;      // 0: gradients are not clipped
};

// The flat vectors that a kind keeps from step to step:
// sgd: velocity; adam, adamw: first and second moment; rmsprop: square average, velocity, gradient average.
inline constexpr std::size_t max_states = 3;
template <class T>
using OptimizerState = std::array<T*, max_states>;

// Which of the states the settings use; the others may be null.
std::array<bool, max_states> states_used(const OptimizerSettings& settings);

// What one update has in common for all entries.
struct StepSize {
  std::uint64_t index;  // of the update, counted from 0
  double learning_rate;
  double gradient_scale;  // the gradient is taken so many times
  double correction1;     // 1 - β1ᵗ and 1 - β2ᵗ, with t counted from 1
  double correction2;
};
StepSize step_size(const OptimizerSettings& settings, std::uint64_t index, double learning_rate);

// theta[begin, end) ← its update along dtheta, which points at the gradient of entry begin. Entries are
// independent: slices may be updated in any order.
template <class T>
void update(const OptimizerSettings& settings, std::size_t begin, std::size_t end, const StepSize& step,
            const T* dtheta, const OptimizerState<T>& state, T* theta);

// dtheta[j] += decay · theta[j] for n entries: the gradient of a penalty.
template <class T>
void penalise(std::size_t n, double decay, const T* theta, T* dtheta);

// Σ W² for every so many columns of W, whatever there is beside them: twice the penalty over its factor.
template <class T>
void squares_of_columns(const ConstMatrix<T>& W, double* squares);

// Σ x², in double.
template <class T>
double sum_of_squares(const T* x, std::size_t n);

// What an update reads beside the gradient of a block, which begins so far into the arrays. Of more bytes in
// all it has left the second-level cache since the step before.
inline constexpr std::size_t update_bytes_that_stay = 1u << 20;
template <class T>
Companions<T> read_by_update(std::size_t begin, std::size_t stride, const T* theta,
                             const OptimizerState<T>& state) {
  Companions<T> companions;
  companions.stride = stride;
  companions.add(theta + begin);
  for (const T* array : state) {
    if (array != nullptr) companions.add(array + begin);
  }
  return companions;
}

// The factor that brings a gradient of the given norm down to clip_norm, as torch.nn.utils.clip_grad_norm_.
double clipping_factor(double clip_norm, double norm);

}  // namespace backsweep
