#include "core/network.hpp"

#include <algorithm>

namespace backsweep {
namespace {

// A tile is four vectors wide: enough for a block of the product's registers twice over, and few enough that
// 128 samples make two tiles.
constexpr std::size_t vectors_in_tile = 4;
// A product reads its weights once a tile, or once a run of tiles where there are so many that they do not
// stay in the second-level cache. A run's values should.
constexpr std::size_t weight_bytes_that_stay = 1u << 21;
constexpr std::size_t samples_in_run = 512;
// Tiles that are joined must give the same bits. A tile may begin with the second of the two vectors that a
// block of the product takes; blocks of eight rows and more, which layers from here on have, sum in the same
// order with one vector as with two. (Of narrower vectors, or of float64, tiles begin with whole pairs.)
constexpr std::size_t rows_of_same_order = 16;
// In a small network the calls of a tile take as long as its arithmetic: more samples share them.
constexpr std::size_t most_vectors_in_tile = 16;
constexpr double flops_of_small_tile = 1e6;

}  // namespace

template <class T>
Network<T>::Network(std::vector<std::unique_ptr<Layer<T>>> layers, Loss loss)
    : layers_(std::move(layers)), loss_(loss), offsets_{0}, buffer_offsets_{0} {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer<T>& layer = *layers_[i];
    offsets_.push_back(offsets_[i] + layer.parameters());
    buffer_offsets_.push_back(buffer_offsets_[i] + layer.buffers());
    if (layer.whole_batch() != nullptr) whole_batch_.push_back(i);
    const bool is_large = layer.weights() * sizeof(T) > weight_bytes_that_stay &&
                          std::min(layer.n_in(), layer.n_out()) >= rows_of_same_order;
    joins_.push_back(is_large || layer.copies_weights());
    joins_any_ |= joins_[i];
    has_large_layer_ |= is_large;
    forward_flops_ += layer.flops();
  }
  std::size_t vectors = vectors_in_tile;
  const auto flops = [&] { return step_flops() * static_cast<double>(vectors * widest_vector); };
  while (vectors < most_vectors_in_tile && flops() < flops_of_small_tile) vectors *= 2;
  samples_in_tile_ = vectors * widest_vector;
}

template <class T>
std::size_t Network<T>::tiles(std::size_t m) const {
  return (m + samples_in_tile_ - 1) / samples_in_tile_;
}

template <class T>
std::size_t Network<T>::first_sample(std::size_t tile, std::size_t m) const {
  const std::size_t n = tiles(m);
  return tile == n ? m : m * tile / n / widest_vector * widest_vector;
}

template <class T>
Slice Network<T>::tile(std::size_t index, std::size_t m) const {
  return {first_sample(index, m), first_sample(index + 1, m)};
}

template <class T>
std::size_t Network<T>::tiles_in_run(std::size_t m, std::size_t team) const {
  if (!joins_any_) return 1;
  const std::size_t n = tiles(m), most = std::max<std::size_t>(samples_in_run / samples_in_tile_, 1);
  const std::size_t runs_of_member = (n + team * most - 1) / (team * most);
  return (n + team * runs_of_member - 1) / (team * runs_of_member);
}

template <class T>
std::size_t Network<T>::runs(std::size_t m, std::size_t team) const {
  const std::size_t in_run = tiles_in_run(m, team);
  return (tiles(m) + in_run - 1) / in_run;
}

template <class T>
Run Network<T>::run(std::size_t index, std::size_t m, std::size_t team) const {
  const std::size_t in_run = tiles_in_run(m, team);
  if (in_run == 1) return {{index, index + 1}, tile(index, m)};
  return run_of({index * in_run, std::min((index + 1) * in_run, tiles(m))}, m);
}

template <class T>
std::size_t Network<T>::widest() const {
  std::size_t widest = n_in();
  for (const auto& layer : layers_) widest = std::max(widest, layer->n_out());
  return widest;
}

template <class T>
Workspace<T> Network<T>::workspace(std::size_t m, Purpose purpose, bool with_dX) const {
  Workspace<T> ws;
  const std::size_t L = depth();
  ws.Z.resize(L + 1);
  ws.A.resize(L);
  ws.D_rows.resize(L);
  ws.G.resize(L + 1);
  ws.statistics.resize(L);
  const bool swept_back = purpose != Purpose::inference;
  const auto values = [&](std::size_t n) {
    // Of a prediction nobody looks at what is computed beyond the last sample.
    return swept_back ? OwnedMatrix<T>::and_ones(n, m) : OwnedMatrix<T>(n, m, false);
  };
  ws.Z[0] = values(n_in());
  if (omits_zeros()) ws.occupied = OccupiedFeatures(n_in(), m);
  for (std::size_t i = 0; i < L; ++i) {
    ws.Z[i + 1] = values(layers_[i]->n_out());
    if (swept_back) {
      ws.A[i] = OwnedMatrix<T>(layers_[i]->kept_rows(), m);
      ws.G[i + 1] = OwnedMatrix<T>(layers_[i]->n_out(), m);
      const WholeBatch<T>* whole = purpose == Purpose::training ? layers_[i]->whole_batch() : nullptr;
      ws.D_rows[i] = OwnedMatrix<T>(whole != nullptr ? 1 : m, layers_[i]->summed());
      if (whole != nullptr) ws.statistics[i].resize(whole->statistics());
    }
  }
  if (with_dX) ws.G[0] = OwnedMatrix<T>(n_in(), m);
  return ws;
}

template <class T>
void Network<T>::look(Workspace<T>& ws, std::size_t begin, std::size_t count) const {
  if (omits_zeros()) ws.occupied.look(ws.Z[0].view().col_range(begin, count), begin);
}

template <class T>
Slice Network<T>::segment(std::size_t index) const {
  return {index == 0 ? 0 : whole_batch_[index - 1] + 1,
          index == whole_batch_.size() ? depth() : whole_batch_[index]};
}

template <class T>
Pass<T> Network<T>::in_layer(std::size_t i, Slice samples, const Pass<T>& pass,
                             const Occupied& occupied) const {
  return {pass.training,  pass.draws, pass.buffers + buffer_offsets_[i], i, samples.begin,
          samples.size(), occupied};
}

template <class T>
void Network<T>::forward(std::size_t i, const T* theta, Workspace<T>& ws, Slice samples,
                         const Pass<T>& pass) const {
  const std::size_t begin = samples.begin, count = samples.size();
  const Occupied occupied = i == 0 ? ws.occupied.of(begin, count) : Occupied{};
  layers_[i]->forward(theta + offsets_[i], ws.Z[i].columns(begin, count), ws.A[i].columns(begin, count),
                      ws.Z[i + 1].columns(begin, count), in_layer(i, samples, pass, occupied));
}

template <class T>
void Network<T>::forward(const T* theta, Workspace<T>& ws, const Run& run, std::size_t m, const Pass<T>& pass,
                         Slice layers) const {
  for (std::size_t i = layers.begin; i < layers.end; ++i) {
    each_part(i, run, m, [&](Slice samples) { forward(i, theta, ws, samples, pass); });
  }
}

template <class T>
void Network<T>::forward(const T* theta, Workspace<T>& ws, std::size_t m, const Pass<T>& pass) const {
  for (std::size_t i = 0; i < depth(); ++i) forward(i, theta, ws, Slice{0, m}, pass);
}

template <class T>
LossSums Network<T>::loss(Workspace<T>& ws, std::size_t begin, std::size_t count, double scale,
                          T loss_cap) const {
  const Matrix<T> Z = ws.Z[depth()].view().col_range(begin, count);
  const Matrix<T> G = ws.G[depth()].view();
  Targets<T> y = targets(ws, begin, count);
  y.loss_cap = loss_cap;
  return loss_and_gradient<T>(loss_, Z, y, scale, G ? G.col_range(begin, count) : Matrix<T>{});
}

template <class T>
void Network<T>::backward(std::size_t i, const T* theta, Workspace<T>& ws, Slice samples, const Pass<T>& pass,
                          bool gated_above) const {
  const std::size_t begin = samples.begin, count = samples.size();
  Pass<T> here = in_layer(i, samples, pass);
  here.gated_above = gated_above;
  if (gates(i)) here.gate_below = ws.Z[i].columns(begin, count).data;
  layers_[i]->backward(theta + offsets_[i], ws.A[i].columns(begin, count), ws.Z[i + 1].columns(begin, count),
                       ws.G[i + 1].columns(begin, count), ws.D_rows[i].view().row_range(begin, count),
                       ws.G[i].columns(begin, count), here);
}

template <class T>
void Network<T>::backward(const T* theta, Workspace<T>& ws, const Run& run, std::size_t m,
                          const Pass<T>& pass, Slice layers) const {
  for (std::size_t i = layers.end; i-- > layers.begin;) {
    const bool gated = i + 1 < layers.end && gates(i + 1);
    each_part(i, run, m, [&](Slice samples) { backward(i, theta, ws, samples, pass, gated); });
  }
}

template <class T>
void Network<T>::forward_batch(std::size_t index, std::size_t task, const T* theta, Workspace<T>& ws,
                               std::size_t m) const {
  const std::size_t i = whole_batch_[index];
  whole_batch(index).forward_batch(task, theta + offsets_[i], ws.Z[i].samples(m), ws.A[i].samples(m),
                                   ws.Z[i + 1].samples(m), ws.statistics[i].data());
}

template <class T>
void Network<T>::backward_batch(std::size_t index, std::size_t task, const T* theta, Workspace<T>& ws,
                                std::size_t m) const {
  const std::size_t i = whole_batch_[index];
  whole_batch(index).backward_batch(task, theta + offsets_[i], ws.statistics[i].data(), ws.A[i].samples(m),
                                    ws.Z[i + 1].samples(m), ws.G[i + 1].samples(m),
                                    ws.D_rows[i].view().row(0), ws.G[i].samples(m));
}

template <class T>
void Network<T>::remember(const Workspace<T>& ws, std::size_t m, T* buffers) const {
  for (const std::size_t i : whole_batch_) {
    layers_[i]->whole_batch()->remember(ws.statistics[i].data(), m, buffers + buffer_offsets_[i]);
  }
}

template <class T>
std::vector<GradientBlock> Network<T>::gradient_blocks(std::size_t m) const {
  std::vector<GradientBlock> blocks;
  for (std::size_t i = 0; i < depth(); ++i) {
    for (ParameterBlock block : layers_[i]->gradient_blocks(m)) {
      const std::size_t weights = weights_in(block, layers_[i]->weights());
      block.begin += offsets_[i];
      blocks.push_back({i, block, weights});
    }
  }
  return blocks;
}

template <class T>
void Network<T>::gradient(const GradientBlock& block, Workspace<T>& ws, std::size_t m,
                          const Matrix<T>& dtheta_block, const Ahead<T>& ahead) const {
  const std::size_t i = block.layer;
  ParameterBlock in_layer = block.parameters;
  in_layer.begin -= offsets_[i];
  const Occupied occupied = i == 0 ? ws.occupied.of(0, m) : Occupied{};
  const Matrix<T> D = ws.G[i + 1].view().col_range(0, m), D_rows = ws.D_rows[i].view();
  layers_[i]->gradient(in_layer, ws.Z[i].view_and_ones(), occupied, D,
                       D_rows.row_range(0, std::min(m, D_rows.rows)), dtheta_block, ahead);
}

template <class T>
Targets<T> Network<T>::targets(Workspace<T>& ws, std::size_t begin, std::size_t count) {
  Targets<T> y;
  if (ws.values.view()) {
    y.values = ws.values.view().col_range(begin, count);
  } else {
    y.labels = ws.labels.data() + begin;
  }
  if (ws.weights.view()) y.weights = ws.weights.view().row(0) + begin;
  return y;
}

template class Network<float>;
template class Network<double>;

}  // namespace backsweep
