// Arrays of any numeric type and any strides, read where they are, entry by entry.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "core/conversion.hpp"

namespace backsweep {

enum class Element {
  boolean,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  float32,
  float64,
  long_double
};

struct Source {
  const unsigned char* data = nullptr;
  Element element = Element::float64;
  bool byte_swapped = false;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::ptrdiff_t row_stride = 0;  // in bytes, of any sign
  std::ptrdiff_t col_stride = 0;

  explicit operator bool() const { return data != nullptr; }

  Source col_range(std::size_t begin, std::size_t count) const {
    Source part = *this;
    part.data += static_cast<std::ptrdiff_t>(begin) * col_stride;
    part.cols = count;
    return part;
  }
};

// Which rows of a source: count of them from position begin, through a permutation where there is one. It
// goes by reference, as a Matrix does.
struct RowSelection {
  const std::int64_t* order = nullptr;
  std::size_t begin = 0;
  std::size_t count = 0;

  RowSelection range(std::size_t from, std::size_t n) const { return {order, begin + from, n}; }
};

// An unaligned load; the copy compiles to one instruction.
template <class E, bool swapped>
E load(const unsigned char* p) {
  unsigned char bytes[sizeof(E)];
  if constexpr (swapped) {
    std::reverse_copy(p, p + sizeof(E), bytes);
  } else {
    std::memcpy(bytes, p, sizeof(E));
  }
  E value;
  std::memcpy(&value, bytes, sizeof(E));
  return value;
}

// In vectors where there are many; see source.cpp.
template <class T>
T from_half(Half value);

template <class T, class E>
T convert(E value) {
  if constexpr (std::is_same_v<E, Half>) {
    return from_half<T>(value);
  } else {
    return static_cast<T>(value);
  }
}

// Calls f(element type, swapped): the one place where a NumPy dtype becomes a C++ type.
template <class F>
auto dispatch(const Source& X, F f) {
  const auto swapped_or_not = [&](auto element) {
    return X.byte_swapped ? f(element, std::true_type{}) : f(element, std::false_type{});
  };
  switch (X.element) {
    case Element::boolean:
      return swapped_or_not(std::uint8_t{});
    case Element::int8:
      return swapped_or_not(std::int8_t{});
    case Element::int16:
      return swapped_or_not(std::int16_t{});
    case Element::int32:
      return swapped_or_not(std::int32_t{});
    case Element::int64:
      return swapped_or_not(std::int64_t{});
    case Element::uint8:
      return swapped_or_not(std::uint8_t{});
    case Element::uint16:
      return swapped_or_not(std::uint16_t{});
    case Element::uint32:
      return swapped_or_not(std::uint32_t{});
    case Element::uint64:
      return swapped_or_not(std::uint64_t{});
    case Element::float16:
      return swapped_or_not(Half{});
    case Element::float32:
      return swapped_or_not(float{});
    case Element::float64:
      return swapped_or_not(double{});
    case Element::long_double:
      return f(static_cast<long double>(0), std::false_type{});
  }
  assert(false);
  return swapped_or_not(double{});
}

inline const unsigned char* row_address(const Source& X, std::size_t row) {
  return X.data + static_cast<std::ptrdiff_t>(row) * X.row_stride;
}

// Index of a selected row, or nothing where it lies outside the source.
inline std::optional<std::size_t> selected_row(const Source& X, const RowSelection& rows, std::size_t i) {
  const std::size_t position = rows.begin + i;
  const std::size_t row = rows.order == nullptr ? position : static_cast<std::size_t>(rows.order[position]);
  if (row >= X.rows) return std::nullopt;  // a negative index has become a huge one
  return row;
}

}  // namespace backsweep
