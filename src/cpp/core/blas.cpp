#include "core/blas.hpp"

#if defined(BACKSWEEP_BLAS_ACCELERATE)
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif

// scipy-openblas32 prefixes its symbols, so that it can live beside another OpenBLAS in one process.
#if defined(BACKSWEEP_BLAS_SCIPY_OPENBLAS)
#define BACKSWEEP_CBLAS(name) scipy_cblas_##name
#else
#define BACKSWEEP_CBLAS(name) cblas_##name
#endif

#if defined(BACKSWEEP_BLAS_SET_THREADS)
extern "C" void BACKSWEEP_BLAS_SET_THREADS(int);
#endif

namespace backsweep::blas {
namespace {

// Widths and batch sizes are checked to fit an int where a network and a batch are made.
int as_int(std::size_t n) { return static_cast<int>(n); }

// A leading dimension must be at least 1, even of a matrix without columns.
template <class T>
int leading(const Matrix<T>& M) {
  return M.stride == 0 ? 1 : as_int(M.stride);
}

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const float* A, int lda,
          const float* B, int ldb, float* C, int ldc) {
  BACKSWEEP_CBLAS(sgemm)(CblasRowMajor, ta, tb, m, n, k, 1.0f, A, lda, B, ldb, 0.0f, C, ldc);
}

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const double* A, int lda,
          const double* B, int ldb, double* C, int ldc) {
  BACKSWEEP_CBLAS(dgemm)(CblasRowMajor, ta, tb, m, n, k, 1.0, A, lda, B, ldb, 0.0, C, ldc);
}

}  // namespace

template <class T>
void product(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C) {
  assert(A.cols == B.rows && C.rows == A.rows && C.cols == B.cols);
  gemm(CblasNoTrans, CblasNoTrans, as_int(C.rows), as_int(C.cols), as_int(A.cols), A.data, leading(A), B.data,
       leading(B), C.data, leading(C));
}

template <class T>
void product_transposed_left(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C) {
  assert(A.rows == B.rows && C.rows == A.cols && C.cols == B.cols);
  gemm(CblasTrans, CblasNoTrans, as_int(C.rows), as_int(C.cols), as_int(A.rows), A.data, leading(A), B.data,
       leading(B), C.data, leading(C));
}

template <class T>
void product_transposed_right(const ConstMatrix<T>& A, const ConstMatrix<T>& B, const Matrix<T>& C) {
  assert(A.cols == B.cols && C.rows == A.rows && C.cols == B.rows);
  gemm(CblasNoTrans, CblasTrans, as_int(C.rows), as_int(C.cols), as_int(A.cols), A.data, leading(A), B.data,
       leading(B), C.data, leading(C));
}

std::string description() {
#if defined(BACKSWEEP_BLAS_SCIPY_OPENBLAS)
  return scipy_openblas_get_config();
#elif defined(BACKSWEEP_BLAS_ACCELERATE)
  return "Accelerate";
#else
  return BACKSWEEP_BLAS_VENDOR;
#endif
}

void use_one_thread() {
#if defined(BACKSWEEP_BLAS_SCIPY_OPENBLAS)
  scipy_openblas_set_num_threads(1);
#elif defined(BACKSWEEP_BLAS_SET_THREADS)
  BACKSWEEP_BLAS_SET_THREADS(1);
#endif
}

#define BACKSWEEP_INSTANTIATE(T)                                                                            \
  template void product<T>(const ConstMatrix<T>&, const ConstMatrix<T>&, const Matrix<T>&);                 \
  template void product_transposed_left<T>(const ConstMatrix<T>&, const ConstMatrix<T>&, const Matrix<T>&); \
  template void product_transposed_right<T>(const ConstMatrix<T>&, const ConstMatrix<T>&, const Matrix<T>&);
BACKSWEEP_INSTANTIATE(float)
BACKSWEEP_INSTANTIATE(double)
#undef BACKSWEEP_INSTANTIATE

}  // namespace backsweep::blas
