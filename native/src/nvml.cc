#include "nvml.h"

namespace attn {
namespace {

/// Names of nvmlReturn_t by value; NVML has texts but no function for names.
constexpr const char* kReturnNames[] = {
    "NVML_SUCCESS",
    "NVML_ERROR_UNINITIALIZED",
    "NVML_ERROR_INVALID_ARGUMENT",
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_ALREADY_INITIALIZED",
    "NVML_ERROR_NOT_FOUND",
    "NVML_ERROR_INSUFFICIENT_SIZE",
    "NVML_ERROR_INSUFFICIENT_POWER",
    "NVML_ERROR_DRIVER_NOT_LOADED",
    "NVML_ERROR_TIMEOUT",
    "NVML_ERROR_IRQ_ISSUE",
    "NVML_ERROR_LIBRARY_NOT_FOUND",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_CORRUPTED_INFOROM",
    "NVML_ERROR_GPU_IS_LOST",
    "NVML_ERROR_RESET_REQUIRED",
    "NVML_ERROR_OPERATING_SYSTEM",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
    "NVML_ERROR_IN_USE",
    "NVML_ERROR_MEMORY",
    "NVML_ERROR_NO_DATA",
};

std::string ReturnName(nvmlReturn result) {
  constexpr int kCount = static_cast<int>(sizeof kReturnNames / sizeof kReturnNames[0]);
  if (result >= 0 && result < kCount) return kReturnNames[result];
  return "NVML_ERROR_" + std::to_string(result);
}

}  // namespace

std::optional<Nvml> Nvml::Load(std::vector<LoadAttempt>* attempts) {
  const std::vector<std::string> paths =
      LibraryCandidates("ATTN_DIAG_NVML_LIBRARY", {"libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1",
                                                   "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
                                                   "/run/opengl-driver/lib/libnvidia-ml.so.1"});
  Nvml nvml{};
  nvml.library = DynamicLibrary::OpenFirst("nvml", paths, attempts);
  if (!nvml.library.loaded()) return std::nullopt;
  const DynamicLibrary& lib = nvml.library;
  const bool complete = lib.Bind("nvmlInit_v2", &nvml.nvmlInit) && lib.Bind("nvmlShutdown", &nvml.nvmlShutdown) &&
                        lib.Bind("nvmlErrorString", &nvml.nvmlErrorString) &&
                        lib.Bind("nvmlSystemGetDriverVersion", &nvml.nvmlSystemGetDriverVersion) &&
                        lib.Bind("nvmlDeviceGetCount_v2", &nvml.nvmlDeviceGetCount) &&
                        lib.Bind("nvmlDeviceGetHandleByIndex_v2", &nvml.nvmlDeviceGetHandleByIndex) &&
                        lib.Bind("nvmlDeviceGetName", &nvml.nvmlDeviceGetName) &&
                        lib.Bind("nvmlDeviceGetUUID", &nvml.nvmlDeviceGetUUID);
  if (!complete) {
    attempts->back().ok = false;
    attempts->back().error = "loaded, but it lacks functions that NVML has had since driver 450";
    return std::nullopt;
  }
  lib.Bind("nvmlSystemGetCudaDriverVersion_v2", &nvml.nvmlSystemGetCudaDriverVersion);
  lib.Bind("nvmlDeviceGetHandleByUUID", &nvml.nvmlDeviceGetHandleByUUID);
  lib.Bind("nvmlDeviceGetPciInfo_v3", &nvml.nvmlDeviceGetPciInfo);
  lib.Bind("nvmlDeviceGetCudaComputeCapability", &nvml.nvmlDeviceGetCudaComputeCapability);
  lib.Bind("nvmlDeviceGetMemoryInfo", &nvml.nvmlDeviceGetMemoryInfo);
  lib.Bind("nvmlDeviceGetClockInfo", &nvml.nvmlDeviceGetClockInfo);
  lib.Bind("nvmlDeviceGetMaxClockInfo", &nvml.nvmlDeviceGetMaxClockInfo);
  lib.Bind("nvmlDeviceGetComputeMode", &nvml.nvmlDeviceGetComputeMode);
  lib.Bind("nvmlDeviceGetMigMode", &nvml.nvmlDeviceGetMigMode);
  lib.Bind("nvmlDeviceGetMaxMigDeviceCount", &nvml.nvmlDeviceGetMaxMigDeviceCount);
  lib.Bind("nvmlDeviceGetMigDeviceHandleByIndex", &nvml.nvmlDeviceGetMigDeviceHandleByIndex);
  lib.Bind("nvmlDeviceGetAttributes_v2", &nvml.nvmlDeviceGetAttributes);
  lib.Bind("nvmlDeviceGetUtilizationRates", &nvml.nvmlDeviceGetUtilizationRates);
  // _v2 and _v3 fill the same structure; _v3 came with driver 510.
  if (!lib.Bind("nvmlDeviceGetComputeRunningProcesses_v3", &nvml.nvmlDeviceGetComputeRunningProcesses)) {
    lib.Bind("nvmlDeviceGetComputeRunningProcesses_v2", &nvml.nvmlDeviceGetComputeRunningProcesses);
  }
  if (!lib.Bind("nvmlDeviceGetGraphicsRunningProcesses_v3", &nvml.nvmlDeviceGetGraphicsRunningProcesses)) {
    lib.Bind("nvmlDeviceGetGraphicsRunningProcesses_v2", &nvml.nvmlDeviceGetGraphicsRunningProcesses);
  }
  return nvml;
}

Status Nvml::Describe(const char* call, nvmlReturn result) const {
  if (result == kNvmlSuccess) return Status::Ok();
  const char* text = nvmlErrorString(result);
  Status status;
  status.number = result;
  status.code = ReturnName(result);
  status.text = (call != nullptr ? std::string(call) + ": " : std::string()) + (text != nullptr ? text : "a status this NVML has no text for");
  return status;
}

namespace {

using ProcessQuery = nvmlReturn (*)(nvmlDevice, unsigned*, nvmlProcessInfo*);

/// Appends the processes of one kind; false when NVML refuses. The list may grow between the two calls, so it asks
/// again with more room a few times.
bool Append(ProcessQuery query, nvmlDevice device, bool compute, std::vector<NvmlProcess>* processes) {
  if (query == nullptr) return false;
  unsigned count = 16;
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::vector<nvmlProcessInfo> infos(count);
    unsigned filled = count;
    const nvmlReturn result = query(device, &filled, infos.data());
    if (result == kNvmlErrorInsufficientSize) {
      count = filled + 16;
      continue;
    }
    if (result != kNvmlSuccess) return false;
    for (unsigned i = 0; i < filled && i < count; ++i) {
      NvmlProcess process;
      process.pid = infos[i].pid;
      process.compute = compute;
      if (infos[i].used_gpu_memory != ~0ULL) process.used_memory_bytes = infos[i].used_gpu_memory;
      processes->push_back(process);
    }
    return true;
  }
  return false;
}

}  // namespace

std::optional<std::vector<NvmlProcess>> ListProcesses(const Nvml& nvml, nvmlDevice device) {
  std::vector<NvmlProcess> processes;
  const bool compute = Append(nvml.nvmlDeviceGetComputeRunningProcesses, device, true, &processes);
  const bool graphics = Append(nvml.nvmlDeviceGetGraphicsRunningProcesses, device, false, &processes);
  if (!compute && !graphics) return std::nullopt;
  return processes;
}

}  // namespace attn
