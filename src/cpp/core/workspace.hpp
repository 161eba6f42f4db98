// Every buffer of a step, sized once from the network and the batch: no allocation inside a step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/buffer.hpp"
#include "core/kernels/kernels.hpp"
#include "core/layer.hpp"
#include "core/occupied.hpp"

namespace backsweep {

// Rows of samples reach to the end of a whole vector.
inline std::size_t whole_vectors(std::size_t n) {
  return (n + widest_vector - 1) / widest_vector * widest_vector;
}

// Of their columns as many are computed as the narrowest vectors hold.
inline std::size_t whole_parts(std::size_t n) {
  return (n + narrowest_vector - 1) / narrowest_vector * narrowest_vector;
}

// A matrix that owns its entries, which are to be written before they are read. A row reaches to the end of a
// whole vector, with zeros at first where it `ends_in_zeros`, and takes an odd number of cache lines, so that
// a column does not fall into a few sets of the first-level cache.
template <class T>
class OwnedMatrix {
 public:
  OwnedMatrix() = default;
  OwnedMatrix(std::size_t rows, std::size_t cols, bool ends_in_zeros = true)
      : rows_(rows), cols_(whole_vectors(cols)), stride_(odd_lines(cols_)), buffer_(rows * stride_) {
    if (!ends_in_zeros) return;
    for (std::size_t i = 0; i < rows; ++i) std::fill(view().row(i) + cols, view().row(i) + stride_, T(0));
  }

  // With a row of ones after the last.
  static OwnedMatrix and_ones(std::size_t rows, std::size_t cols) {
    OwnedMatrix matrix(rows + 1, cols);
    const Matrix<T> ones = matrix.view().row_range(rows, 1);
    std::fill_n(ones.data, ones.cols, T(1));
    --matrix.rows_;
    return matrix;
  }

  // With whole vectors of columns; no matrix where there is no entry.
  Matrix<T> view() { return {buffer_.empty() ? nullptr : buffer_.data(), rows_, cols_, stride_}; }
  Matrix<T> view_and_ones() { return {view().data, rows_ + 1, cols_, stride_}; }

  // Its first columns, no more.
  Matrix<T> samples(std::size_t count) { return buffer_.empty() ? Matrix<T>{} : view().col_range(0, count); }

  // Some of its columns, rounded up to what is computed of them.
  Matrix<T> columns(std::size_t begin, std::size_t count) {
    return buffer_.empty() ? Matrix<T>{} : view().col_range(begin, whole_parts(count));
  }

 private:
  static std::size_t odd_lines(std::size_t cols) {
    constexpr std::size_t line = cache_line / sizeof(T);
    return cols == 0 ? 0 : (cols / line | 1) * line;
  }

  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::size_t stride_ = 0;
  UninitialisedBuffer<T> buffer_;
};

// The letters of the notes for a batch of m samples, which lie along the rows: Z[i] is (n_i, m) here.
template <class T>
struct Workspace {
  std::vector<OwnedMatrix<T>> Z;  // Z[0..L]: (n_i, m), in training with a row of ones
  std::vector<OwnedMatrix<T>> A;  // A[i] where layer i keeps it, else no matrix
  std::vector<OwnedMatrix<T>> G;  // G[0..L]; after its layer's backward G[i+1] holds D[i]. G[0] only for dX
  std::vector<OwnedMatrix<T>> D_rows;  // D[i] once more, as (m, n_{i+1}) or wider: the form that dW[i] =
                                       // Z[i]ᵀ D[i] reads; or one row of sums
  std::vector<Buffer<T>> statistics;   // of the batch, where layer i looks at all of it
  OccupiedFeatures occupied;           // of Z[0], where its layer omits zeros
  std::vector<std::int64_t> labels;    // (m,)
  OwnedMatrix<T> values;               // (k, m): targets where they are not labels
  OwnedMatrix<T> weights;              // (1, m)
  OwnedMatrix<T> gathered;             // rows that are converted on their way into the batch
};

}  // namespace backsweep
