// A network of one hidden layer is a sum of narrower ones, each of some of its hidden units: but for the sums
// of the last layer they share nothing. A member of a team that has one of these to itself finds in its own
// caches the batch, most parameters and what belongs to them: no other core has read or written them.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/crew.hpp"
#include "core/network.hpp"
#include "core/optimizer.hpp"
#include "core/penalty.hpp"

namespace backsweep {

template <class T>
class NarrowNetwork {
 public:
  // Whether a step on batches of m is sooner done on narrow networks, one to each of a team. It changes no
  // bit.
  static bool suits(const Network<T>& network, std::size_t m, std::size_t team);

  // A member's, for batches of up to m, where the whole network's gradient falls into these blocks: they
  // are whole rows. It has a state where the whole network has one.
  NarrowNetwork(const Network<T>& network, const std::vector<GradientBlock>& blocks, Member member,
                std::size_t m, const OptimizerState<T>& state);

  // Parameters of the first layer, and their state, leave the whole network's and return to it.
  void take(T* theta, const OptimizerState<T>& state);
  void give(T* theta, const OptimizerState<T>& state) const;

  // The batch, what is known of it, rows that are converted on their way into it, and addresses of such as
  // will be.
  OwnedMatrix<T>& Z() { return Z_; }
  void look(Slice samples);
  Matrix<T> gathered() { return gathered_.view(); }
  const unsigned char** upcoming() { return upcoming_.data(); }

  // The parts of a step on the first m samples: Z[0] → its units of Z[1], D[1] → its units of D[0], and the
  // gradient of its parameters block by block, with decay · W and followed by its update. The last layer's
  // parameters, and all else, are where the whole network has them; so whoever reads those takes their
  // squares, and this network its first layer's, where there is a decay.
  void forward(Workspace<T>& ws, std::size_t m, const Pass<T>& pass);
  void backward(const T* theta, Workspace<T>& ws, std::size_t m, const Pass<T>& pass);
  struct Descent {
    const OptimizerSettings& optimizer;
    StepSize size;
    double decay;
    WeightSquares& squares;
    Upcoming upcoming;
  };
  void descend(Descent descent, T* theta, const OptimizerState<T>& state, Workspace<T>& ws, std::size_t m);

 private:
  // What the gradient of a layer is taken from, and the arrays in which its parameters begin so far.
  struct Swept {
    const Layer<T>& layer;
    const std::vector<ParameterBlock>& blocks;
    Matrix<T> Z;
    Occupied occupied;
    Matrix<T> D, D_rows;
    T* theta;
    const OptimizerState<T>& state;
    std::size_t offset;
    WeightSquares* squares;  // null: somebody else takes them
  };
  void descend(const Swept& swept, Descent& descent);

  // f(own, the whole network's) for the parameters of the first layer, and for every state.
  template <class F>
  void each_array(T* theta, const OptimizerState<T>& state, const F& f) const;
  // Its units of Z[1], which all read.
  Matrix<T> hidden(Workspace<T>& ws, Slice samples) const {
    return ws.Z[1].columns(samples.begin, samples.size()).row_range(units_.begin, units_.size());
  }
  // Its rows of the last layer begin here.
  std::size_t last_offset() const { return network_.parameters_before(1) + units_.begin * network_.n_out(); }

  const Network<T>& network_;
  Slice units_;
  std::unique_ptr<Layer<T>> first_, last_;
  std::vector<ParameterBlock> first_blocks_, last_blocks_;
  Buffer<T> theta_;  // of the first layer
  std::array<Buffer<T>, max_states> states_;
  OptimizerState<T> state_{};
  Buffer<T> gradient_;  // of a block
  bool asks_for_update_;
  OwnedMatrix<T> Z_, A_, G_, D_rows_;  // Z[0], and A[0], G[1] and D[0] of its units
  OwnedMatrix<T> gathered_;
  OccupiedFeatures occupied_;
  std::vector<const unsigned char*> upcoming_;
};

}  // namespace backsweep
