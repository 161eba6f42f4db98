#include "core/source.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <type_traits>

#include "core/kernels/kernels.hpp"
#include "core/threads.hpp"

namespace backsweep {
namespace {

template <class T, class E>
const Conversion<T, E>& conversion() {
  return std::get<Conversion<T, E>>(kernels<T>().conversions);
}

// Calls f(x, j, count) for the entries j, j + 1, ... of a row that begins at p, with x where they lie side by
// side: in place, or a copy of a few at a time.
template <class E, bool swapped, class F>
void side_by_side(const unsigned char* p, std::ptrdiff_t stride, std::size_t n, F f) {
  if (!swapped && stride == static_cast<std::ptrdiff_t>(sizeof(E))) return f(p, std::size_t{0}, n);
  constexpr std::size_t few = 64;
  E copies[few];
  for (std::size_t j = 0; j < n; j += few) {
    const std::size_t count = std::min(few, n - j);
    for (std::size_t i = 0; i < count; ++i, p += stride) copies[i] = load<E, swapped>(p);
    f(reinterpret_cast<const unsigned char*>(copies), j, count);
  }
}

// A row of fewer entries, as y or the weights have, is converted in the time of the call.
constexpr std::size_t entries_worth_a_call = 8;

template <class E, bool swapped, class T>
void convert_row(const unsigned char* p, std::ptrdiff_t stride, std::size_t n, T* out) {
  if constexpr (has_conversion<E>) {
    if (n >= entries_worth_a_call) {
      return side_by_side<E, swapped>(p, stride, n,
                                      [&](const unsigned char* x, std::size_t j, std::size_t count) {
                                        conversion<T, E>().convert(x, count, out + j);
                                      });
    }
  }
  if (stride == static_cast<std::ptrdiff_t>(sizeof(E))) {  // a constant lets the loop vectorise
    for (std::size_t j = 0; j < n; ++j) out[j] = convert<T>(load<E, swapped>(p + j * sizeof(E)));
  } else {
    for (std::size_t j = 0; j < n; ++j, p += stride) out[j] = convert<T>(load<E, swapped>(p));
  }
}

template <class E, bool swapped, class T>
void standardise_row(const unsigned char* p, std::ptrdiff_t stride, std::size_t n, const Standardisation& s,
                     T* out) {
  if constexpr (has_conversion<E>) {
    if (n >= entries_worth_a_call) {
      return side_by_side<E, swapped>(
          p, stride, n, [&](const unsigned char* x, std::size_t j, std::size_t count) {
            conversion<T, E>().standardise(x, count, s.mean + j, s.inverse_scale.data() + j, out + j);
          });
    }
  }
  for (std::size_t j = 0; j < n; ++j, p += stride) {
    out[j] = static_cast<T>((convert<double>(load<E, swapped>(p)) - s.mean[j]) * s.inverse_scale[j]);
  }
}

template <class E, bool swapped, class T>
bool row_is_finite(const unsigned char* p, std::ptrdiff_t stride, std::size_t n) {
  bool finite = true;
  if constexpr (has_conversion<E>) {
    side_by_side<E, swapped>(p, stride, n, [&](const unsigned char* x, std::size_t, std::size_t count) {
      finite = finite && conversion<T, E>().all_finite(x, count);
    });
  } else {
    for (std::size_t j = 0; j < n; ++j, p += stride) finite &= std::isfinite(convert<T>(load<E, swapped>(p)));
  }
  return finite;
}

// What a thread looks at at a time, and what it takes: as long as so many operations, from memory.
constexpr std::size_t entries_in_piece = 1u << 18;
constexpr double flops_of_entry = 8;

template <class E, bool swapped, class T>
bool rows_are_finite(const Source& X, std::size_t begin, std::size_t count) {
  if (X.row_stride == static_cast<std::ptrdiff_t>(X.cols) * X.col_stride) {  // as one
    return row_is_finite<E, swapped, T>(row_address(X, begin), X.col_stride, count * X.cols);
  }
  bool finite = true;
  for (std::size_t i = begin; finite && i < begin + count; ++i) {
    finite = row_is_finite<E, swapped, T>(row_address(X, i), X.col_stride, X.cols);
  }
  return finite;
}

}  // namespace

template <class T>
T from_half(Half value) {
  T converted;
  conversion<T, Half>().convert(reinterpret_cast<const unsigned char*>(&value), 1, &converted);
  return converted;
}

template <class T>
bool holds(const Source& X) {
  constexpr Element own = std::is_same_v<T, float> ? Element::float32 : Element::float64;
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  return X.element == own && !X.byte_swapped && X.col_stride == size && X.row_stride % size == 0 &&
         reinterpret_cast<std::uintptr_t>(X.data) % sizeof(T) == 0;
}

template <class T>
bool row_addresses(const Source& X, const RowSelection& rows, const T** addresses) {
  bool inside = true;
  for (std::size_t i = 0; i < rows.count; ++i) {
    const auto row = selected_row(X, rows, i);
    inside &= row.has_value();
    addresses[i] = reinterpret_cast<const T*>(row_address(X, row.value_or(0)));
  }
  return inside;
}

std::size_t bytes_of_row(const Source& X) {
  const bool close = X.col_stride > 0 && X.col_stride <= static_cast<std::ptrdiff_t>(cache_line);
  return close ? X.cols * static_cast<std::size_t>(X.col_stride) : 0;
}

void find_rows(const Source& X, const RowSelection& rows, const unsigned char** addresses) {
  for (std::size_t i = 0; i < rows.count; ++i) {
    addresses[i] = row_address(X, selected_row(X, rows, i).value_or(0));
  }
}

template <class T>
bool gather(const Source& X, const RowSelection& rows, const Standardisation& standardisation,
            const Matrix<T>& out) {
  return dispatch(X, [&](auto element, auto swapped) {
    using E = decltype(element);
    bool inside = true;
    for (std::size_t i = 0; i < rows.count; ++i) {
      T* z = out.row(i);
      const auto row = selected_row(X, rows, i);
      if (!row) {
        std::fill(z, z + X.cols, T(0));
        inside = false;
      } else if (standardisation.mean != nullptr) {
        standardise_row<E, swapped()>(row_address(X, *row), X.col_stride, X.cols, standardisation, z);
      } else {
        convert_row<E, swapped()>(row_address(X, *row), X.col_stride, X.cols, z);
      }
    }
    return inside;
  });
}

// In pieces, so that a team can share them; of those that are not finite the first is looked through again.
template <class T>
std::optional<Position> find_nonfinite(const Source& X, std::size_t n_threads) {
  return dispatch(X, [&](auto element, auto swapped) -> std::optional<Position> {
    using E = decltype(element);
    if constexpr (!std::is_integral_v<E>) {  // the largest integer is far below the largest float
      const std::size_t rows = std::max<std::size_t>(1, entries_in_piece / std::max<std::size_t>(1, X.cols));
      const std::size_t pieces = (X.rows + rows - 1) / rows;
      const double flops = flops_of_entry * static_cast<double>(X.rows) * static_cast<double>(X.cols);
      std::atomic<std::size_t> first{X.rows};  // of a piece's rows
      for_each_task(team_size(flops, pieces, n_threads), pieces, [&](std::size_t piece) {
        const std::size_t begin = piece * rows;
        std::size_t known = first.load();
        if (begin > known || rows_are_finite<E, swapped(), T>(X, begin, std::min(rows, X.rows - begin)))
          return;
        while (begin < known && !first.compare_exchange_weak(known, begin)) continue;
      });
      for (std::size_t i = first.load(); i < X.rows; ++i) {
        if (rows_are_finite<E, swapped(), T>(X, i, 1)) continue;
        const unsigned char* p = row_address(X, i);
        for (std::size_t j = 0; j < X.cols; ++j, p += X.col_stride) {
          if (!std::isfinite(convert<T>(load<E, swapped()>(p)))) return Position{i, j};
        }
      }
    }
    return std::nullopt;
  });
}

#define BACKSWEEP_INSTANTIATE(T)                                                                         \
  template T from_half<T>(Half);                                                                         \
  template bool holds<T>(const Source&);                                                                 \
  template bool row_addresses<T>(const Source&, const RowSelection&, const T**);                         \
  template bool gather<T>(const Source&, const RowSelection&, const Standardisation&, const Matrix<T>&); \
  template std::optional<Position> find_nonfinite<T>(const Source&, std::size_t);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
