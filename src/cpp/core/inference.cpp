#include "core/inference.hpp"

#include <algorithm>
#include <memory>

#include "core/kernels/kernels.hpp"
#include "core/threads.hpp"

namespace backsweep {
namespace {

static_assert(few_rows <= several_samples, "what row_product takes");

// Nothing is swept back over these: a larger piece reads the weights less often.
constexpr std::size_t tiles_at_once = 2;
constexpr std::size_t tiles_at_once_of_large = 4;

// Pieces whose sums are kept until they are added in their order: memory does not grow with the rows.
constexpr std::size_t pieces_at_a_time = 1024;

// Rows that are swept at once, and in how many pieces all m come.
struct Pieces {
  std::size_t rows;
  std::size_t count;
};

template <class T>
Pieces pieces(const Network<T>& network, std::size_t m) {
  const std::size_t tiles = network.joins_tiles() ? tiles_at_once_of_large : tiles_at_once;
  const std::size_t rows = std::clamp<std::size_t>(m, 1, tiles * network.samples_in_tile());
  return {rows, (m + rows - 1) / rows};
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

template <class T>
bool all_valid(const std::vector<std::unique_ptr<Step<T>>>& steps) {
  return std::all_of(steps.begin(), steps.end(), [](const auto& step) { return step->input_valid(); });
}

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
  const auto [rows, count] = pieces(network, X.rows);
  Data<T> data;
  data.X = X;
  data.standardisation = standardisation;
  const auto piece = [&, rows = rows](std::size_t i) {
    return RowSelection{nullptr, i * rows, std::min(rows, X.rows - i * rows)};
  };
  const std::size_t most = team_size(forward_work(network, X.rows), count * most_parts(network), n_threads);
  if (count < most && network.shares_layers_forward(X.rows, count, most)) {
    Step<T> step(network, theta, data, rows, Network<T>::Purpose::inference);
    PhasedTasks phases(most);
    run_team(most, [&, rows = rows, count = count](Member member) {
      std::size_t phase = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const Matrix<T> Z = out.row_range(i * rows, piece(i).count);
        step.forward_rows(piece(i), buffers, Z, member, phases, phase);
      }
    });
    return step.input_valid();
  }
  const std::size_t threads = std::min(count, most);
  std::vector<std::unique_ptr<Step<T>>> steps;
  for (std::size_t t = 0; t < threads; ++t) {
    steps.push_back(std::make_unique<Step<T>>(network, theta, data, rows, Network<T>::Purpose::inference));
  }
  Tasks tasks(threads);
  run_team(threads, [&, rows = rows, count = count](Member member) {
    tasks.each(member, count, [&](std::size_t i) {
      steps[member.index]->forward_rows(piece(i), buffers, out.row_range(i * rows, piece(i).count));
    });
  });
  return all_valid(steps);
}

template <class T>
Evaluation evaluate(const Network<T>& network, const T* theta, const T* buffers, const Data<T>& data,
                    std::size_t n_threads) {
  const std::size_t m = data.X.rows;
  const auto [rows, count] = pieces(network, m);
  const std::size_t threads = team_size(forward_work(network, m), count, n_threads);
  std::vector<std::unique_ptr<Step<T>>> steps;
  for (std::size_t t = 0; t < threads; ++t) {
    steps.push_back(std::make_unique<Step<T>>(network, theta, data, rows, Network<T>::Purpose::inference));
  }
  std::vector<LossSums> sums(std::min(count, pieces_at_a_time));
  std::vector<double> weights(sums.size());
  LossSums total;
  double weight = 0;
  for (std::size_t first = 0; first < count; first += sums.size()) {
    const std::size_t n = std::min(sums.size(), count - first);
    Tasks tasks(threads);
    run_team(threads, [&, rows = rows](Member member) {
      tasks.each(member, n, [&](std::size_t i) {
        const std::size_t begin = (first + i) * rows;
        const RowSelection selection{nullptr, begin, std::min(rows, m - begin)};
        weights[i] = steps[member.index]->weight_sum(selection);
        sums[i] = steps[member.index]->evaluate_rows(selection, buffers);
      });
    });
    for (std::size_t i = 0; i < n; ++i) {
      total.loss += sums[i].loss;
      total.correct += sums[i].correct;
      weight += weights[i];
    }
  }
  return means(total, weight, all_valid(steps));
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
    step.gradient(block, m, dtheta + step.blocks()[block].slice.begin);
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
