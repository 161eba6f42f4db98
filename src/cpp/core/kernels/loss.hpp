// The losses: samples lie along the rows of Z (k, m), so a vector holds as many samples as it has lanes.
#pragma once

#include <cmath>

#include "core/kernels/elementary.hpp"
#include "core/loss.hpp"

namespace backsweep {
namespace {

// The largest entry of each of the columns c, c + 1, ..., and the first row that has it.
template <class T>
struct ColumnMaximum {
  Vector<T> value;
  Integers<T> row;
};

template <class T>
ColumnMaximum<T> column_maximum(ConstMatrix<T> Z, std::size_t c) {
  ColumnMaximum<T> best{load(Z.data + c), Integers<T>{}};
  Integers<T> row{};
  for (std::size_t j = 1; j < Z.rows; ++j) {
    row += 1;
    const Vector<T> z = load(Z.row(j) + c);
    const Integers<T> better = z > best.value;
    best.row = better ? row : best.row;
    best.value = better ? z : best.value;
  }
  return best;
}

// Beyond the last sample a vector holds lanes that are no sample: nothing may come of them.
template <class T>
void clear_columns(Matrix<T> G, std::size_t from, std::size_t to) {
  for (std::size_t j = 0; j < G.rows; ++j) {
    for (std::size_t c = from; c < to; ++c) G.row(j)[c] = T(0);
  }
}

// 1 where it holds, else 0.
template <class T>
Vector<T> indicator(Integers<T> holds) {
  return holds ? splat(T(1)) : Vector<T>{};
}

// The weights of some samples, and 0 beyond the last.
template <class T>
Vector<T> weights_of(const Targets<T>& y, std::size_t c, std::size_t samples) {
  if (y.weights != nullptr) return load_part<Vector<T>>(y.weights + c, samples);
  return indicator<T>(first_lanes<T>(samples));
}

// Sums over the samples of a tile, in lanes of float64 whatever T is.
template <class T>
class TileSums {
 public:
  // Of so many samples with these weights, which are 0 beyond the last.
  void add(Vector<T> losses, Vector<T> right, Vector<T> w, std::size_t samples) {
    losses = first_lanes<T>(samples) ? losses : Vector<T>{};  // beyond may be a NaN
    const Doubles weights = __builtin_convertvector(w, Doubles);
    loss_ += weights * __builtin_convertvector(losses, Doubles);
    right_ += weights * __builtin_convertvector(right, Doubles);
  }

  // Each as a mean over so many outputs.
  LossSums over(std::size_t outputs) const {
    double loss[lanes<T>], right[lanes<T>];
    std::memcpy(loss, &loss_, sizeof loss_);
    std::memcpy(right, &right_, sizeof right_);
    for (std::size_t half = lanes<T> / 2; half > 0; half /= 2) {
      for (std::size_t l = 0; l < half; ++l) {
        loss[l] += loss[l + half];
        right[l] += right[l + half];
      }
    }
    const double k = static_cast<double>(outputs);
    return {loss[0] / k, right[0] / k};
  }

 private:
  using Doubles = VectorOf<double, lanes<T> * sizeof(double)>;

  Doubles loss_{};
  Doubles right_{};
};

// The labels of some samples; those beyond the last have none.
template <class T>
Integers<T> labels_of(const Targets<T>& y, std::size_t c, std::size_t samples) {
  if (samples == lanes<T>) {
    VectorOf<std::int64_t, lanes<T> * sizeof(std::int64_t)> wide;
    std::memcpy(&wide, y.labels + c, sizeof wide);
    return __builtin_convertvector(wide, Integers<T>);
  }
  Integers<T> labels = Integers<T>{} - 1;
  for (std::size_t l = 0; l < samples; ++l) labels[l] = static_cast<Integer<T>>(y.labels[c + l]);
  return labels;
}

// S = softmax of each column of Z. S may be Z.
template <class T>
void softmax_of_columns(ConstMatrix<T> Z, Matrix<T> S) {
  for (std::size_t c = 0; c < Z.cols; c += lanes<T>) {
    const Vector<T> max = column_maximum<T>(Z, c).value;
    Vector<T> sum{};
    for (std::size_t j = 0; j < Z.rows; ++j) {
      const Vector<T> e = exponential(load(Z.row(j) + c) - max);
      store(S.row(j) + c, e);
      sum += e;
    }
    for (std::size_t j = 0; j < Z.rows; ++j) store(S.row(j) + c, load(S.row(j) + c) / sum);
  }
}

// ℓ = log Σ exp(z) - z_y, G = S - I_y: the notes' pair.
template <class T>
LossSums softmax_cross_entropy_with_labels(const ConstMatrix<T>& Z, const Targets<T>& y, double scale,
                                           const Matrix<T>& G) {
  TileSums<T> sums;
  for (std::size_t c = 0; c < Z.cols; c += lanes<T>) {
    const std::size_t samples = Z.cols - c < lanes<T> ? Z.cols - c : lanes<T>;
    const Vector<T> w = weights_of<T>(y, c, samples);
    const ColumnMaximum<T> max = column_maximum<T>(Z, c);
    const Integers<T> labels = labels_of<T>(y, c, samples);
    Vector<T> sum{}, z_y{};
    Integers<T> row{};
    for (std::size_t j = 0; j < Z.rows; ++j, row += 1) {
      const Vector<T> z = load(Z.row(j) + c), e = exponential(z - max.value);
      if (G) store(G.row(j) + c, e);
      sum += e;
      z_y = labels == row ? z : z_y;
    }
    Vector<T> losses = logarithm(sum) + (max.value - z_y);
    losses = losses > y.loss_cap ? splat(y.loss_cap) : losses;  // NaN stays
    sums.add(losses, indicator<T>(max.row == labels), w, samples);
    if (!G) continue;
    const Vector<T> factor = static_cast<T>(scale) * w, normaliser = factor / sum;
    row = Integers<T>{};
    for (std::size_t j = 0; j < G.rows; ++j, row += 1) {
      const Vector<T> S = load(G.row(j) + c) * normaliser;
      store(G.row(j) + c, labels == row ? S - factor : S);
    }
    clear_columns(G, c + samples, c + lanes<T>);
  }
  return sums.over(1);
}

// ℓ = Σ y (log Σ exp(z) - z), G = S Σy - y: a mixture of the above, one for each class.
template <class T>
LossSums softmax_cross_entropy_with_probabilities(ConstMatrix<T> Z, const Targets<T>& y, double scale,
                                                  Matrix<T> G) {
  TileSums<T> sums;
  for (std::size_t c = 0; c < Z.cols; c += lanes<T>) {
    const std::size_t samples = Z.cols - c < lanes<T> ? Z.cols - c : lanes<T>;
    const Vector<T> w = weights_of<T>(y, c, samples);
    const ColumnMaximum<T> max = column_maximum<T>(Z, c), likeliest = column_maximum<T>(y.values, c);
    Vector<T> sum{};
    for (std::size_t j = 0; j < Z.rows; ++j) sum += exponential(load(Z.row(j) + c) - max.value);
    const Vector<T> log_sum = logarithm(sum);
    Vector<T> loss{}, mass{};
    for (std::size_t j = 0; j < Z.rows; ++j) {
      const Vector<T> p = load(y.values.row(j) + c);
      // A class of probability 0 adds nothing, even where its logit is infinitely far below.
      const Vector<T> share = p * (log_sum + (max.value - load(Z.row(j) + c)));
      loss += p == Vector<T>{} ? Vector<T>{} : share;
      mass += p;
    }
    sums.add(loss, indicator<T>(max.row == likeliest.row), w, samples);
    if (!G) continue;
    const Vector<T> factor = static_cast<T>(scale) * w;
    for (std::size_t j = 0; j < G.rows; ++j) {
      const Vector<T> S = exponential(load(Z.row(j) + c) - max.value - log_sum);
      store(G.row(j) + c, factor * (mass * S - load(y.values.row(j) + c)));
    }
    clear_columns(G, c + samples, c + lanes<T>);
  }
  return sums.over(1);
}

// The losses below are sums of one function of (z, y), averaged over the k outputs: its value, and beside it
// its slope in z.
template <class T>
struct ValueAndSlope {
  Vector<T> value;
  Vector<T> slope;
};

struct SigmoidCrossEntropy {
  // -y log σ(z) - (1-y) log(1-σ(z)), written so that nothing overflows
  template <class T>
  static ValueAndSlope<T> at(Vector<T> z, Vector<T> y) {
    const Vector<T> e = exponential(-absolute<T>(z));  // at most 1: nothing overflows
    const Vector<T> zero = {};
    return {(z < zero ? zero : z) - z * y + logarithm_of_1_plus(e),
            (z < zero ? e : splat(T(1))) / (T(1) + e) - y};
  }
};

struct SquaredError {
  template <class T>
  static ValueAndSlope<T> at(Vector<T> z, Vector<T> y) {
    const Vector<T> d = z - y;
    return {d * d, T(2) * d};
  }
};

struct AbsoluteError {
  template <class T>
  static ValueAndSlope<T> at(Vector<T> z, Vector<T> y) {
    const Vector<T> d = z - y;  // 0 where equal, NaN stays
    return {absolute<T>(d), z > y ? splat(T(1)) : z < y ? splat(T(-1)) : d};
  }
};

struct Huber {  // δ = 1
  template <class T>
  static ValueAndSlope<T> at(Vector<T> z, Vector<T> y) {
    const Vector<T> d = z - y, size = absolute<T>(d), one = splat(T(1));
    return {size > one ? size - T(0.5) : T(0.5) * d * d, d > one ? one : d < -one ? -one : d};
  }
};

struct Poisson {  // z is the logarithm of the rate
  template <class T>
  static ValueAndSlope<T> at(Vector<T> z, Vector<T> y) {
    const Vector<T> rate = exponential(z);
    return {rate - y * z, rate - y};
  }
};

template <class Kind, class T>
LossSums mean_over_outputs(ConstMatrix<T> Z, const Targets<T>& y, double scale, Matrix<T> G) {
  TileSums<T> sums;
  const T k = static_cast<T>(Z.rows);
  const Vector<T> cap = splat(y.loss_cap), zero = {};
  for (std::size_t c = 0; c < Z.cols; c += lanes<T>) {
    const std::size_t samples = Z.cols - c < lanes<T> ? Z.cols - c : lanes<T>;
    const Vector<T> w = weights_of<T>(y, c, samples), factor = static_cast<T>(scale) * w / k;
    Vector<T> loss = {}, right = {};
    for (std::size_t j = 0; j < Z.rows; ++j) {
      const Vector<T> z = load(Z.row(j) + c), target = load(y.values.row(j) + c);
      const ValueAndSlope<T> at = Kind::template at<T>(z, target);
      loss += at.value > cap ? cap : at.value;  // NaN stays
      right += ((z > zero) == (target > T(0.5))) ? splat(T(1)) : zero;
      if (G) store(G.row(j) + c, factor * at.slope);
    }
    sums.add(loss, right, w, samples);
    if (G) clear_columns(G, c + samples, c + lanes<T>);
  }
  return sums.over(Z.rows);
}

template <class T>
LossSums loss_of_columns(Loss loss, const ConstMatrix<T>& Z, const Targets<T>& y, double scale,
                         const Matrix<T>& G) {
  switch (loss) {
    case Loss::softmax_cross_entropy:
      return y.labels != nullptr ? softmax_cross_entropy_with_labels<T>(Z, y, scale, G)
                                 : softmax_cross_entropy_with_probabilities<T>(Z, y, scale, G);
    case Loss::sigmoid_cross_entropy:
      return mean_over_outputs<SigmoidCrossEntropy, T>(Z, y, scale, G);
    case Loss::mean_squared_error:
      return mean_over_outputs<SquaredError, T>(Z, y, scale, G);
    case Loss::mean_absolute_error:
      return mean_over_outputs<AbsoluteError, T>(Z, y, scale, G);
    case Loss::huber:
      return mean_over_outputs<Huber, T>(Z, y, scale, G);
    case Loss::poisson:
      return mean_over_outputs<Poisson, T>(Z, y, scale, G);
  }
  return {};
}

}  // namespace
}  // namespace backsweep
