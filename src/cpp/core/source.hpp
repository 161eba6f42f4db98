// Rows of an array of any numeric type and any strides, read where they are: X, y and the sample weights.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/elements.hpp"
#include "core/matrix.hpp"

namespace backsweep {

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
bool row_addresses(const Source& X, const RowSelection& rows, const T** addresses);

// From its first entry to its last; 0 where they lie far apart, or the other way round.
std::size_t bytes_of_row(const Source& X);

// Where the selected rows begin, of any element type.
void find_rows(const Source& X, const RowSelection& rows, const unsigned char** addresses);

// out = the selected rows of X, converted to T and standardised. False if a row lies outside X (it is then
// read as zeros): the caller reports it once the threads have joined.
template <class T>
bool gather(const Source& X, const RowSelection& rows, const Standardisation& standardisation,
            const Matrix<T>& out);

// Of a few entries: `find_nonfinite` and `transpose_rows` look at many.
template <class T>
bool all_finite(const ConstMatrix<T>& A) {
  bool finite = true;
  for (std::size_t i = 0; i < A.rows; ++i) {
    for (std::size_t j = 0; j < A.cols; ++j) finite &= std::isfinite(A(i, j));
  }
  return finite;
}

struct Position {
  std::size_t row;
  std::size_t col;
};

// The first entry of X that is NaN or infinite once it is converted to T.
template <class T>
std::optional<Position> find_nonfinite(const Source& X, std::size_t n_threads);

}  // namespace backsweep
