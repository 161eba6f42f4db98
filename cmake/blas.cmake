# Defines the target backsweep_blas and, where a library travels in the wheel, BACKSWEEP_BLAS_LIBRARY.
include(CheckCXXSourceCompiles)
add_library(backsweep_blas INTERFACE)

if(NOT BACKSWEEP_BLAS AND NOT APPLE)
  # scipy-openblas32 prefixes its symbols with scipy_, so that two OpenBLAS can live in one process.
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import scipy_openblas32 as b; print(b.get_include_dir(), b.get_lib_dir(), sep=';')"
    OUTPUT_VARIABLE openblas_dirs OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE openblas_missing)
  if(openblas_missing)
    message(FATAL_ERROR "scipy-openblas32 is not installed: install it, or name a system BLAS by "
                        "-DBACKSWEEP_BLAS=<BLA_VENDOR>, for instance OpenBLAS, FLAME or Intel10_64lp_seq")
  endif()
  list(GET openblas_dirs 0 openblas_include)
  list(GET openblas_dirs 1 openblas_lib)
  find_library(openblas_library NAMES scipy_openblas libscipy_openblas PATHS ${openblas_lib}
               NO_DEFAULT_PATH REQUIRED NO_CACHE)
  target_include_directories(backsweep_blas SYSTEM INTERFACE ${openblas_include})
  target_link_libraries(backsweep_blas INTERFACE ${openblas_library})
  target_compile_definitions(backsweep_blas INTERFACE BACKSWEEP_BLAS_SCIPY_OPENBLAS)
  set(BACKSWEEP_BLAS_LIBRARY ${openblas_library})
  if(WIN32)
    file(GLOB BACKSWEEP_BLAS_LIBRARY ${openblas_lib}/*.dll)
  endif()
else()
  set(BLA_VENDOR ${BACKSWEEP_BLAS})
  if(APPLE AND NOT BLA_VENDOR)
    set(BLA_VENDOR Apple)
  endif()
  set(BLA_SIZEOF_INTEGER 4)
  find_package(BLAS REQUIRED)
  target_link_libraries(backsweep_blas INTERFACE BLAS::BLAS)
  if(BLA_VENDOR STREQUAL "Apple")
    target_compile_definitions(backsweep_blas INTERFACE BACKSWEEP_BLAS_ACCELERATE ACCELERATE_NEW_LAPACK)
  else()
    # FindBLAS gives no header: look beside the library, then at the places distributions use.
    list(GET BLAS_LIBRARIES 0 blas_library)
    get_filename_component(blas_dir ${blas_library} DIRECTORY)
    file(GLOB blas_include_dirs ${blas_dir}/../include ${blas_dir}/../../include)
    find_path(cblas_include cblas.h HINTS ${blas_include_dirs}
              PATH_SUFFIXES openblas blis ${CMAKE_LIBRARY_ARCHITECTURE} ${CMAKE_LIBRARY_ARCHITECTURE}/openblas
              ${CMAKE_LIBRARY_ARCHITECTURE}/blis REQUIRED NO_CACHE)
    target_include_directories(backsweep_blas SYSTEM INTERFACE ${cblas_include})
    # Some vendors keep cblas_* in a library of its own.
    set(CMAKE_REQUIRED_LIBRARIES ${BLAS_LIBRARIES})
    set(CMAKE_REQUIRED_INCLUDES ${cblas_include})
    set(calls_cblas "#include <cblas.h>\nint main() { float x = 0; cblas_sscal(1, 1.0f, &x, 1); }")
    check_cxx_source_compiles("${calls_cblas}" BLAS_HAS_CBLAS)
    if(NOT BLAS_HAS_CBLAS)
      find_library(cblas_library cblas HINTS ${blas_dir} REQUIRED NO_CACHE)
      target_link_libraries(backsweep_blas INTERFACE ${cblas_library})
    endif()
    # The calls that keep a threaded BLAS on one thread: the threads are ours.
    foreach(setter openblas_set_num_threads bli_thread_set_num_threads MKL_Set_Num_Threads)
      check_cxx_source_compiles(
        "extern \"C\" void ${setter}(int); int main() { ${setter}(1); }" HAVE_${setter})
      if(HAVE_${setter})
        target_compile_definitions(backsweep_blas INTERFACE BACKSWEEP_BLAS_SET_THREADS=${setter})
      endif()
    endforeach()
    target_compile_definitions(backsweep_blas INTERFACE BACKSWEEP_BLAS_VENDOR="${BACKSWEEP_BLAS}")
  endif()
endif()
