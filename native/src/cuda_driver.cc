#include "cuda_driver.h"

#include <cstdio>

namespace attn {
namespace {

/// Fills one table entry; remembers the first required symbol that the library does not export.
struct Binder {
  const DynamicLibrary& library;
  const char* first_missing = nullptr;

  template <typename Function>
  void Required(const char* symbol, Function** target) {
    if (!library.Bind(symbol, target) && first_missing == nullptr) first_missing = symbol;
  }
  template <typename Function>
  void Optional(const char* symbol, Function** target) {
    library.Bind(symbol, target);
  }
};

/// The versioned names are those every driver from 11.4 on exports; they keep their meaning for ever, unlike the
/// unversioned entry points, some of which are the 32-bit API of CUDA 3.
const char* BindAll(CudaDriver* cuda) {
  Binder bind{cuda->library};
  bind.Required("cuInit", &cuda->cuInit);
  bind.Required("cuDriverGetVersion", &cuda->cuDriverGetVersion);
  bind.Required("cuGetErrorName", &cuda->cuGetErrorName);
  bind.Required("cuGetErrorString", &cuda->cuGetErrorString);
  bind.Required("cuDeviceGetCount", &cuda->cuDeviceGetCount);
  bind.Required("cuDeviceGet", &cuda->cuDeviceGet);
  bind.Required("cuDeviceGetName", &cuda->cuDeviceGetName);
  // The first version gives a MIG instance its parent's UUID; the second, its own.
  bind.Optional("cuDeviceGetUuid_v2", &cuda->cuDeviceGetUuid);
  if (cuda->cuDeviceGetUuid == nullptr) bind.Required("cuDeviceGetUuid", &cuda->cuDeviceGetUuid);
  bind.Required("cuDeviceTotalMem_v2", &cuda->cuDeviceTotalMem);
  bind.Required("cuDeviceGetAttribute", &cuda->cuDeviceGetAttribute);
  bind.Required("cuDeviceGetPCIBusId", &cuda->cuDeviceGetPCIBusId);
  bind.Required("cuCtxCreate_v2", &cuda->cuCtxCreate);
  bind.Required("cuCtxDestroy_v2", &cuda->cuCtxDestroy);
  bind.Required("cuCtxSetCurrent", &cuda->cuCtxSetCurrent);
  bind.Required("cuCtxGetCurrent", &cuda->cuCtxGetCurrent);
  bind.Required("cuCtxSynchronize", &cuda->cuCtxSynchronize);
  bind.Required("cuMemGetInfo_v2", &cuda->cuMemGetInfo);
  bind.Required("cuMemAlloc_v2", &cuda->cuMemAlloc);
  bind.Required("cuMemFree_v2", &cuda->cuMemFree);
  bind.Required("cuMemAllocHost_v2", &cuda->cuMemAllocHost);
  bind.Required("cuMemFreeHost", &cuda->cuMemFreeHost);
  bind.Required("cuMemcpyHtoD_v2", &cuda->cuMemcpyHtoD);
  bind.Required("cuMemcpyDtoH_v2", &cuda->cuMemcpyDtoH);
  bind.Required("cuMemcpyDtoD_v2", &cuda->cuMemcpyDtoD);
  bind.Required("cuMemcpyHtoDAsync_v2", &cuda->cuMemcpyHtoDAsync);
  bind.Required("cuMemcpyDtoHAsync_v2", &cuda->cuMemcpyDtoHAsync);
  bind.Required("cuMemcpyDtoDAsync_v2", &cuda->cuMemcpyDtoDAsync);
  bind.Required("cuMemsetD8_v2", &cuda->cuMemsetD8);
  bind.Required("cuMemsetD32_v2", &cuda->cuMemsetD32);
  bind.Required("cuMemsetD8Async", &cuda->cuMemsetD8Async);
  bind.Required("cuMemsetD32Async", &cuda->cuMemsetD32Async);
  bind.Required("cuModuleLoadData", &cuda->cuModuleLoadData);
  bind.Required("cuModuleLoadDataEx", &cuda->cuModuleLoadDataEx);
  bind.Required("cuModuleUnload", &cuda->cuModuleUnload);
  bind.Required("cuModuleGetFunction", &cuda->cuModuleGetFunction);
  bind.Required("cuModuleGetGlobal_v2", &cuda->cuModuleGetGlobal);
  bind.Required("cuFuncGetAttribute", &cuda->cuFuncGetAttribute);
  bind.Required("cuFuncSetAttribute", &cuda->cuFuncSetAttribute);
  bind.Required("cuOccupancyMaxActiveBlocksPerMultiprocessor", &cuda->cuOccupancyMaxActiveBlocksPerMultiprocessor);
  bind.Required("cuLaunchKernel", &cuda->cuLaunchKernel);
  bind.Required("cuStreamCreate", &cuda->cuStreamCreate);
  bind.Required("cuStreamDestroy_v2", &cuda->cuStreamDestroy);
  bind.Required("cuStreamSynchronize", &cuda->cuStreamSynchronize);
  bind.Required("cuStreamQuery", &cuda->cuStreamQuery);
  bind.Required("cuStreamWaitEvent", &cuda->cuStreamWaitEvent);
  bind.Required("cuStreamBeginCapture_v2", &cuda->cuStreamBeginCapture);
  bind.Required("cuStreamEndCapture", &cuda->cuStreamEndCapture);
  bind.Required("cuEventCreate", &cuda->cuEventCreate);
  bind.Required("cuEventDestroy_v2", &cuda->cuEventDestroy);
  bind.Required("cuEventRecord", &cuda->cuEventRecord);
  bind.Required("cuEventQuery", &cuda->cuEventQuery);
  bind.Required("cuEventSynchronize", &cuda->cuEventSynchronize);
  bind.Required("cuEventElapsedTime", &cuda->cuEventElapsedTime);
  bind.Required("cuGraphInstantiateWithFlags", &cuda->cuGraphInstantiateWithFlags);
  bind.Required("cuGraphLaunch", &cuda->cuGraphLaunch);
  bind.Required("cuGraphExecDestroy", &cuda->cuGraphExecDestroy);
  bind.Required("cuGraphDestroy", &cuda->cuGraphDestroy);
  bind.Optional("cuTensorMapEncodeTiled", &cuda->cuTensorMapEncodeTiled);
  return bind.first_missing;
}

}  // namespace

std::optional<CudaDriver> CudaDriver::Load(std::vector<LoadAttempt>* attempts) {
  // Plain name first, so that LD_LIBRARY_PATH and the loader's cache decide as they do for vLLM; then the places that
  // WSL, Kubernetes device plugins and NixOS use without telling the loader.
  const std::vector<std::string> paths = LibraryCandidates(
      "ATTN_DIAG_CUDA_LIBRARY", {"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1",
                                 "/usr/local/nvidia/lib64/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1"});
  CudaDriver cuda{};
  cuda.library = DynamicLibrary::OpenFirst("cuda", paths, attempts);
  if (!cuda.library.loaded()) return std::nullopt;
  const char* missing = BindAll(&cuda);
  if (missing != nullptr) {
    attempts->back().ok = false;
    attempts->back().error =
        std::string("loaded, but it has no ") + missing + ": a driver of CUDA 11.4 (470) or newer is needed";
    return std::nullopt;
  }
  return cuda;
}

Status CudaDriver::Describe(const char* call, CUresult result) const {
  if (result == kCudaSuccess) return Status::Ok();
  const char* name = nullptr;
  const char* text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  Status status;
  status.number = result;
  status.code = name != nullptr ? name : "CUDA_ERROR_" + std::to_string(result);
  status.text = (call != nullptr ? std::string(call) + ": " : std::string()) + (text != nullptr ? text : "a status this driver has no text for");
  return status;
}

std::string FormatUuid(const char* prefix, const CUuuid& uuid) {
  std::string text = std::string(prefix) + "-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", uuid.bytes[i]);
    text += hex;
  }
  return text;
}

}  // namespace attn
