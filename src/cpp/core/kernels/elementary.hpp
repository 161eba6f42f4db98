// The elementary functions, a vector at a time. Each is within 4 units in the
// last place; in float32 benchmarks/ulp.py checks that for every number there
// is. In float64 erfc is the C library's. NaN comes through, and so do the
// limits at ±∞.
#pragma once

#include <iterator>
#include <limits>

#include "core/elementary.hpp"
#include "core/kernels/simd.hpp"

namespace backsweep {
namespace {

template <class T>
inline Vector<T> absolute(Vector<T> x) {
  return x < Vector<T>{} ? -x : x;
}

// 2ⁿ for whole numbers n that are normal exponents.
template <class T>
inline Vector<T> power_of_two(Integers<T> n) {
  constexpr int digits = std::numeric_limits<T>::digits - 1, bias = std::numeric_limits<T>::max_exponent - 1;
  const Integers<T> bits = (n + bias) << digits;
  Vector<T> result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// What exp is made of in each dtype.
template <class T>
struct ExponentialConstants;
template <>
struct ExponentialConstants<float> {
  static constexpr float shift = 12582912.0f;  // 1.5 · 2²³: adding it rounds to an integer
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float lowest = -104.0f,
                         highest = 89.0f;          // from here on exp is 0, or infinite
  static constexpr float lowest_minus_1 = -18.0f;  // from here on exp(x) - 1 is -1
  // (exp(r) - 1 - r) / r² (Cephes)
  static constexpr float terms[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
};
template <>
struct ExponentialConstants<double> {
  static constexpr double shift = 6755399441055744.0;  // 1.5 · 2⁵²
  static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  static constexpr double lowest = -746.0, highest = 710.0;
  static constexpr double lowest_minus_1 = -40.0;
  // The series, to r¹³ / 13!
  static constexpr double terms[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                     1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                     1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2};
};

// x = n ln 2 + r with |r| ≤ ln 2 / 2, and exp(r) - 1 as a polynomial.
template <class T>
struct ReducedExponential {
  Integers<T> n;
  Vector<T> minus_1;

  // x must be neither NaN nor far out of range. What is too small for x's last
  // place can be given apart.
  explicit ReducedExponential(Vector<T> x, Vector<T> rest = Vector<T>{}) {
    using Constants = ExponentialConstants<T>;
    const Vector<T> shift = splat(Constants::shift);
    const Vector<T> shifted = x * T(1.44269504088896340736) + shift, whole = shifted - shift;
    const Vector<T> r = ((x - whole * Constants::ln2_high) - whole * Constants::ln2_low) + rest;
    Vector<T> p = splat(Constants::terms[0]);
    for (std::size_t i = 1; i < std::size(Constants::terms); ++i) p = p * r + Constants::terms[i];
    minus_1 = p * (r * r) + r;
    // The integer stands in the last bits of the sum.
    Integers<T> bits, bits_of_shift;
    std::memcpy(&bits, &shifted, sizeof bits);
    std::memcpy(&bits_of_shift, &shift, sizeof bits);
    n = bits - bits_of_shift;
  }

  // In two steps, so that results near the ends of the range come out right.
  Vector<T> value() const {
    const Integers<T> half = n >> 1;
    return (minus_1 + T(1)) * power_of_two<T>(half) * power_of_two<T>(n - half);
  }
};

// Comparisons with NaN are false: it stays what it is.
template <class T>
inline Vector<T> exponential_of(Vector<T> x) {
  const Vector<T> low = splat(ExponentialConstants<T>::lowest),
                  high = splat(ExponentialConstants<T>::highest);
  Vector<T> inside = x < low ? low : x;
  inside = inside > high ? high : inside;
  return x == x ? ReducedExponential<T>(inside).value() : x;
}
inline Vector<float> exponential(Vector<float> x) { return exponential_of<float>(x); }
inline Vector<double> exponential(Vector<double> x) { return exponential_of<double>(x); }

// exp(x) - 1, where exp is not out of range.
template <class T>
inline Vector<T> exponential_minus_1_of(Vector<T> x) {
  constexpr int highest_power = std::numeric_limits<T>::max_exponent - 1;
  const Vector<T> low = splat(ExponentialConstants<T>::lowest_minus_1);
  const ReducedExponential<T> e(x < low ? low : x);
  // 2ⁿ (exp(r) - 1) + (2ⁿ - 1)
  const Integers<T> power = e.n > highest_power ? Integers<T>{} + highest_power : e.n;
  const Vector<T> scale = power_of_two<T>(power);
  return x == x ? scale * e.minus_1 + (scale - T(1)) : x;
}
inline Vector<float> exponential_minus_1(Vector<float> x) { return exponential_minus_1_of<float>(x); }
inline Vector<double> exponential_minus_1(Vector<double> x) { return exponential_minus_1_of<double>(x); }

// log of a positive normal number, to about 1 ULP: x = 2ᵉ (1 + f) with 1 + f in
// [√½, √2), a polynomial in f (Cephes). NaN and infinity stay what they are.
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

// The same by fdlibm's series in s = f / (2 + f).
inline Vector<double> logarithm(Vector<double> x) {
  Integers<double> bits;
  std::memcpy(&bits, &x, sizeof bits);
  Integers<double> exponent = (bits >> 52) - 1022;
  const Integers<double> fraction = (bits & 0x000fffffffffffff) | 0x3fe0000000000000;  // in [½, 1)
  Vector<double> m;
  std::memcpy(&m, &fraction, sizeof m);
  const Integers<double> below = m < splat(0.70710678118654752440);
  exponent += below;  // a true comparison is -1
  const Vector<double> f = below ? m + m - 1.0 : m - 1.0;
  // To a floating-point number by way of the last bits of a sum.
  const Vector<double> shift = splat(ExponentialConstants<double>::shift);
  Integers<double> sum_bits;
  std::memcpy(&sum_bits, &shift, sizeof sum_bits);
  sum_bits += exponent;
  Vector<double> e;
  std::memcpy(&e, &sum_bits, sizeof e);
  e = e - shift;
  const Vector<double> s = f / (2.0 + f), z = s * s;
  Vector<double> p = splat(1.479819860511658591e-01);
  p = p * z + 1.531383769920937332e-01;
  p = p * z + 1.818357216161805012e-01;
  p = p * z + 2.222219843214978396e-01;
  p = p * z + 2.857142874366239149e-01;
  p = p * z + 3.999999999940941908e-01;
  p = p * z + 6.666666666666735130e-01;
  const Vector<double> half_square = 0.5 * f * f;
  const Vector<double> small = s * (half_square + p * z) + e * ExponentialConstants<double>::ln2_low;
  const Vector<double> result = e * ExponentialConstants<double>::ln2_high - ((half_square - small) - f);
  const Integers<double> ordinary = (bits & 0x7ff0000000000000) != 0x7ff0000000000000;
  return ordinary ? result : x;
}

// log(1 + x) for 0 ≤ x ≤ 1: what rounding took from 1 + x is put back as a
// factor.
template <class T>
inline Vector<T> logarithm_of_1_plus_of(Vector<T> x) {
  const Vector<T> sum = T(1) + x, taken = sum - T(1);
  return taken == Vector<T>{} ? x : logarithm(sum) * (x / taken);
}
inline Vector<float> logarithm_of_1_plus(Vector<float> x) { return logarithm_of_1_plus_of<float>(x); }
inline Vector<double> logarithm_of_1_plus(Vector<double> x) { return logarithm_of_1_plus_of<double>(x); }

// (e^2|x| - 1) / (e^2|x| + 1), with the sign of x; from 20 on it is 1.
template <class T>
inline Vector<T> hyperbolic_tangent_of(Vector<T> x) {
  const Vector<T> size = absolute<T>(x), high = splat(T(20));
  const Vector<T> e = exponential_minus_1(T(2) * (size > high ? high : size));
  const Vector<T> result = e / (e + T(2));
  // -0 stays -0.
  return x < Vector<T>{} ? -result : x > Vector<T>{} ? result : x;
}
inline Vector<float> hyperbolic_tangent(Vector<float> x) { return hyperbolic_tangent_of<float>(x); }
inline Vector<double> hyperbolic_tangent(Vector<double> x) { return hyperbolic_tangent_of<double>(x); }

// 1 / (1 + exp(-x)), by an exponential that is at most 1.
template <class T>
inline Vector<T> logistic_of(Vector<T> x) {
  const Vector<T> e = exponential(-absolute<T>(x));
  return (x < Vector<T>{} ? e : splat(T(1))) / (T(1) + e);
}
inline Vector<float> logistic(Vector<float> x) { return logistic_of<float>(x); }
inline Vector<double> logistic(Vector<double> x) { return logistic_of<double>(x); }

// The complementary error function: exp(x²) erfc(x) (1 + 2x) is smooth in q =
// (x - 2) / (x + 2) for all x ≥ 0, and a polynomial of degree 9 there (minimax
// by Lawson's iteration, 4e-8).
inline Vector<float> error_function_complement(Vector<float> x) {
  const Vector<float> size = absolute<float>(x),
                      high = splat(10.2f);  // beyond, it is 0
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
  // a² in two parts: the square of a's leading bits is exact, and exp would
  // magnify what is lost of the rest.
  Integers<float> bits;
  std::memcpy(&bits, &a, sizeof bits);
  bits &= ~0xfff;
  Vector<float> leading;
  std::memcpy(&leading, &bits, sizeof leading);
  const Vector<float> rest = (a - leading) * (a + leading);
  const Vector<float> tail =
      ReducedExponential<float>(-leading * leading, -rest).value() * p / (1.0f + 2.0f * a);
  // Near 0 the series of erf (Abramowitz and Stegun, 7.1.5) is closer: little
  // of it is added to 1.
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

inline Vector<double> error_function_complement(Vector<double> x) {
  for (std::size_t l = 0; l < lanes<double>; ++l) x[l] = std::erfc(x[l]);
  return x;
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
