#include "core/inference.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>
#include <optional>

#include "core/kernels/kernels.hpp"
#include "core/threads.hpp"

namespace backsweep {
namespace {

static_assert(few_rows <= several_samples, "what row_product takes");

// Nothing is swept back over these: a larger piece reads the weights less often.
constexpr std::size_t tiles_at_once = 2;
constexpr std::size_t tiles_at_once_of_large = 4;

// A product computes two vectors of samples at a time: groups of as many are computed alike wherever they
// lie, and what is left over goes with the last. So pieces of any number of groups give the same bits.
constexpr std::size_t rows_in_group = 2 * widest_vector;
static_assert(rows_in_group > several_samples, "a group takes no other product than many rows");

// Groups whose sums are kept until they are added in their order: memory does not grow with the rows.
constexpr std::size_t groups_at_a_time = 4096;

struct Groups {
  std::size_t rows;

  std::size_t count() const { return rows == 0 ? 0 : std::max<std::size_t>(rows / rows_in_group, 1); }
  Slice of(std::size_t begin, std::size_t end) const {
    return {begin * rows_in_group, end >= count() ? rows : end * rows_in_group};
  }
};

// Rows are swept a piece at a time, and a piece by one thread, or by a team that shares each layer.
struct Pieces {
  Groups groups;
  std::size_t groups_in_piece;

  std::size_t count() const { return (groups.count() + groups_in_piece - 1) / groups_in_piece; }
  Slice groups_of(std::size_t begin, std::size_t end) const {
    return {begin * groups_in_piece, std::min(end * groups_in_piece, groups.count())};
  }
  RowSelection operator[](std::size_t i) const {
    const Slice its = groups_of(i, i + 1), rows = groups.of(its.begin, its.end);
    return {nullptr, rows.begin, rows.size()};
  }
  std::size_t most_rows() const {  // the last may have most
    return count() == 0 ? 0 : std::max((*this)[0].count, (*this)[count() - 1].count);
  }
};

template <class T>
Pieces large_pieces(const Network<T>& network, std::size_t m) {
  const std::size_t tiles = network.has_large_layer() ? tiles_at_once_of_large : tiles_at_once;
  return {{m}, std::max<std::size_t>(tiles * network.samples_in_tile() / rows_in_group, 1)};
}

// As large as leaves the same number to each member.
template <class T>
Pieces pieces_for(const Network<T>& network, std::size_t m, std::size_t team) {
  const Pieces large = large_pieces(network, m);
  const std::size_t rounds = (large.count() + team - 1) / team,
                    shares = std::max(rounds, std::size_t{1}) * team;
  return {large.groups, std::max<std::size_t>((large.groups.count() + shares - 1) / shares, 1)};
}

template <class T>
double forward_work(const Network<T>& network, std::size_t m) {
  return network.forward_flops() * static_cast<double>(m);
}

// As many threads as could share a layer.
template <class T>
std::size_t most_parts(const Network<T>& network) {
  return std::max<std::size_t>(network.widest() / widest_vector, 1);
}

// A single thread takes longer than this for a work, and a team that is not there by then is not worth
// waiting for.
double patience(double flops) {
  constexpr double flops_of_fast_core = 2e11;
  return std::min(flops / flops_of_fast_core, longest_patience);
}

// A team that takes rows piece by piece.
template <class T>
class Sweepers {
 public:
  Sweepers(const Network<T>& network, const T* theta, const Data<T>& data, const Pieces& pieces,
           std::size_t team)
      : network_(network),
        theta_(theta),
        data_(data),
        pieces_(pieces),
        team_(std::min(team, pieces.count())) {}

  // Calls f(step, i) for n pieces. A member that gets one makes a step of its own: in memory that it has had
  // before, and not from another's cache.
  template <class F>
  void each(std::size_t n, const F& f) {
    Tasks tasks(team_);
    std::exception_ptr failure;
    std::atomic<bool> fails{false};
    const auto body = [&](Member member) {
      std::optional<Step<T>> step;
      try {
        tasks.each(member, n, [&](std::size_t i) {
          if (!step)
            step.emplace(network_, theta_, data_, pieces_.most_rows(), Network<T>::Purpose::inference);
          f(*step, i);
        });
      } catch (const std::bad_alloc&) {
        if (!fails.exchange(true)) failure = std::current_exception();
      }
      if (step && !step->input_valid()) valid_ = false;
    };
    run_team(team_, body, patience(forward_work(network_, data_.X.rows)));
    if (failure) std::rethrow_exception(failure);
  }

  bool input_valid() const { return valid_; }

 private:
  const Network<T>& network_;
  const T* theta_;
  const Data<T>& data_;
  const Pieces& pieces_;
  std::size_t team_;
  std::atomic<bool> valid_{true};
};

Evaluation means(const LossSums& sums, double weight, bool valid) {
  return weight > 0 ? Evaluation{sums.loss / weight, sums.correct / weight, valid} : Evaluation{0, 0, valid};
}

}  // namespace

template <class T>
void forward_few(const Network<T>& network, const T* theta, const T* buffers, const ConstMatrix<T>& X,
                 const Matrix<T>& out, std::size_t n_threads) {
  OwnedMatrix<T> between(2 * X.rows, network.widest());
  // The weights are read for nearly nothing else, so memory sets the pace; but it takes some time to wake a
  // team.
  const double work = static_cast<double>(X.rows) * static_cast<double>(network.parameters());
  network.forward_rows(theta, buffers, X, out, between.view().row_range(0, X.rows),
                       between.view().row_range(X.rows, X.rows),
                       team_size(work, most_parts(network), n_threads));
}

template <class T>
bool forward(const Network<T>& network, const T* theta, const T* buffers, const Source& X,
             const Standardisation& standardisation, const Matrix<T>& out, std::size_t n_threads) {
  if (X.rows == 0) return true;
  if (X.rows <= few_rows) {
    OwnedMatrix<T> input(X.rows, network.n_in());
    const Matrix<T> rows = input.view().col_range(0, network.n_in());
    gather<T>(X, {nullptr, 0, X.rows}, standardisation, rows);
    forward_few<T>(network, theta, buffers, rows, out, n_threads);
    return all_finite<T>(rows);
  }
  Data<T> data;
  data.X = X;
  data.standardisation = standardisation;
  const std::size_t parts = Groups{X.rows}.count() * most_parts(network);
  const std::size_t team = team_size(forward_work(network, X.rows), parts, n_threads);
  const Pieces large = large_pieces(network, X.rows), pieces = pieces_for(network, X.rows, team);
  if (network.shares_layers_forward(X.rows, large.count(), pieces.count(), team)) {
    Step<T> step(network, theta, data, large.most_rows(), Network<T>::Purpose::inference);
    PhasedTasks phases(team);
    run_team(team, [&](Member member) {
      std::size_t phase = 0;
      for (std::size_t i = 0; i < large.count(); ++i) {
        const RowSelection rows = large[i];
        step.forward_rows(rows, buffers, out.row_range(rows.begin, rows.count), member, phases, phase);
      }
    });
    return step.input_valid();
  }
  Sweepers<T> sweepers(network, theta, data, pieces, team);
  sweepers.each(pieces.count(), [&](Step<T>& step, std::size_t i) {
    const RowSelection rows = pieces[i];
    step.forward_rows(rows, buffers, out.row_range(rows.begin, rows.count));
  });
  return sweepers.input_valid();
}

template <class T>
Evaluation evaluate(const Network<T>& network, const T* theta, const T* buffers, const Data<T>& data,
                    std::size_t n_threads) {
  const std::size_t m = data.X.rows;
  const Groups groups{m};
  const std::size_t team = team_size(forward_work(network, m), groups.count(), n_threads);
  const Pieces pieces = pieces_for(network, m, team);
  Sweepers<T> sweepers(network, theta, data, pieces, team);
  const std::size_t at_a_time = std::max<std::size_t>(groups_at_a_time / pieces.groups_in_piece, 1);
  std::vector<LossSums> sums(std::min(groups.count(), at_a_time * pieces.groups_in_piece));
  std::vector<double> weights(sums.size());
  LossSums total;
  double weight = 0;
  for (std::size_t first = 0; first < pieces.count(); first += at_a_time) {
    const Slice round = pieces.groups_of(first, first + at_a_time);
    sweepers.each(std::min(at_a_time, pieces.count() - first), [&](Step<T>& step, std::size_t i) {
      const RowSelection piece = pieces[first + i];
      step.predict(piece, buffers);
      const Slice mine = pieces.groups_of(first + i, first + i + 1);
      for (std::size_t g = mine.begin; g < mine.end; ++g) {
        const Slice rows = groups.of(g, g + 1);
        weights[g - round.begin] = step.weight_sum({nullptr, rows.begin, rows.size()});
        sums[g - round.begin] = step.loss({rows.begin - piece.begin, rows.end - piece.begin});
      }
    });
    for (std::size_t g = 0; g < round.size(); ++g) {
      total.loss += sums[g].loss;
      total.correct += sums[g].correct;
      weight += weights[g];
    }
  }
  return means(total, weight, sweepers.input_valid());
}

template <class T>
Evaluation loss_and_gradients(const Network<T>& network, const T* theta, const Data<T>& data,
                              const Pass<T>& pass, T* dtheta, const Matrix<T>& dX, std::size_t n_threads) {
  using Purpose = typename Network<T>::Purpose;
  const std::size_t m = data.X.rows;
  Step<T> step(network, theta, data, m, pass.training ? Purpose::training : Purpose::gradients,
               static_cast<bool>(dX));
  const std::size_t blocks = step.blocks().size();
  const std::size_t threads =
      team_size(network.step_flops() * static_cast<double>(m), std::max(network.tiles(m), blocks), n_threads);
  const RowSelection batch{nullptr, 0, m};
  const double weight = step.weight_sum(batch);
  const double mean = weight > 0 ? 1 / weight : 0;

  for (const Phase phase : step.phases(m, threads)) {
    for_each_task(threads, step.tasks(phase, m, threads),
                  [&](std::size_t task) { step.perform(phase, task, threads, batch, mean, pass); });
  }
  for_each_task(threads, blocks, [&](std::size_t block) {
    const ParameterBlock& part = step.blocks()[block].parameters;
    step.gradient(block, m, {dtheta + part.begin, part.rows, part.cols, part.stride});
  });

  if (dX) {
    const std::vector<double>& inverse_scale = data.standardisation.inverse_scale;  // ∂Z[0]/∂X
    kernels<T>().transpose(step.workspace().G.front().view().col_range(0, m), dX);
    for (std::size_t i = 0; i < m && !inverse_scale.empty(); ++i) {
      for (std::size_t j = 0; j < dX.cols; ++j)
        dX(i, j) = static_cast<T>(static_cast<double>(dX(i, j)) * inverse_scale[j]);
    }
  }
  return means(step.sums(m), weight, step.input_valid());
}

#define BACKSWEEP_INSTANTIATE(T)                                                                             \
  template void forward_few<T>(const Network<T>&, const T*, const T*, const ConstMatrix<T>&,                 \
                               const Matrix<T>&, std::size_t);                                               \
  template bool forward<T>(const Network<T>&, const T*, const T*, const Source&, const Standardisation&,     \
                           const Matrix<T>&, std::size_t);                                                   \
  template Evaluation evaluate<T>(const Network<T>&, const T*, const T*, const Data<T>&, std::size_t);       \
  template Evaluation loss_and_gradients<T>(const Network<T>&, const T*, const Data<T>&, const Pass<T>&, T*, \
                                            const Matrix<T>&, std::size_t);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep
