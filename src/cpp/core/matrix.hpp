// A row-major view of a matrix. It owns nothing and is the only type with a shape.
//
// Functions that are not inlined take it by reference. It is four words: a copy of one that has just been
// made would be read by wide loads that must wait for the narrow stores, which in small networks took a tenth
// of a step.
#pragma once

#include <cassert>
#include <cstddef>
#include <type_traits>

namespace backsweep {

template <class T>
struct Matrix {
  T* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;  // elements from one row to the next, at least cols

  T* row(std::size_t i) const { return data + i * stride; }

  T& operator()(std::size_t i, std::size_t j) const {
    assert(i < rows && j < cols);
    return data[i * stride + j];
  }

  Matrix row_range(std::size_t begin, std::size_t count) const {
    assert(begin + count <= rows);
    return {data == nullptr ? nullptr : row(begin), count, cols, stride};
  }

  Matrix col_range(std::size_t begin, std::size_t count) const {
    assert(begin + count <= cols);
    return {data + begin, rows, count, stride};
  }

  // False for a matrix that is not kept or not asked for.
  explicit operator bool() const { return data != nullptr; }

  operator Matrix<const T>() const { return {data, rows, cols, stride}; }
};

// Stops template deduction at an argument, so that Matrix<T> converts to Matrix<const T> in a call.
template <class T>
struct identity_type {
  using type = T;
};
template <class T>
using ConstMatrix = Matrix<const typename identity_type<T>::type>;

}  // namespace backsweep
