// The elementary functions, a vector at a time. In float32 each is within 4 units in the last place, which
// benchmarks/ulp.py checks for every float32 there is; in float64 they are the C library's.
// NaN comes through, and so do the limits at ±∞.
#pragma once

#include "core/elementary.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

template <class T>
inline Vector<T> absolute(Vector<T> x) {
  return x < Vector<T>{} ? -x : x;
}

// 2ⁿ for whole numbers n that are normal exponents.
inline Vector<float> power_of_two(Integers<float> n) {
  const Integers<float> bits = (n + 127) << 23;
  Vector<float> result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// x = n ln 2 + r with |r| ≤ ln 2 / 2, and exp(r) - 1 as a polynomial (Cephes).
struct ReducedExponential {
  Integers<float> n;
  Vector<float> minus_1;

  // x must be neither NaN nor far out of range. What is too small for x's last place can be given apart.
  explicit ReducedExponential(Vector<float> x, Vector<float> rest = Vector<float>{}) {
    constexpr float log2_e = 1.44269504088896341f;
    constexpr float ln2_high = 0.693359375f;
    constexpr float ln2_low = -2.12194440e-4f;
    const Vector<float> shift = splat(12582912.0f);  // 1.5 · 2²³: adding it rounds to an integer
    const Vector<float> whole = (x * log2_e + shift) - shift;
    const Vector<float> r = ((x - whole * ln2_high) - whole * ln2_low) + rest;
    Vector<float> p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    minus_1 = p * (r * r) + r;
    n = __builtin_convertvector(whole, Integers<float>);
  }

  // In two steps, so that results near the ends of the range come out right.
  Vector<float> value() const {
    const Integers<float> half = n >> 1;
    return (minus_1 + 1.0f) * power_of_two(half) * power_of_two(n - half);
  }
};

// From here on exp is 0 in float32, or infinite. Comparisons with NaN are false: it stays what it is.
inline Vector<float> within_range_of_exp(Vector<float> x) {
  const Vector<float> low = splat(-104.0f), high = splat(89.0f);
  x = x < low ? low : x;
  return x > high ? high : x;
}

inline Vector<float> exponential(Vector<float> x) {
  return x == x ? ReducedExponential(within_range_of_exp(x)).value() : x;
}

// exp(x) - 1 for x ≤ 88.
inline Vector<float> exponential_minus_1(Vector<float> x) {
  const Vector<float> low = splat(-18.0f);  // from here on it is -1
  const ReducedExponential e(x < low ? low : x);
  // 2ⁿ (exp(r) - 1) + (2ⁿ - 1); for n = 128 the power is out of range.
  const Integers<float> capped = e.n > 127 ? Integers<float>{} + 127 : e.n;
  const Vector<float> scale = power_of_two(capped);
  return x == x ? scale * e.minus_1 + (scale - 1.0f) : x;
}

// log of a positive normal number, to about 1 ULP: x = 2ᵉ (1 + f) with 1 + f in [√½, √2), a polynomial in f
// (Cephes). NaN and infinity stay what they are.
inline Vector<float> logarithm(Vector<float> x) {
  Integers<float> bits;
  std::memcpy(&bits, &x, sizeof bits);
  Integers<float> exponent = (bits >> 23) - 126;
  const Integers<float> fraction = (bits & 0x007fffff) | 0x3f000000;  // in [½, 1)
  Vector<float> m;
  std::memcpy(&m, &fraction, sizeof m);
  const Integers<float> below = m < splat(0.707106781186547524f);
  exponent += below;  // a true comparison is -1
  const Vector<float> f = below ? m + m - 1.0f : m - 1.0f;
  const Vector<float> e = __builtin_convertvector(exponent, Vector<float>);
  Vector<float> p = splat(7.0376836292e-2f);
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const Vector<float> f2 = f * f;
  Vector<float> result = p * f * f2 + e * -2.12194440e-4f;
  result = result - 0.5f * f2 + f + e * 0.693359375f;
  const Integers<float> ordinary = (bits & 0x7f800000) != 0x7f800000;
  return ordinary ? result : x;
}

// log(1 + x) for 0 ≤ x ≤ 1: what rounding took from 1 + x is put back as a factor.
inline Vector<float> logarithm_of_1_plus(Vector<float> x) {
  const Vector<float> sum = 1.0f + x, taken = sum - 1.0f;
  return taken == Vector<float>{} ? x : logarithm(sum) * (x / taken);
}

// (e^2|x| - 1) / (e^2|x| + 1), with the sign of x; from 10 on it is 1.
inline Vector<float> hyperbolic_tangent(Vector<float> x) {
  const Vector<float> size = absolute<float>(x), high = splat(10.0f);
  const Vector<float> e = exponential_minus_1(2.0f * (size > high ? high : size));
  const Vector<float> result = e / (e + 2.0f);
  // -0 stays -0.
  return x < Vector<float>{} ? -result : x > Vector<float>{} ? result : x;
}

// 1 / (1 + exp(-x)), by an exponential that is at most 1.
inline Vector<float> logistic(Vector<float> x) {
  const Vector<float> e = exponential(-absolute<float>(x));
  return (x < Vector<float>{} ? e : splat(1.0f)) / (1.0f + e);
}

// The complementary error function: exp(x²) erfc(x) (1 + 2x) is smooth in q = (x - 2) / (x + 2) for all x ≥
// 0, and a polynomial of degree 9 there (minimax by Lawson's iteration, 4e-8).
inline Vector<float> error_function_complement(Vector<float> x) {
  const Vector<float> size = absolute<float>(x), high = splat(10.2f);  // beyond, it is 0
  const Vector<float> a = size > high ? high : size;
  const Vector<float> q = (a - 2.0f) / (a + 2.0f);
  Vector<float> p = splat(-3.994469589e-4f);
  p = p * q - 1.2279992225e-3f;
  p = p * q + 1.3133073226e-3f;
  p = p * q + 8.6300941184e-3f;
  p = p * q - 8.0601423979e-3f;
  p = p * q - 5.4203882813e-2f;
  p = p * q + 1.6405542195e-1f;
  p = p * q - 1.6603146493e-1f;
  p = p * q - 9.2763982713e-2f;
  p = p * q + 1.2769783735f;
  // a² in two parts: the square of a's leading bits is exact, and exp would magnify what is lost of the rest.
  Integers<float> bits;
  std::memcpy(&bits, &a, sizeof bits);
  bits &= ~0xfff;
  Vector<float> leading;
  std::memcpy(&leading, &bits, sizeof leading);
  const Vector<float> rest = (a - leading) * (a + leading);
  const Vector<float> tail = ReducedExponential(-leading * leading, -rest).value() * p / (1.0f + 2.0f * a);
  // Near 0 the series of erf (Abramowitz and Stegun, 7.1.5) is closer: little of it is added to 1.
  const Vector<float> square = a * a;
  Vector<float> series = splat(1.2055332982e-4f);
  series = series * square - 8.5483270234e-4f;
  series = series * square + 5.2239776255e-3f;
  series = series * square - 2.6866170645e-2f;
  series = series * square + 1.1283791671e-1f;
  series = series * square - 3.7612638903e-1f;
  series = series * square + 1.1283791671f;
  const Vector<float> far = x < Vector<float>{} ? 2.0f - tail : tail;
  return a < splat(0.5f) ? 1.0f - x * series : far;  // NaN is far, and a is NaN where x is
}

#define BACKSWEEP_BY_LANES(name, expression)          \
  inline Vector<double> name(Vector<double> v) {      \
    for (std::size_t l = 0; l < lanes<double>; ++l) { \
      const double x = v[l];                          \
      v[l] = expression;                              \
    }                                                 \
    return v;                                         \
  }
BACKSWEEP_BY_LANES(exponential, std::exp(x))
BACKSWEEP_BY_LANES(exponential_minus_1, std::expm1(x))
BACKSWEEP_BY_LANES(logarithm, std::log(x))
BACKSWEEP_BY_LANES(logarithm_of_1_plus, std::log1p(x))
BACKSWEEP_BY_LANES(hyperbolic_tangent, std::tanh(x))
BACKSWEEP_BY_LANES(error_function_complement, std::erfc(x))
#undef BACKSWEEP_BY_LANES

inline Vector<double> logistic(Vector<double> x) {
  const Vector<double> e = exponential(-absolute<double>(x));
  return (x < Vector<double>{} ? e : splat(1.0)) / (1.0 + e);
}

template <class T>
void elementary(Elementary function, const T* x, std::size_t n, T* y) {
  const auto each = [&](auto f) {
    for (std::size_t i = 0; i < n; i += lanes<T>)
      store_part(y + i, f(load_part<Vector<T>>(x + i, n - i)), n - i);
  };
  switch (function) {
    case Elementary::exp:
      return each([](Vector<T> v) { return exponential(v); });
    case Elementary::expm1:
      return each([](Vector<T> v) { return exponential_minus_1(v); });
    case Elementary::log:
      return each([](Vector<T> v) { return logarithm(v); });
    case Elementary::log1p:
      return each([](Vector<T> v) { return logarithm_of_1_plus(v); });
    case Elementary::tanh:
      return each([](Vector<T> v) { return hyperbolic_tangent(v); });
    case Elementary::logistic:
      return each([](Vector<T> v) { return logistic(v); });
    case Elementary::erfc:
      return each([](Vector<T> v) { return error_function_complement(v); });
  }
}

}  // namespace
}  // namespace backsweep
