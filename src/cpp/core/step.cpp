#include "core/step.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"
#include "core/labels.hpp"

namespace backsweep {
namespace {

// An X of fewer bytes stays in the second-level cache from one epoch to the next.
constexpr std::size_t bytes_that_stay = 1u << 18;

}  // namespace

template <class T>
Step<T>::Step(const Network<T>& network, const T* theta, const Data<T>& data, std::size_t batch_rows,
              typename Network<T>::Purpose purpose, bool with_dX)
    : network_(network),
      theta_(theta),
      data_(data),
      training_(purpose == Network<T>::Purpose::training),
      workspace_(network.workspace(batch_rows, purpose, with_dX)) {
  if (purpose != Network<T>::Purpose::inference) blocks_ = network.gradient_blocks(batch_rows);
  if (data.labels) {
    workspace_.labels.resize(batch_rows);
  } else {
    workspace_.values = OwnedMatrix<T>(network.n_out(), batch_rows);
  }
  if (data.weights) workspace_.weights = OwnedMatrix<T>(1, batch_rows);
  const std::size_t tiles = network.tiles(batch_rows);
  workspace_.gathered = OwnedMatrix<T>(tiles * widest_vector, std::max(network.n_in(), network.n_out()));
  if (training_ && bytes_of_row(data.X) > 0 && bytes_of_row(data.X) * data.X.rows > bytes_that_stay) {
    upcoming_.resize(batch_rows);
  }
  tile_sums_.resize(tiles);  // a smaller batch, the last of an epoch, has no more
}

template <class T>
double Step<T>::weight_sum(RowSelection rows) const {
  if (!data_.weights) return static_cast<double>(rows.count);
  constexpr std::size_t chunk = 64;
  T weights[chunk];
  double sum = 0;
  for (std::size_t i = 0; i < rows.count; i += chunk) {
    const std::size_t n = std::min(chunk, rows.count - i);
    gather<T>(data_.weights, rows.range(i, n), {}, {weights, n, 1, 1});
    for (std::size_t j = 0; j < n; ++j) sum += static_cast<double>(weights[j]);
  }
  return sum;
}

// Rows of the source become columns of `out`, a vector of samples at a time: straight from where they are, or
// by way of converted rows. One feature is a row of `out` as it comes. False if a row lies outside the source
// or is not finite: that is seen here, where it costs nothing, for all that training and prediction read.
template <class T>
bool Step<T>::gather_features(const Source& source, RowSelection rows, const Standardisation& standardisation,
                              std::size_t tile, Matrix<T> out) {
  if (source.cols == 1) {
    const Matrix<T> column{out.data, rows.count, 1, 1};
    return gather<T>(source, rows, standardisation, column) && all_finite<T>(column);
  }
  const bool direct = standardisation.mean == nullptr && holds<T>(source);
  const Matrix<T> samples =
      workspace_.gathered.view().row_range(tile * widest_vector, widest_vector).col_range(0, source.cols);
  bool valid = true;
  for (std::size_t i = 0; i < rows.count; i += widest_vector) {
    const std::size_t n = std::min(widest_vector, rows.count - i);
    const T* addresses[widest_vector];
    if (direct) {
      valid &= row_addresses<T>(source, rows.range(i, n), addresses);
    } else {
      valid &= gather<T>(source, rows.range(i, n), standardisation, samples.row_range(0, n));
      for (std::size_t r = 0; r < n; ++r) addresses[r] = samples.row(r);
    }
    valid &= kernels<T>().transpose_rows(addresses, n, source.cols, {out.data + i, out.rows, n, out.stride});
  }
  return valid;
}

// Into the workspace, from its sample `at` on.
template <class T>
void Step<T>::gather_rows(RowSelection rows, std::size_t tile, std::size_t at) {
  Workspace<T>& ws = workspace_;
  bool valid = gather_features(data_.X, rows, data_.standardisation, tile, ws.Z[0].columns(at, rows.count));
  if (data_.labels) {
    valid &= gather_labels(data_.y, rows, network_.n_out(), ws.labels.data() + at);
  } else {
    valid &= gather_features(data_.y, rows, {}, tile, ws.values.columns(at, rows.count));
  }
  if (data_.weights) {
    valid &= gather<T>(data_.weights, rows, {}, {ws.weights.view().row(0) + at, rows.count, 1, 1});
  }
  if (!valid) input_valid_.store(false, std::memory_order_relaxed);
  network_.look(ws, at, rows.count);
}

template <class T>
void Step<T>::forward_rows(RowSelection rows, const T* buffers, Matrix<T> out) {
  Workspace<T>& ws = workspace_;
  if (!gather_features(data_.X, rows, data_.standardisation, 0, ws.Z.front().columns(0, rows.count)))
    input_valid_.store(false, std::memory_order_relaxed);
  network_.look(ws, 0, rows.count);
  network_.forward(theta_, ws, rows.count, prediction_pass(buffers));
  kernels<T>().transpose(ws.Z.back().view().col_range(0, rows.count), out);
}

template <class T>
LossSums Step<T>::evaluate_rows(RowSelection rows, const T* buffers) {
  gather_rows(rows, 0, 0);
  network_.forward(theta_, workspace_, rows.count, prediction_pass(buffers));
  return network_.loss(workspace_, 0, rows.count, 0, data_.loss_cap);
}

template <class T>
std::size_t Step<T>::tasks(std::size_t phase, std::size_t batch_rows, std::size_t team) const {
  if (phase % 2 == 0) return network_.runs(batch_rows, team);
  const std::size_t index = phase / 2;
  return network_.batch_tasks(index < turn() ? index : 2 * turn() - 1 - index);
}

// Phases 0, 2, ... are of tiles, those between them of the layers between segments: first all on the way
// forward, then all on the way back.
template <class T>
void Step<T>::perform(std::size_t phase, std::size_t task, std::size_t team, RowSelection batch, double scale,
                      const Pass<T>& pass) {
  Workspace<T>& ws = workspace_;
  const std::size_t index = phase / 2, m = batch.count;
  if (phase % 2 == 1) {
    if (index < turn()) return network_.forward_batch(index, task, theta_, ws, m);
    return network_.backward_batch(2 * turn() - 1 - index, task, theta_, ws, m);
  }
  const Run run = network_.run(task, m, team);
  if (index == 0) {
    network_.each_tile(run, m, [&](std::size_t tile, Slice samples) {
      gather_rows(batch.range(samples.begin, samples.size()), tile, samples.begin);
    });
  }
  if (index <= turn()) network_.forward(theta_, ws, run, m, pass, segment(index));
  if (index == turn()) {
    network_.each_tile(run, m, [&](std::size_t tile, Slice samples) {
      tile_sums_[tile] = network_.loss(ws, samples.begin, samples.size(), scale, data_.loss_cap);
    });
  }
  if (index >= turn()) network_.backward(theta_, ws, run, m, pass, segment(2 * turn() - index));
}

template <class T>
Upcoming Step<T>::upcoming(RowSelection batch, std::size_t member, std::size_t team) {
  const std::size_t begin = batch.count * member / team, end = batch.count * (member + 1) / team;
  if (upcoming_.empty() || batch.order == nullptr) return {};
  const unsigned char** rows = upcoming_.data() + begin;
  find_rows(data_.X, batch.range(begin, end - begin), rows);
  return {rows, end - begin, bytes_of_row(data_.X)};
}

template <class T>
LossSums Step<T>::sums(std::size_t batch_rows) const {
  LossSums total;
  for (std::size_t tile = 0; tile < network_.tiles(batch_rows); ++tile) {
    total.loss += tile_sums_[tile].loss;
    total.correct += tile_sums_[tile].correct;
  }
  return total;
}

template class Step<float>;
template class Step<double>;

}  // namespace backsweep
