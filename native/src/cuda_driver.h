// The part of the CUDA driver API this product uses, declared here because the build machine has no CUDA headers, and
// a table of its functions that is filled at run time because the user's machine may have no driver.
//
// Sources: CUDA Driver API reference (types, enumerators, and the versioned symbol names of the exported functions).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dynlib.h"
#include "session.h"

namespace attn {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = uint64_t;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;

struct CUuuid {
  unsigned char bytes[16];
};

/// Opaque TMA descriptor; passed to kernels by value as a __grid_constant__ parameter.
struct alignas(64) CUtensorMap {
  uint64_t opaque[16];
};

// Statuses that are handled one by one; every other one is shown with the driver's own name and text.
constexpr CUresult kCudaSuccess = 0;
constexpr CUresult kCudaErrorInvalidValue = 1;
constexpr CUresult kCudaErrorOutOfMemory = 2;
constexpr CUresult kCudaErrorNoDevice = 100;
constexpr CUresult kCudaErrorInvalidDevice = 101;
constexpr CUresult kCudaErrorInvalidImage = 200;
constexpr CUresult kCudaErrorNoBinaryForGpu = 209;
constexpr CUresult kCudaErrorUnsupportedPtxVersion = 222;
constexpr CUresult kCudaErrorNotFound = 500;
constexpr CUresult kCudaErrorNotReady = 600;
constexpr CUresult kCudaErrorLaunchOutOfResources = 701;
constexpr CUresult kCudaErrorLaunchTimeout = 702;
constexpr CUresult kCudaErrorLaunchFailed = 719;
constexpr CUresult kCudaErrorSystemNotReady = 802;
constexpr CUresult kCudaErrorSystemDriverMismatch = 803;
constexpr CUresult kCudaErrorCompatNotSupportedOnDevice = 804;

// CUdevice_attribute
constexpr int kDeviceAttributeClockRateKHz = 13;
constexpr int kDeviceAttributeMultiprocessorCount = 16;
constexpr int kDeviceAttributeComputeMode = 20;
constexpr int kDeviceAttributePciBusId = 33;
constexpr int kDeviceAttributePciDeviceId = 34;
constexpr int kDeviceAttributeMemoryClockRateKHz = 36;
constexpr int kDeviceAttributeL2CacheSize = 38;
constexpr int kDeviceAttributePciDomainId = 50;
constexpr int kDeviceAttributeComputeCapabilityMajor = 75;
constexpr int kDeviceAttributeComputeCapabilityMinor = 76;
constexpr int kDeviceAttributeMaxSharedMemoryPerMultiprocessor = 81;
constexpr int kDeviceAttributeMaxSharedMemoryPerBlockOptin = 97;

// CUfunction_attribute
constexpr int kFuncAttributeMaxThreadsPerBlock = 0;
constexpr int kFuncAttributeSharedSizeBytes = 1;
constexpr int kFuncAttributeLocalSizeBytes = 3;
constexpr int kFuncAttributeNumRegs = 4;
constexpr int kFuncAttributePtxVersion = 5;
constexpr int kFuncAttributeBinaryVersion = 6;
constexpr int kFuncAttributeMaxDynamicSharedSizeBytes = 8;

// CUjit_option
constexpr int kJitInfoLogBuffer = 3;
constexpr int kJitInfoLogBufferSizeBytes = 4;
constexpr int kJitErrorLogBuffer = 5;
constexpr int kJitErrorLogBufferSizeBytes = 6;

// CUctx_flags, CUstream_flags, CUevent_flags, CUstreamCaptureMode
constexpr unsigned kCtxSchedBlockingSync = 0x04;
constexpr unsigned kStreamNonBlocking = 0x01;
constexpr unsigned kEventDefault = 0x00;
constexpr unsigned kEventBlockingSync = 0x01;
constexpr unsigned kEventDisableTiming = 0x02;
constexpr int kStreamCaptureModeThreadLocal = 1;
constexpr int kStreamCaptureModeRelaxed = 2;

/// Functions of libcuda. A null pointer means that this driver does not export it; the ones in `kRequired` of
/// cuda_driver.cc are never null after a successful Load. Names are the API's, without the version suffix.
struct CudaDriver {
  DynamicLibrary library;

  CUresult (*cuInit)(unsigned flags);
  CUresult (*cuDriverGetVersion)(int* version);
  CUresult (*cuGetErrorName)(CUresult, const char** name);
  CUresult (*cuGetErrorString)(CUresult, const char** text);

  CUresult (*cuDeviceGetCount)(int* count);
  CUresult (*cuDeviceGet)(CUdevice*, int ordinal);
  CUresult (*cuDeviceGetName)(char* name, int length, CUdevice);
  CUresult (*cuDeviceGetUuid)(CUuuid*, CUdevice);
  CUresult (*cuDeviceTotalMem)(size_t* bytes, CUdevice);
  CUresult (*cuDeviceGetAttribute)(int* value, int attribute, CUdevice);
  CUresult (*cuDeviceGetPCIBusId)(char* id, int length, CUdevice);

  CUresult (*cuCtxCreate)(CUcontext*, unsigned flags, CUdevice);
  CUresult (*cuCtxDestroy)(CUcontext);
  CUresult (*cuCtxSetCurrent)(CUcontext);
  CUresult (*cuCtxGetCurrent)(CUcontext*);
  CUresult (*cuCtxSynchronize)();

  CUresult (*cuMemGetInfo)(size_t* free_bytes, size_t* total_bytes);
  CUresult (*cuMemAlloc)(CUdeviceptr*, size_t bytes);
  CUresult (*cuMemFree)(CUdeviceptr);
  CUresult (*cuMemAllocHost)(void**, size_t bytes);
  CUresult (*cuMemFreeHost)(void*);
  CUresult (*cuMemcpyHtoD)(CUdeviceptr, const void*, size_t bytes);
  CUresult (*cuMemcpyDtoH)(void*, CUdeviceptr, size_t bytes);
  CUresult (*cuMemcpyDtoD)(CUdeviceptr, CUdeviceptr, size_t bytes);
  CUresult (*cuMemcpyHtoDAsync)(CUdeviceptr, const void*, size_t bytes, CUstream);
  CUresult (*cuMemcpyDtoHAsync)(void*, CUdeviceptr, size_t bytes, CUstream);
  CUresult (*cuMemcpyDtoDAsync)(CUdeviceptr, CUdeviceptr, size_t bytes, CUstream);
  CUresult (*cuMemsetD8)(CUdeviceptr, unsigned char, size_t count);
  CUresult (*cuMemsetD32)(CUdeviceptr, unsigned, size_t count);
  CUresult (*cuMemsetD8Async)(CUdeviceptr, unsigned char, size_t count, CUstream);
  CUresult (*cuMemsetD32Async)(CUdeviceptr, unsigned, size_t count, CUstream);

  CUresult (*cuModuleLoadData)(CUmodule*, const void* image);
  CUresult (*cuModuleLoadDataEx)(CUmodule*, const void* image, unsigned option_count, int* options, void** values);
  CUresult (*cuModuleUnload)(CUmodule);
  CUresult (*cuModuleGetFunction)(CUfunction*, CUmodule, const char* name);
  CUresult (*cuModuleGetGlobal)(CUdeviceptr*, size_t* bytes, CUmodule, const char* name);
  CUresult (*cuFuncGetAttribute)(int* value, int attribute, CUfunction);
  CUresult (*cuFuncSetAttribute)(CUfunction, int attribute, int value);
  CUresult (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int* blocks, CUfunction, int threads, size_t shared_bytes);
  CUresult (*cuLaunchKernel)(CUfunction, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                             unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream, void** params,
                             void** extra);

  CUresult (*cuStreamCreate)(CUstream*, unsigned flags);
  CUresult (*cuStreamDestroy)(CUstream);
  CUresult (*cuStreamSynchronize)(CUstream);
  CUresult (*cuStreamQuery)(CUstream);
  CUresult (*cuStreamWaitEvent)(CUstream, CUevent, unsigned flags);
  CUresult (*cuStreamBeginCapture)(CUstream, int mode);
  CUresult (*cuStreamEndCapture)(CUstream, CUgraph*);

  CUresult (*cuEventCreate)(CUevent*, unsigned flags);
  CUresult (*cuEventDestroy)(CUevent);
  CUresult (*cuEventRecord)(CUevent, CUstream);
  CUresult (*cuEventQuery)(CUevent);
  CUresult (*cuEventSynchronize)(CUevent);
  CUresult (*cuEventElapsedTime)(float* ms, CUevent start, CUevent end);

  CUresult (*cuGraphInstantiateWithFlags)(CUgraphExec*, CUgraph, unsigned long long flags);
  CUresult (*cuGraphLaunch)(CUgraphExec, CUstream);
  CUresult (*cuGraphExecDestroy)(CUgraphExec);
  CUresult (*cuGraphDestroy)(CUgraph);

  // Null on drivers before 12.0.
  CUresult (*cuTensorMapEncodeTiled)(CUtensorMap*, int data_type, uint32_t rank, void* global_address,
                                     const uint64_t* global_dim, const uint64_t* global_strides_bytes,
                                     const uint32_t* box_dim, const uint32_t* element_strides, int interleave,
                                     int swizzle, int l2_promotion, int oob_fill);

  /// Opens libcuda and fills the table; does not call cuInit. Empty when no library loads or one lacks a required
  /// function; `attempts` says which and why. `ATTN_DIAG_CUDA_LIBRARY` replaces the list of places to look.
  static std::optional<CudaDriver> Load(std::vector<LoadAttempt>* attempts);

  /// The driver's name and text of a status. `code` is the name (`CUDA_ERROR_NO_DEVICE`), `number` the value, and the
  /// text reads `cuInit: no CUDA-capable device is detected`, without the call when `call` is null. Ok for kCudaSuccess.
  Status Describe(const char* call, CUresult result) const;
};

/// `GPU-8f3c…` as nvidia-smi writes it; `prefix` is `GPU` or `MIG`.
std::string FormatUuid(const char* prefix, const CUuuid& uuid);

}  // namespace attn
