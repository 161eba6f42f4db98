// One step on one batch: samples are gathered, swept forward and backward tile by tile, then the gradient is
// taken block by block. Tiles and blocks may be done by any thread.
#pragma once

#include <atomic>
#include <limits>
#include <vector>

#include "core/narrow_network.hpp"
#include "core/phases.hpp"
#include "core/source.hpp"
#include "core/threads.hpp"

namespace backsweep {

// The rows to learn from, read where they are.
template <class T>
struct Data {
  Source X;
  Source y;             // one column of labels, or one column for each output
  bool labels = false;  // which of the two
  Source weights;       // one column, or no data: every row counts 1
  Standardisation standardisation;
  T loss_cap = std::numeric_limits<T>::infinity();  // see Targets
};

template <class T>
class Step {
 public:
  Step(const Network<T>& network, const T* theta, const Data<T>& data, std::size_t batch_rows,
       typename Network<T>::Purpose purpose, bool with_dX = false);

  // Σw over a selection of rows, in their order.
  double weight_sum(const RowSelection& rows) const;

  // Gathers rows and what is said of them, and sweeps them forward in a prediction pass. Then the sums of the
  // loss of some of these samples.
  void predict(const RowSelection& rows, const T* buffers);
  LossSums loss(Slice samples, double scale = 0);

  // Gathers rows, sweeps them forward in a prediction pass, and puts Z[L] into the rows of out.
  void forward_rows(const RowSelection& rows, const T* buffers, const Matrix<T>& out);

  // The same, to be called by every member of a team: it shares each layer. `phase` counts on.
  void forward_rows(const RowSelection& rows, const T* buffers, const Matrix<T>& out, Member member,
                    PhasedTasks& phases, std::size_t& phase);

  // Both sweeps over a batch fall into phases, one after another, and a phase into tasks, which may be done
  // at the same time. They are those that suit the team: it changes no bit. scale = 1/Σw makes G the gradient
  // of the mean.
  const Phases& phases(std::size_t batch_rows, std::size_t team) const {
    return team > 1 && network_.shares_layers(batch_rows, team) ? by_layers_ : by_tiles_;
  }
  std::size_t tasks(Phase phase, std::size_t batch_rows, std::size_t team) const;
  void perform(Phase phase, std::size_t task, std::size_t team, const RowSelection& batch, double scale,
               const Pass<T>& pass);

  // Takes the batch's statistics into the buffers.
  void remember(std::size_t batch_rows, T* buffers) const {
    network_.remember(workspace_, batch_rows, buffers);
  }

  // The sums over the batch's tiles, added in their order.
  LossSums sums(std::size_t batch_rows) const;

  // Whether all that was read so far is input: rows inside the data, finite entries, labels in their range.
  bool input_valid() const { return input_valid_.load(std::memory_order_relaxed); }

  // What the gradient falls into, and the one of a part.
  const std::vector<GradientBlock>& blocks() const { return blocks_; }
  void gradient(std::size_t block, std::size_t batch_rows, const Matrix<T>& dtheta_block,
                const Ahead<T>& ahead = {}) {
    network_.gradient(blocks_[block], workspace_, batch_rows, dtheta_block, ahead);
  }

  // Of the rows of X that a batch will gather a member's share, and as much of the order of the batch after
  // it, which is asked for at once.
  Upcoming upcoming(const RowSelection& batch, std::size_t member, std::size_t team) {
    const Slice share{batch.count * member / team, batch.count * (member + 1) / team};
    return upcoming(batch, share, upcoming_.data() + share.begin);
  }

  // A step in which every member has a narrow network to itself. It gathers the whole batch into that; and
  // the targets of some tiles, which it then takes from Z[1] to the loss and back to D[1].
  void gather_batch(const RowSelection& batch, NarrowNetwork<T>& own);
  void gather_targets(const Run& run, const RowSelection& batch);
  void turn(const Run& run, const RowSelection& batch, double scale, const Pass<T>& pass);

  // All of the rows of X that a batch will gather, a member's share first.
  Upcoming upcoming(const RowSelection& batch, Member member, NarrowNetwork<T>& own) const {
    const std::size_t first = batch.count * member.index / member.team;
    return upcoming(batch, {first, first + batch.count}, own.upcoming());
  }

  Workspace<T>& workspace() { return workspace_; }

 private:
  // The segment of layers after which the sweep turns round.
  std::size_t turning_segment() const { return training_ ? network_.segments() - 1 : 0; }
  Slice segment(std::size_t index) const {
    return training_ ? network_.segment(index) : network_.all_layers();
  }

  void sweep(std::size_t index, const Run& run, const RowSelection& batch, double scale, const Pass<T>& pass);
  void check(bool valid) {
    if (!valid) input_valid_.store(false, std::memory_order_relaxed);
  }
  void gather_rows(const RowSelection& rows, std::size_t at);
  void gather_targets(const RowSelection& rows, std::size_t at);
  std::size_t pieces_of_features(std::size_t batch_rows, std::size_t team) const;
  std::size_t gather_pieces(std::size_t batch_rows, std::size_t team) const;
  void gather_piece(std::size_t task, std::size_t team, const RowSelection& batch);
  // So many rows from `at` on, where there are any.
  Matrix<T> gathered(std::size_t at) {
    const Matrix<T> rows = workspace_.gathered.view();
    return rows ? rows.row_range(at, widest_vector) : rows;
  }
  Upcoming upcoming(const RowSelection& batch, Slice share, const unsigned char** addresses) const;
  bool gather_features(const Source& source, const RowSelection& rows, const Standardisation& standardisation,
                       const Matrix<T>& by_way_of, const Matrix<T>& out);

  const Network<T>& network_;
  const T* theta_;
  Data<T> data_;
  bool training_;  // else every pass is one of prediction
  Phases by_tiles_;
  Phases by_layers_;
  Workspace<T> workspace_;
  std::vector<GradientBlock> blocks_;
  std::vector<LossSums> tile_sums_;
  std::vector<const unsigned char*> upcoming_;  // the rows of the next batch; of none that comes by itself
  std::atomic<bool> input_valid_{true};
};

}  // namespace backsweep
