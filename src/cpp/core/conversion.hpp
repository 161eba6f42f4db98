// The types of number that data is most often kept in, and what reads them as T.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

namespace backsweep {

struct Half {  // IEEE 754's binary16
  std::uint16_t bits;
};

// Loops over numbers of type E that lie side by side, at any address.
template <class T, class E>
struct Conversion {
  void (*convert)(const unsigned char* x, std::size_t n, T* z);
  // z = (x - mean) · inverse_scale
  void (*standardise)(const unsigned char* x, std::size_t n, const double* mean, const double* inverse_scale,
                      T* z);
  // Whether all are finite once they are of type T; null for integers, which are.
  bool (*all_finite)(const unsigned char* x, std::size_t n);
};

template <class T>
using Conversions =
    std::tuple<Conversion<T, std::uint8_t>, Conversion<T, Half>, Conversion<T, float>, Conversion<T, double>>;

template <class E, class T, class... Types>
constexpr bool is_among(const std::tuple<Conversion<T, Types>...>&) {
  return (std::is_same_v<E, Types> || ...);
}
template <class E>
constexpr bool has_conversion = is_among<E>(Conversions<float>{});

}  // namespace backsweep
