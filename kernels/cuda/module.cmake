# The CUDA backend, a module of its own. What it needs: nvcc, the toolkit, cuDNN 9.15 or later, which lies in
# CUDA's folder or in the packages of the python that is found first. cuDNN's graphs alone can be tested
# where the rest is missing.
set(WEFT_CUDA_ARCHITECTURES 80-real 90-real 100-real 120 CACHE STRING
  "what CUDA kernels are compiled for; fewer build faster")
set(WEFT_CUDA_RPATH "" CACHE STRING "folders where the module finds cuDNN and cuBLASLt, after installing")

set(WEFT_HAVE_CUDNN OFF)
set(cuda_folders $ENV{CUDA_PATH} /usr/local/cuda)
execute_process(COMMAND python3 -c "import nvidia; print(*nvidia.__path__, sep=';')"
  OUTPUT_VARIABLE python_nvidia OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
foreach(folder ${python_nvidia})
  list(APPEND cuda_folders ${folder}/cudnn ${folder}/cu13)
endforeach()
find_path(CUDART_INCLUDE_DIR cuda_runtime_api.h HINTS ${cuda_folders} PATH_SUFFIXES include)
find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS ${cuda_folders} PATH_SUFFIXES include)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${CUDNN_INCLUDE_DIR}/.. ${cuda_folders}
  PATH_SUFFIXES lib64 lib)
find_program(WEFT_NVCC nvcc HINTS ENV CUDACXX PATHS /usr/local/cuda/bin)
if(WEFT_NVCC AND NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${WEFT_NVCC})
endif()
include(CheckLanguage)
check_language(CUDA)
set(cudnn_version 0)
if(CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
  file(STRINGS ${CUDNN_INCLUDE_DIR}/cudnn_version.h cudnn_version
    REGEX "define CUDNN_(MAJOR|MINOR) ")
  list(TRANSFORM cudnn_version REPLACE "[^0-9]" "")
  list(JOIN cudnn_version "." cudnn_version)
endif()

set(cuda_missing "")
if(NOT CUDART_INCLUDE_DIR)
  list(APPEND cuda_missing "CUDA's headers")
endif()
if(cudnn_version VERSION_LESS 9.15)
  list(APPEND cuda_missing "cuDNN 9.15 or later")
endif()
if(NOT cuda_missing)
  set(WEFT_HAVE_CUDNN ${cudnn_version})
  add_library(weft_cuda_graph OBJECT
    kernels/cuda/graph.c
    kernels/cuda/graph_attention.c
    kernels/cuda/graph_build.c
    kernels/cuda/graph_conv.c
    kernels/cuda/graph_engine.c)
  target_include_directories(weft_cuda_graph SYSTEM PRIVATE
    ${CUDNN_INCLUDE_DIR} ${CUDART_INCLUDE_DIR})
  target_link_libraries(weft_cuda_graph PRIVATE weft_flags PUBLIC ${CUDNN_LIBRARY})
endif()

if(CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_ARCHITECTURES ${WEFT_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  find_package(CUDAToolkit QUIET)
  add_library(weft_cuda_own OBJECT ${OWN})
  target_include_directories(weft_cuda_own PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_features(weft_cuda_own PRIVATE cuda_std_17)
  target_compile_options(weft_cuda_own PRIVATE -Werror=all-warnings
    -Xptxas=-warn-spills,-Werror -Xcompiler=-Wall,-Wextra,-Wshadow,-Werror)
  set_target_properties(weft_cuda_own PROPERTIES EXCLUDE_FROM_ALL ON
    CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
else()
  list(APPEND cuda_missing "nvcc")
endif()
if(NOT TARGET CUDA::cublasLt)
  list(APPEND cuda_missing "cuBLASLt")
endif()

list(JOIN cuda_missing ", " cuda_missing)
if(cuda_missing)
  if(WEFT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "WEFT_CUDA is ON, but these were not found: ${cuda_missing}")
  endif()
  message(STATUS "weft: no CUDA module, these were not found: ${cuda_missing}")
elseif(WEFT_SANITIZE)
  message(STATUS "weft: no CUDA module, it is not built with sanitizers")
else()
  set(WEFT_HAVE_CUDA ${CUDAToolkit_VERSION})
  add_library(weft_cuda MODULE ${CUDA} ${CUDA_SHARED} $<TARGET_OBJECTS:weft_cuda_graph>
    $<TARGET_OBJECTS:weft_cuda_own>
    kernels/cuda/cublas.c
    kernels/cuda/cudnn.c
    kernels/cuda/driver.c
    kernels/cuda/module.c)
  target_include_directories(weft_cuda SYSTEM PRIVATE ${CUDNN_INCLUDE_DIR}
    ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(weft_cuda PRIVATE weft_flags CUDA::cublasLt CUDA::cudart_static
    ${CUDNN_LIBRARY})
  set_target_properties(weft_cuda PROPERTIES PREFIX "" OUTPUT_NAME weft-cuda
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} CUDA_RUNTIME_LIBRARY Static
    INSTALL_RPATH "${WEFT_CUDA_RPATH}")
  install(TARGETS weft_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/weft COMPONENT cuda)
endif()
