// Dropout's mask M: 0, or 1/(1 - p). An entry is a function of seed, step, layer, sample and feature.
#pragma once

#include <algorithm>

#include "core/kernels/threefry.hpp"
#include "core/matrix.hpp"
#include "core/pass.hpp"

namespace backsweep {
namespace {

// The counter is (sample, feature / 2): its two words are for an even feature and the odd one after it.
// M(n, m), Z and Z_next likewise: Z_next = Z ∘ M.
template <class T>
void dropout_forward(const Pass<T>& pass, double p, ConstMatrix<T> Z, Matrix<T> M, Matrix<T> Z_next) {
  using Words = VectorOf<std::uint32_t, lanes<T> * sizeof(std::uint32_t)>;
  using Wide = VectorOf<std::make_unsigned_t<Integer<T>>, vector_bytes>;
  const ThreefryKey seed{static_cast<std::uint32_t>(pass.draws.seed),
                         static_cast<std::uint32_t>(pass.draws.seed >> 32)};
  const ThreefryKey key = folded(folded(seed, pass.draws.step), pass.layer);
  const auto kept_from = static_cast<std::uint32_t>(p * 4294967296.0);
  const Vector<T> scale = splat<T>(T(1) / static_cast<T>(1 - p)), dropped{};
  Words places{};
  for (std::size_t l = 0; l < lanes<T>; ++l) places[l] = static_cast<std::uint32_t>(l);

  for (std::size_t j = 0; j < Z.rows; j += 2) {
    for (std::size_t s = 0; s < Z.cols; s += lanes<T>) {
      const std::size_t width = Z.cols - s;
      Words words[2] = {places + static_cast<std::uint32_t>(pass.first_sample + s),
                        Words{} + static_cast<std::uint32_t>(j / 2)};
      threefry(key, words[0], words[1]);
      for (std::size_t odd = 0; odd < std::min<std::size_t>(2, Z.rows - j); ++odd) {
        const Wide word = __builtin_convertvector(words[odd], Wide);
        const Vector<T> mask = word >= Wide{} + kept_from ? scale : dropped;
        store_part(M.row(j + odd) + s, mask, width);
        store_part(Z_next.row(j + odd) + s, load_part<Vector<T>>(Z.row(j + odd) + s, width) * mask, width);
      }
    }
  }
}

// G = G_next ∘ M.
template <class T>
void dropout_backward(ConstMatrix<T> G_next, ConstMatrix<T> M, Matrix<T> G) {
  for (std::size_t j = 0; j < G.rows; ++j) {
    for (std::size_t s = 0; s < G.cols; s += lanes<T>) {
      const std::size_t width = G.cols - s;
      const Vector<T> g = load_part<Vector<T>>(G_next.row(j) + s, width);
      store_part(G.row(j) + s, g * load_part<Vector<T>>(M.row(j) + s, width), width);
    }
  }
}

}  // namespace
}  // namespace backsweep
