#include "core/dense.hpp"

#include <algorithm>

#include "core/kernels/kernels.hpp"

namespace backsweep {
namespace {

// A block of dW of about this many weights stays in a core's second-level cache until it is used, and gives
// a product large enough to run at full speed.
constexpr std::size_t weights_in_block = 8192;
// A layer of more weights than that comes in two blocks at least, for as many threads.
constexpr std::size_t weights_of_one_block = 4096;
// Each block reads all of D: where that has so many bytes that it comes from beyond the caches, or is rounded
// on the way, larger blocks read it less often.
constexpr std::size_t bytes_of_large_D = 1u << 19;
constexpr std::size_t fewest_rows = 12, fewest_rows_for_large_D = 56, fewest_rows_for_rounded_D = 112;
// Where it has so many, and many columns, a block takes some of them, and those below it come next: these
// columns of D stay in the second-level cache meanwhile, or, too long for that, the block does. Its
// parameters lie in short runs, which updates from memory take badly: with a smaller D that counts for more.
constexpr std::size_t bytes_of_wide_D = 1u << 22;
constexpr std::size_t cols_of_wide_block = 256;
constexpr std::size_t bytes_of_cols_that_stay = 1u << 19;
constexpr std::size_t rows_below_D_that_stays = 28, rows_below_D = 224;

// No smaller blocks of the product at the end.
std::size_t rows_in_block(std::size_t n_in, std::size_t n_out, std::size_t at_once, std::size_t fewest) {
  fewest = (fewest + at_once - 1) / at_once * at_once;
  const std::size_t rows = weights_in_block / n_out;
  const std::size_t half = ((n_in + 1) / 2 + at_once - 1) / at_once * at_once;
  const std::size_t most = n_in * n_out > weights_of_one_block ? half : n_in;
  return std::min({n_in, most, std::max(fewest, rows / at_once * at_once)});
}

// What the block of dW below one reads of Z: the columns of D are there, so that nothing else is waited for.
template <class T>
class RowsBelow {
 public:
  Upcoming* of(const ConstMatrix<T>& Z, std::size_t row, std::size_t rows, std::size_t samples) {
    const std::size_t end = std::min(row + 2 * rows, Z.rows);
    std::size_t count = 0;
    for (row += rows; row < end; ++row) rows_[count++] = reinterpret_cast<const unsigned char*>(Z.row(row));
    upcoming_ = {rows_, count, samples * sizeof(T)};
    return &upcoming_;
  }

 private:
  const unsigned char* rows_[rows_below_D_that_stays];
  Upcoming upcoming_;
};

// A row of dW of up to so many weights leaves lanes of a vector empty. So does the rest of a longer one after
// whole vectors. Such columns are dots of rows of Z and D, along the samples.
constexpr std::size_t widest_thin = 10;

std::size_t columns_in_dots(std::size_t n_out, std::size_t lanes) {
  if (n_out <= widest_thin) return n_out;
  const std::size_t rest = n_out % lanes;
  return rest <= lanes / 2 ? rest : 0;
}

// To look for zeros among the features takes about as long as so many outputs take of what it may save.
constexpr std::size_t outputs_worth_a_look = 32;
constexpr std::size_t features_at_a_time = 96;

// The rows of some units, of a matrix that there may not be.
template <class T>
Matrix<T> units(const Matrix<T>& M, Slice units) {
  return M ? M.row_range(units.begin, units.size()) : Matrix<T>{};
}

// Some samples' columns, likewise.
template <class T>
Matrix<T> columns(const Matrix<T>& M, Slice samples) {
  return M ? M.col_range(samples.begin, samples.size()) : Matrix<T>{};
}

// Of as many inputs and outputs a product of few samples takes less time than one that leaves most of a
// vector empty.
constexpr std::size_t inputs_worth_a_product = 128;
constexpr std::size_t outputs_worth_a_product = 32;
// Of as many outputs it takes less time even than one that fills a vector or two.
constexpr std::size_t outputs_of_wide = 256;

}  // namespace

template <class T>
void dense_forward(Product<T> product, Activation sigma, const ConstMatrix<T>& Z, const Occupied& occupied,
                   const ConstMatrix<T>& W, const T* b, const Matrix<T>& A, const Matrix<T>& Z_next) {
  const Matrix<T>& sum = A ? A : Z_next;  // in place where σ' does not need A
  ProductOptions<T> options;
  options.relu = sigma == Activation::relu && !A;  // while it is in registers
  options.terms = occupied;
  product(false, W, Z, b, sum, options);
  if (!options.relu) activation_forward<T>(sigma, sum, Z_next);
}

template <class T>
void dense_backward(Product<T> product, const ConstMatrix<T>& W, const ConstMatrix<T>& D, const Matrix<T>& G,
                    const T* gate) {
  ProductOptions<T> options;
  options.gate = gate;
  product(true, W, D, nullptr, G, options);
}

template <class T>
void dense_gradient(Product<T> product, const ConstMatrix<T>& Z, const Occupied& occupied,
                    const ConstMatrix<T>& D_rows, const Matrix<T>& dW, const Ahead<T>& ahead) {
  ProductOptions<T> options;
  options.in_order = true;  // however the parameters fall into blocks
  options.ahead = &ahead;
  if (!occupied) return product(true, Z, D_rows, nullptr, dW, options);
  // The rows of dW whose feature some sample has, side by side; then each goes to its place, the last first,
  // and the others are zero.
  std::uint32_t rows[features_at_a_time];
  Ahead<T> of_part = ahead;
  options.ahead = &of_part;
  for (std::size_t begin = 0; begin < Z.rows; begin += features_at_a_time) {
    const Matrix<T> part = dW.row_range(begin, std::min(features_at_a_time, Z.rows - begin));
    std::size_t found = 0;
    for (std::size_t j = 0; j < part.rows; ++j) {
      if (occupied.feature(begin + j)) rows[found++] = static_cast<std::uint32_t>(j);
    }
    options.rows_of_A = rows;
    product(true, Z.row_range(begin, part.rows), D_rows, nullptr, part.row_range(0, found), options);
    for (std::size_t j = part.rows; j-- > 0;) {
      const bool is_there = found > 0 && rows[found - 1] == j;
      if (!is_there) {
        std::fill_n(part.row(j), part.cols, T(0));
      } else if (--found != j) {
        std::copy_n(part.row(found), part.cols, part.row(j));
      }
    }
    for (std::size_t i = 0; i < of_part.companions.count; ++i) {
      of_part.companions.first_entries[i] += features_at_a_time * ahead.companions.stride;
    }
  }
}

template <class T>
Dense<T>::Dense(std::size_t n_in, std::size_t n_out, Activation sigma, bool bias, Precision precision)
    : n_in_(n_in),
      n_out_(n_out),
      sigma_(sigma),
      bias_(bias),
      precision_(precision),
      product_(product_in<T>(precision)),
      in_dots_(is_full() ? columns_in_dots(n_out, kernels<T>().lanes) : 0) {}

template <class T>
bool Dense<T>::is_thin() const {
  return in_dots_ == n_out_;
}

template <class T>
bool Dense<T>::omits_zeros() const {
  return is_full() && n_out_ >= outputs_worth_a_look;
}

template <class T>
void Dense<T>::forward(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A, const Matrix<T>& Z_next,
                       const Pass<T>& pass) const {
  forward_outputs({0, n_out_}, theta, Z, A, Z_next, pass);
}

template <class T>
void Dense<T>::forward_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& A,
                               const Matrix<T>& Z_next, const Pass<T>& pass) const {
  const ConstMatrix<T> W_part = W_of(theta, outputs);
  const T* const b_part = b_of(theta, outputs);
  const Matrix<T> A_part = units(A, outputs), Z_part = units(Z_next, outputs);
  const std::size_t m = pass.samples, few = left_over(m);
  if (few < m) {
    const Slice first{0, few == 0 ? Z.cols : m - few};
    dense_forward<T>(product_, sigma_, columns(Z, first), pass.occupied, W_part, b_part,
                     columns(A_part, first), columns(Z_part, first));
  }
  if (few > 0) {
    const Slice last{m - few, m};
    const Matrix<T> out = columns(Z_part, last), sum = A_part ? columns(A_part, last) : out;
    kernels<T>().column_product(columns(Z, last), W_part, b_part, sum);
    activation_forward<T>(sigma_, sum, out);
  }
}

// So many samples at the end that fill little of a vector go by themselves.
template <class T>
std::size_t Dense<T>::left_over(std::size_t m) const {
  if (!is_full()) return 0;
  if (m <= few_samples) return m;
  const bool is_worth_it = n_in_ >= inputs_worth_a_product && n_out_ >= outputs_worth_a_product;
  if (!is_worth_it) return 0;
  if (n_out_ >= outputs_of_wide && m <= several_samples) return m;
  const std::size_t rest = m % widest_vector;
  return rest <= widest_vector / 2 ? rest : 0;
}

template <class T>
void Dense<T>::forward_rows(const T* theta, const ConstMatrix<T>& Z, const Matrix<T>& Z_next,
                            const Pass<T>& pass) const {
  forward_rows_outputs({0, n_out_}, theta, Z, Z_next, pass);
}

template <class T>
void Dense<T>::forward_rows_outputs(Slice outputs, const T* theta, const ConstMatrix<T>& Z,
                                    const Matrix<T>& Z_next, const Pass<T>&) const {
  const Matrix<T> Z_part = Z_next.col_range(outputs.begin, outputs.size());
  kernels<T>().row_product(Z, W_of(theta, outputs), b_of(theta, outputs), Z_part);
  activation_forward<T>(sigma_, Z_part, Z_part);
}

template <class T>
void Dense<T>::backward(const T* theta, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                        const Matrix<T>& G_next, const Matrix<T>& D_rows, const Matrix<T>& G,
                        const Pass<T>& pass) const {
  slope_outputs({0, n_out_}, A, Z_next, G_next, D_rows, pass);
  if (G) backward_inputs({0, n_in_}, theta, G_next, D_rows, G, pass);
}

template <class T>
void Dense<T>::slope_outputs(Slice outputs, const Matrix<T>& A, const ConstMatrix<T>& Z_next,
                             const Matrix<T>& G_next, const Matrix<T>& D_rows, const Pass<T>& pass) const {
  const Matrix<T> D = units(G_next, outputs);
  if (!pass.gated_above) activation_backward<T>(sigma_, D, units(A, outputs), units(Z_next, outputs), D);
  const std::size_t end = std::min(outputs.end, takes_few(pass) ? n_out_ : n_out_ - in_dots_);
  if (is_thin() || end <= outputs.begin) return;
  const Slice turned{outputs.begin, end};
  kernels<T>().transpose(units(G_next, turned).col_range(0, D_rows.rows),
                         D_rows.col_range(turned.begin, turned.size()));
}

template <class T>
void Dense<T>::backward_inputs(Slice inputs, const T* theta, const ConstMatrix<T>& D,
                               const ConstMatrix<T>& D_rows, const Matrix<T>& G, const Pass<T>& pass) const {
  const ConstMatrix<T> W_part = W(theta).row_range(inputs.begin, inputs.size());
  const Matrix<T> G_part = units(G, inputs);
  const T* const gate = pass.gate_below == nullptr ? nullptr : pass.gate_below + inputs.begin * G.stride;
  if (!takes_few(pass)) return dense_backward<T>(product_, W_part, D, G_part, gate);
  const Matrix<T> of_samples = G_part.col_range(0, pass.samples);
  kernels<T>().dots(W_part, D_rows.col_range(0, n_out_), of_samples);
  if (gate == nullptr) return;
  const ConstMatrix<T> Z{gate, inputs.size(), pass.samples, G.stride};
  activation_backward<T>(Activation::relu, of_samples, {}, Z, of_samples);
}

// A block is some rows of dW, so it needs as many rows of Z; the last ones have db, as the row of the ones.
template <class T>
void Dense<T>::gradient(const ParameterBlock& block, const ConstMatrix<T>& Z, const Occupied& occupied,
                        const ConstMatrix<T>& D, const ConstMatrix<T>& D_rows, const Matrix<T>& dW,
                        const Ahead<T>& ahead) const {
  const std::size_t row = block.begin / n_out_, col = block.begin % n_out_;
  const ConstMatrix<T> Z_rows = Z.row_range(row, block.rows);
  const std::size_t in_vectors = std::min(n_out_ - in_dots_ - col, block.cols);
  const std::size_t in_dots = block.cols - in_vectors;
  if (in_vectors > 0) {
    const auto product = [&](const Ahead<T>& of_block) {
      dense_gradient<T>(product_, Z_rows, occupied.from_feature(row), D_rows.col_range(col, in_vectors),
                        dW.col_range(0, in_vectors), of_block);
    };
    const bool is_wide = !block.lies_together() && block.rows <= rows_below_D_that_stays;
    is_wide ? product({ahead.companions, RowsBelow<T>().of(Z, row, block.rows, D.cols)}) : product(ahead);
  }
  if (in_dots > 0) {
    kernels<T>().dots(Z_rows.col_range(0, D.cols), D.row_range(col + in_vectors, in_dots),
                      dW.col_range(in_vectors, in_dots));
  }
}

template <class T>
std::vector<ParameterBlock> Dense<T>::gradient_blocks(std::size_t m) const {
  const std::size_t bytes_of_D = m * n_out_ * sizeof(T), at_once = kernels<T>().product_rows;
  const std::size_t fewest = !is_full()                      ? fewest_rows_for_rounded_D
                             : bytes_of_D > bytes_of_large_D ? fewest_rows_for_large_D
                                                             : fewest_rows;
  const bool is_wide = bytes_of_D > bytes_of_wide_D && n_out_ >= 2 * cols_of_wide_block;
  const std::size_t parts = is_wide ? n_out_ / cols_of_wide_block : 1;
  const std::size_t rows_of_wide =
      m * cols_of_wide_block * sizeof(T) <= bytes_of_cols_that_stay ? rows_below_D_that_stays : rows_below_D;
  const std::size_t rows = is_wide ? std::min(n_in_, rows_of_wide / at_once * at_once)
                                   : rows_in_block(n_in_, n_out_, at_once, fewest);
  std::vector<ParameterBlock> blocks;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t col = part * cols_of_wide_block;
    const std::size_t cols = part + 1 < parts ? cols_of_wide_block : n_out_ - col;
    for (std::size_t begin = 0; begin < n_in_; begin += rows) {
      const std::size_t count = begin + rows >= n_in_ ? n_in_ - begin + bias_ : rows;
      blocks.push_back({begin * n_out_ + col, count, cols, n_out_});
    }
  }
  return blocks;
}

template class Dense<float>;
template class Dense<double>;

}  // namespace backsweep
