#include "core/labels.hpp"

#include <algorithm>
#include <cmath>

namespace backsweep {
namespace {

// Whether it is one of 0, 1, ..., classes - 1.
template <class E>
bool is_label(E value, std::size_t classes) {
  if constexpr (std::is_integral_v<E>) {
    return static_cast<std::uint64_t>(value) < classes;  // a negative number becomes a huge one
  } else {
    const double x = convert<double>(value);
    return x >= 0 && x < static_cast<double>(classes) && x == std::floor(x);
  }
}

template <class E>
std::int64_t label(E value) {
  if constexpr (std::is_integral_v<E>) return static_cast<std::int64_t>(value);
  return static_cast<std::int64_t>(convert<double>(value));
}

}  // namespace

bool gather_labels(const Source& y, const RowSelection& rows, std::size_t classes, std::int64_t* labels) {
  return dispatch(y, [&](auto element, auto swapped) {
    using E = decltype(element);
    bool valid = true;
    for (std::size_t i = 0; i < rows.count; ++i) {
      labels[i] = 0;
      const auto row = selected_row(y, rows, i);
      const E value = row ? load<E, swapped()>(row_address(y, *row)) : E{};
      if (row && is_label(value, classes)) {
        labels[i] = label(value);
      } else {
        valid = false;
      }
    }
    return valid;
  });
}

std::optional<std::size_t> find_no_label(const Source& y, std::size_t classes) {
  return dispatch(y, [&](auto element, auto swapped) -> std::optional<std::size_t> {
    using E = decltype(element);
    const auto is_right = [&](std::size_t i) {
      return is_label(load<E, swapped()>(row_address(y, i)), classes);
    };
    constexpr std::size_t rows_at_once = 1024;  // without a branch
    for (std::size_t begin = 0; begin < y.rows; begin += rows_at_once) {
      const std::size_t end = std::min(begin + rows_at_once, y.rows);
      bool all_right = true;
      for (std::size_t i = begin; i < end; ++i) all_right &= is_right(i);
      for (std::size_t i = begin; i < end && !all_right; ++i) {
        if (!is_right(i)) return i;
      }
    }
    return std::nullopt;
  });
}

}  // namespace backsweep
