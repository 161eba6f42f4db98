#include "core/step.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"
#include "core/labels.hpp"

namespace backsweep {
namespace {

// An X of fewer bytes stays in the second-level cache from one epoch to the next.
constexpr std::size_t X_bytes_that_stay = 1u << 18;

// Whether rows come into a batch without being gathered and converted first.
template <class T>
bool is_direct(const Source& source, const Standardisation& standardisation) {
  return source.cols == 1 || (standardisation.mean == nullptr && holds<T>(source));
}

std::size_t pieces_of_samples(std::size_t batch_rows) {
  return (batch_rows + widest_vector - 1) / widest_vector;
}
// Of less a piece is not worth handing out.
constexpr std::size_t fewest_features = 64;

}  // namespace

template <class T>
Step<T>::Step(const Network<T>& network, const T* theta, const Data<T>& data, std::size_t batch_rows,
              typename Network<T>::Purpose purpose, bool with_dX)
    : network_(network),
      theta_(theta),
      data_(data),
      training_(purpose == Network<T>::Purpose::training),
      workspace_(network.workspace(batch_rows, purpose, with_dX)) {
  if (purpose != Network<T>::Purpose::inference) {
    by_tiles_ = phases_by_tiles(network, training_);
    by_layers_ = phases_by_layers(network, training_, with_dX);
    blocks_ = network.gradient_blocks(batch_rows);
  }
  if (data.labels) {
    workspace_.labels.resize(batch_rows);
  } else if (data.y) {
    workspace_.values = OwnedMatrix<T>(network.n_out(), batch_rows);
  }
  if (data.weights) workspace_.weights = OwnedMatrix<T>(1, batch_rows);
  const std::size_t tiles = network.tiles(batch_rows);
  if (!is_direct<T>(data.X, data.standardisation) || (data.y && !data.labels && !is_direct<T>(data.y, {}))) {
    const std::size_t rows = whole_vectors(batch_rows);
    workspace_.gathered = OwnedMatrix<T>(rows, std::max(network.n_in(), network.n_out()));
  }
  if (training_ && bytes_of_row(data.X) > 0 && bytes_of_row(data.X) * data.X.rows > X_bytes_that_stay) {
    upcoming_.resize(batch_rows);
  }
  tile_sums_.resize(tiles);  // a smaller batch, the last of an epoch, has no more
}

template <class T>
double Step<T>::weight_sum(const RowSelection& rows) const {
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
// What is converted goes by way of the same few rows, a tile's, a piece's or a member's own.
template <class T>
bool Step<T>::gather_features(const Source& source, const RowSelection& rows,
                              const Standardisation& standardisation, const Matrix<T>& by_way_of,
                              const Matrix<T>& out) {
  if (source.cols == 1) {
    const Matrix<T> column{out.data, rows.count, 1, 1};
    return gather<T>(source, rows, standardisation, column) && all_finite<T>(column);
  }
  const bool direct = is_direct<T>(source, standardisation);
  const Matrix<T> samples = direct ? Matrix<T>{} : by_way_of.col_range(0, source.cols);
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
void Step<T>::gather_rows(const RowSelection& rows, std::size_t at) {
  Workspace<T>& ws = workspace_;
  check(gather_features(data_.X, rows, data_.standardisation, gathered(at), ws.Z[0].columns(at, rows.count)));
  gather_targets(rows, at);
}

template <class T>
void Step<T>::gather_targets(const RowSelection& rows, std::size_t at) {
  Workspace<T>& ws = workspace_;
  if (data_.labels) {
    check(gather_labels(data_.y, rows, network_.n_out(), ws.labels.data() + at));
  } else {
    check(gather_features(data_.y, rows, {}, gathered(at), ws.values.columns(at, rows.count)));
  }
  if (data_.weights) {
    check(gather<T>(data_.weights, rows, {}, {ws.weights.view().row(0) + at, rows.count, 1, 1}));
  }
}

// Rows that a team gathers together fall into pieces of a vector of samples and, where they are read as they
// are, some of the features.
template <class T>
std::size_t Step<T>::pieces_of_features(std::size_t batch_rows, std::size_t team) const {
  if (!is_direct<T>(data_.X, data_.standardisation)) return 1;
  const std::size_t pieces = pieces_of_samples(batch_rows), most = network_.n_in() / fewest_features;
  return std::clamp<std::size_t>((2 * team + pieces - 1) / pieces, 1, std::max<std::size_t>(most, 1));
}

template <class T>
std::size_t Step<T>::gather_pieces(std::size_t batch_rows, std::size_t team) const {
  return pieces_of_samples(batch_rows) * pieces_of_features(batch_rows, team);
}

template <class T>
void Step<T>::gather_piece(std::size_t task, std::size_t team, const RowSelection& batch) {
  const std::size_t n = pieces_of_features(batch.count, team), k = task % n, at = task / n * widest_vector;
  const RowSelection rows = batch.range(at, std::min(widest_vector, batch.count - at));
  if (k == 0 && data_.y) gather_targets(rows, at);
  const Matrix<T> Z = workspace_.Z[0].columns(at, rows.count);
  if (n == 1) return check(gather_features(data_.X, rows, data_.standardisation, gathered(at), Z));
  const std::size_t begin = Z.rows * k / n, count = Z.rows * (k + 1) / n - begin;
  check(gather_features(data_.X.col_range(begin, count), rows, {}, Matrix<T>{}, Z.row_range(begin, count)));
}

template <class T>
void Step<T>::forward_rows(const RowSelection& rows, const T* buffers, const Matrix<T>& out) {
  Workspace<T>& ws = workspace_;
  check(gather_features(data_.X, rows, data_.standardisation, gathered(0),
                        ws.Z.front().columns(0, rows.count)));
  network_.look(ws, 0, rows.count);
  network_.forward(theta_, ws, rows.count, prediction_pass(buffers));
  kernels<T>().transpose(ws.Z.back().view().col_range(0, rows.count), out);
}

template <class T>
void Step<T>::forward_rows(const RowSelection& rows, const T* buffers, const Matrix<T>& out, Member member,
                           PhasedTasks& phases, std::size_t& phase) {
  Workspace<T>& ws = workspace_;
  const std::size_t m = rows.count, team = member.team;
  const auto share = [&](std::size_t n, const auto& f) { phases.each(member, phase++, n, f); };
  share(gather_pieces(m, team), [&](std::size_t piece) { gather_piece(piece, team, rows); });
  share(network_.omits_zeros(), [&](std::size_t) { network_.look(ws, 0, m); });
  for (std::size_t i = 0; i < network_.depth(); ++i) {
    share(network_.output_parts(i, m, team), [&](std::size_t part) {
      network_.forward_outputs(i, part, theta_, ws, m, team, prediction_pass(buffers));
    });
  }
  share(pieces_of_samples(m), [&](std::size_t piece) {
    const std::size_t begin = piece * widest_vector, count = std::min(widest_vector, m - begin);
    kernels<T>().transpose(ws.Z.back().view().col_range(begin, count), out.row_range(begin, count));
  });
}

template <class T>
void Step<T>::predict(const RowSelection& rows, const T* buffers) {
  gather_rows(rows, 0);
  network_.look(workspace_, 0, rows.count);
  network_.forward(theta_, workspace_, rows.count, prediction_pass(buffers));
}

template <class T>
LossSums Step<T>::loss(Slice samples, double scale) {
  return network_.loss(workspace_, samples.begin, samples.size(), scale, data_.loss_cap);
}

template <class T>
std::size_t Step<T>::tasks(Phase phase, std::size_t batch_rows, std::size_t team) const {
  using Work = Phase::Work;
  switch (phase.work) {
    case Work::sweep:
      return network_.runs(batch_rows, team);
    case Work::gather:
      return gather_pieces(batch_rows, team);
    case Work::forward:
      return network_.forward_parts(phase.index, batch_rows, team);
    case Work::backward:
      return network_.backward_parts(phase.index, batch_rows, team);
    case Work::batch_forward:
    case Work::batch_backward:
      return network_.batch_tasks(phase.index);
    case Work::look:
    case Work::loss:
    case Work::slope:
      break;
  }
  return network_.tiles(batch_rows);
}

template <class T>
void Step<T>::perform(Phase phase, std::size_t task, std::size_t team, const RowSelection& batch,
                      double scale, const Pass<T>& pass) {
  using Work = Phase::Work;
  Workspace<T>& ws = workspace_;
  const std::size_t m = batch.count, last = network_.depth() - 1;
  switch (phase.work) {
    case Work::sweep:
      return sweep(phase.index, network_.run(task, m, team), batch, scale, pass);
    case Work::gather:
      return gather_piece(task, team, batch);
    case Work::look:
      return network_.look(ws, network_.tile(task, m).begin, network_.tile(task, m).size());
    case Work::forward:
      return network_.forward_part(phase.index, task, theta_, ws, m, team, pass);
    case Work::loss:
      tile_sums_[task] = loss(network_.tile(task, m), scale);
      if (!network_.is_by_units(last)) return;
      return network_.slope(last, ws, network_.all_outputs(last, network_.tile(task, m)), pass);
    case Work::slope:
      return network_.slope(phase.index, ws, network_.all_outputs(phase.index, network_.tile(task, m)), pass);
    case Work::backward:
      return network_.backward_part(phase.index, task, theta_, ws, m, team, pass);
    case Work::batch_forward:
      return network_.forward_batch(phase.index, task, theta_, ws, m);
    case Work::batch_backward:
      return network_.backward_batch(phase.index, task, theta_, ws, m);
  }
}

template <class T>
void Step<T>::sweep(std::size_t index, const Run& run, const RowSelection& batch, double scale,
                    const Pass<T>& pass) {
  Workspace<T>& ws = workspace_;
  const std::size_t m = batch.count;
  if (index == 0) {
    network_.each_tile(run, m, [&](std::size_t, Slice samples) {
      gather_rows(batch.range(samples.begin, samples.size()), samples.begin);
      network_.look(ws, samples.begin, samples.size());
    });
  }
  if (index <= turning_segment()) network_.forward(theta_, ws, run, m, pass, segment(index));
  if (index == turning_segment()) {
    network_.each_tile(run, m,
                       [&](std::size_t tile, Slice samples) { tile_sums_[tile] = loss(samples, scale); });
  }
  if (index >= turning_segment())
    network_.backward(theta_, ws, run, m, pass, segment(2 * turning_segment() - index));
}

template <class T>
Upcoming Step<T>::upcoming(const RowSelection& batch, Slice share, const unsigned char** addresses) const {
  if (upcoming_.empty() || batch.order == nullptr) return {};
  const std::size_t m = batch.count, n = share.size(), before_end = std::min(n, m - share.begin);
  find_rows(data_.X, batch.range(share.begin, before_end), addresses);
  find_rows(data_.X, batch.range(0, n - before_end), addresses + before_end);
  // The order is read a batch at a time, too rarely for the processor to foresee.
  const std::int64_t* after = batch.order + batch.begin + m;
  for (std::size_t i = 0; i < n; i += cache_line / sizeof(*after)) ask_for(after + (share.begin + i) % m);
  return {addresses, n, bytes_of_row(data_.X)};
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
