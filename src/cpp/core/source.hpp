// Rows of an array of any numeric type and any strides, read where they are: X, y and the sample weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/matrix.hpp"

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
};

// Which rows of a source: count of them from position begin, through a permutation where there is one.
struct RowSelection {
  const std::int64_t* order = nullptr;
  std::size_t begin = 0;
  std::size_t count = 0;

  RowSelection range(std::size_t from, std::size_t n) const { return {order, begin + from, n}; }
};

// Z[0] = (X - mean) / scale, column by column; nothing is done where mean is null. Rows are multiplied by
// 1 / scale: they would wait for divisions.
struct Standardisation {
  const double* mean = nullptr;
  std::vector<double> inverse_scale = {};
};

// Whether the rows of X can be read as T where they are.
template <class T>
bool holds(const Source& X);

// Where the selected rows of an X that holds T begin. False if a row lies outside X (another is then named).
template <class T>
bool row_addresses(const Source& X, RowSelection rows, const T** addresses);

// From its first entry to its last; 0 where they lie far apart, or the other way round.
std::size_t bytes_of_row(const Source& X);

// Where the selected rows begin, of any element type.
void find_rows(const Source& X, RowSelection rows, const unsigned char** addresses);

// out = the selected rows of X, converted to T and standardised. False if a row lies outside X (it is then
// read as zeros): the caller reports it once the threads have joined.
template <class T>
bool gather(const Source& X, RowSelection rows, const Standardisation& standardisation, Matrix<T> out);

// labels = the selected rows of a one-column y. False if a row lies outside y, or a label is not one of
// 0, 1, ..., classes - 1 (it is then read as 0).
bool gather_labels(const Source& y, RowSelection rows, std::size_t classes, std::int64_t* labels);

struct Position {
  std::size_t row;
  std::size_t col;
};

// The first entry of X that is NaN or infinite once it is converted to T.
template <class T>
std::optional<Position> find_nonfinite(const Source& X, std::size_t n_threads);

}  // namespace backsweep
