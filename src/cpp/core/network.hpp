// A chain of layers and a loss: the two sweeps of the notes, on a tile of the batch's samples.
#pragma once

#include <memory>
#include <vector>

#include "core/layer.hpp"
#include "core/loss.hpp"
#include "core/source.hpp"
#include "core/workspace.hpp"

namespace backsweep {

// A part of the gradient.
struct GradientBlock {
  std::size_t layer;
  ParameterBlock parameters;  // of the network's
  std::size_t weights;        // how many of them a penalty is for: they come first
};

// Tiles of a batch that one thread sweeps together, and their samples.
struct Run {
  Slice tiles;
  Slice samples;
};

// What one thread takes of a layer that a team shares.
struct Part {
  Slice units;
  Slice samples;
};

template <class T>
class Network {
 public:
  Network(std::vector<std::unique_ptr<Layer<T>>> layers, Loss loss);

  std::size_t depth() const { return layers_.size(); }
  std::size_t n_in() const { return layers_.front()->n_in(); }
  std::size_t n_out() const { return layers_.back()->n_out(); }
  std::size_t parameters() const { return offsets_.back(); }
  std::size_t buffers() const { return buffer_offsets_.back(); }
  Loss loss() const { return loss_; }
  const Layer<T>& layer(std::size_t i) const { return *layers_[i]; }
  std::size_t parameters_before(std::size_t i) const { return offsets_[i]; }

  // Multiplications and additions for one sample: forward, both sweeps, and a whole training step.
  double forward_flops() const { return forward_flops_; }
  double sweeps_flops() const { return 2 * forward_flops_ - layers_.front()->flops(); }
  double step_flops() const { return forward_flops_ + sweeps_flops(); }

  // A batch of m falls into tiles. They depend on the problem alone, never on the number of threads: that is
  // why results do not either. Tiles begin at whole vectors; what is left over goes to the last.
  std::size_t tiles(std::size_t m) const;
  Slice tile(std::size_t index, std::size_t m) const;  // its samples
  std::size_t samples_in_tile() const { return samples_in_tile_; }

  // Tiles are swept in runs of as many, the last of fewer: of one, but where a layer is large, its weights
  // coming from beyond the caches, or copies them. A run reads those once, for all its tiles, and is as long
  // as leaves a run to each of the team.
  bool has_large_layer() const { return has_large_layer_; }
  std::size_t runs(std::size_t m, std::size_t team) const;
  Run run(std::size_t index, std::size_t m, std::size_t team) const;

  // Some tiles of a batch, or none, and all of them.
  Run run_of(Slice tiles, std::size_t m) const {
    return {tiles, {first_sample(tiles.begin, m), first_sample(tiles.end, m)}};
  }
  Run all_tiles(std::size_t m) const { return run_of({0, tiles(m)}, m); }

  // Calls f(tile, samples) for each tile of a run.
  template <class F>
  void each_tile(const Run& run, std::size_t m, const F& f) const {
    if (run.tiles.size() == 1) return f(run.tiles.begin, run.samples);
    for (std::size_t index = run.tiles.begin; index < run.tiles.end; ++index) f(index, tile(index, m));
  }

  // Nothing is swept back; a prediction pass is; a training pass is.
  enum class Purpose { inference, gradients, training };
  Workspace<T> workspace(std::size_t m, Purpose purpose, bool with_dX = false) const;

  // Which features of Z[0] are zero on samples [begin, begin + count), where that saves work.
  bool omits_zeros() const { return layers_.front()->omits_zeros(); }
  void look(Workspace<T>& ws, std::size_t begin, std::size_t count) const;

  // In a training pass a layer that looks at the whole batch must wait for all tiles, and they for it: such
  // layers divide the others into segments, from one of them to the next. Segments may be empty.
  Slice all_layers() const { return {0, depth()}; }
  bool looks_at_whole_batch(std::size_t i) const { return layers_[i]->whole_batch() != nullptr; }
  std::size_t segments() const { return whole_batch_.size() + 1; }
  Slice segment(std::size_t index) const;

  // The fewest rows that a training pass can take.
  std::size_t fewest_rows() const { return whole_batch_.empty() ? 1 : 2; }

  // Where a team shares a layer, it falls into so many parts, on the way forward by its outputs, on the way
  // back by its inputs; by samples too, and by these alone where it cannot be taken by units.
  bool is_by_units(std::size_t i) const { return layers_[i]->by_units() != nullptr; }
  std::size_t forward_parts(std::size_t i, std::size_t m, std::size_t team) const;
  std::size_t backward_parts(std::size_t i, std::size_t m, std::size_t team) const;
  void forward_part(std::size_t i, std::size_t part, const T* theta, Workspace<T>& ws, std::size_t m,
                    std::size_t team, const Pass<T>& pass) const;
  void backward_part(std::size_t i, std::size_t part, const T* theta, Workspace<T>& ws, std::size_t m,
                     std::size_t team, const Pass<T>& pass) const;

  // G[i+1] → D[i] of some outputs of a layer by units, where no layer by units above it has seen to that.
  void slope(std::size_t i, Workspace<T>& ws, const Part& part, const Pass<T>& pass,
             bool gated_above = false) const;
  Part all_outputs(std::size_t i, Slice samples) const { return {{0, layers_[i]->n_out()}, samples}; }

  // Whether layer i leaves D of the one below it in place of G.
  bool gates(std::size_t i) const { return i > 0 && layers_[i]->gates_below() && layers_[i - 1]->is_gate(); }

  // A pass as layer i sees it.
  Pass<T> in_layer(std::size_t i, Slice samples, const Pass<T>& pass, const Occupied& occupied = {}) const;

  // Whether a team is through with both sweeps sooner if it shares each layer than if it shares the tiles.
  bool shares_layers(std::size_t m, std::size_t team) const;

  // The same of a forward pass, in so many passes over the layers, that comes in so many pieces else.
  bool shares_layers_forward(std::size_t m, std::size_t passes, std::size_t pieces, std::size_t team) const;

  // Z[i] → Z[j] on a run of tiles of a batch of m, over layers i to j - 1.
  void forward(const T* theta, Workspace<T>& ws, const Run& run, std::size_t m, const Pass<T>& pass,
               Slice layers) const;

  // Z[0] → Z[L] on the first m samples of the workspace at once.
  void forward(const T* theta, Workspace<T>& ws, std::size_t m, const Pass<T>& pass) const;

  // The same of layer i alone, by its outputs.
  std::size_t output_parts(std::size_t i, std::size_t m, std::size_t team) const;
  void forward_outputs(std::size_t i, std::size_t part, const T* theta, Workspace<T>& ws, std::size_t m,
                       std::size_t team, const Pass<T>& pass) const;

  // A prediction pass for a few samples, one to a row of X and Z. The buffers hold a row of any layer for
  // each of them. A team shares each layer.
  void forward_rows(const T* theta, const T* buffers, const ConstMatrix<T>& X, const Matrix<T>& Z,
                    const Matrix<T>& buffer, const Matrix<T>& other, std::size_t team) const;
  std::size_t widest() const;

  // Z[L], y → ℓ, G[L]
  LossSums loss(Workspace<T>& ws, std::size_t begin, std::size_t count, double scale, T loss_cap) const;

  // G[j] → D[j-1], ..., D[i] and G[i], over layers j - 1 to i; G[0] only where the workspace has it.
  void backward(const T* theta, Workspace<T>& ws, const Run& run, std::size_t m, const Pass<T>& pass,
                Slice layers) const;

  // The same over the layer after segment `index`, for a batch of m, task by task.
  std::size_t batch_tasks(std::size_t index) const { return whole_batch(index).tasks(); }
  void forward_batch(std::size_t index, std::size_t task, const T* theta, Workspace<T>& ws,
                     std::size_t m) const;
  void backward_batch(std::size_t index, std::size_t task, const T* theta, Workspace<T>& ws,
                      std::size_t m) const;

  // Takes the statistics of a batch of m into the buffers.
  void remember(const Workspace<T>& ws, std::size_t m, T* buffers) const;

  // For batches of up to m samples. A block's gradient is computed from all samples of a batch.
  std::vector<GradientBlock> gradient_blocks(std::size_t m) const;
  void gradient(const GradientBlock& block, Workspace<T>& ws, std::size_t m, const Matrix<T>& dtheta_block,
                const Ahead<T>& ahead = {}) const;

  static Targets<T> targets(Workspace<T>& ws, std::size_t begin, std::size_t count);

 private:
  const WholeBatch<T>& whole_batch(std::size_t index) const {
    return *layers_[whole_batch_[index]]->whole_batch();
  }
  std::size_t first_sample(std::size_t tile, std::size_t m) const;  // m for the one after the last
  std::size_t tiles_in_run(std::size_t m, std::size_t team) const;
  void forward(std::size_t i, const T* theta, Workspace<T>& ws, Slice samples, const Pass<T>& pass) const;
  void forward(std::size_t i, const T* theta, Workspace<T>& ws, const Part& part, const Pass<T>& pass) const;
  void backward(std::size_t i, const T* theta, Workspace<T>& ws, Slice samples, const Pass<T>& pass,
                bool gated_above) const;
  std::size_t parts_of_units(std::size_t i, std::size_t units, std::size_t m, std::size_t of_samples,
                             std::size_t team) const;
  std::size_t parts_of_samples(std::size_t i, std::size_t m) const;
  bool sooner_by_layers(double flops, std::size_t m, std::size_t passes, std::size_t pieces, double waiting,
                        std::size_t team) const;
  Part part(std::size_t i, std::size_t index, std::size_t units, std::size_t m, std::size_t team) const;

  // Calls f(samples) for what layer i takes of a run at once: all, or one tile after another.
  template <class F>
  void each_part(std::size_t i, const Run& run, std::size_t m, const F& f) const {
    if (joins_[i]) return f(run.samples);
    each_tile(run, m, [&](std::size_t, Slice samples) { f(samples); });
  }

  std::vector<std::unique_ptr<Layer<T>>> layers_;
  Loss loss_;
  std::vector<std::size_t> offsets_;         // where each layer's parameters begin; then their number
  std::vector<std::size_t> buffer_offsets_;  // of their buffers, likewise
  std::vector<std::size_t> whole_batch_;     // the layers that look at the whole batch
  std::vector<bool> joins_;                  // whether each layer takes all tiles of a run at once
  bool joins_any_ = false;
  bool has_large_layer_ = false;
  std::size_t samples_in_tile_ = 0;  // about
  double forward_flops_ = 0;
};

}  // namespace backsweep
