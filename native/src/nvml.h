// The part of NVML this product uses, opened at run time. NVML starts no CUDA and creates no context.
//
// Source: NVML API reference (nvml.h of the CUDA 12 and 13 documentation).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dynlib.h"
#include "session.h"

namespace attn {

using nvmlReturn = int;
using nvmlDevice = struct nvmlDevice_st*;

constexpr nvmlReturn kNvmlSuccess = 0;
constexpr nvmlReturn kNvmlErrorInsufficientSize = 7;

struct nvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

struct nvmlUtilization {
  unsigned gpu_percent;
  unsigned memory_percent;
};

struct nvmlPciInfo {
  char bus_id_legacy[16];
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  char bus_id[32];
};

/// nvmlProcessInfo_v2_t, which the _v2 and _v3 process queries fill.
struct nvmlProcessInfo {
  unsigned pid;
  unsigned long long used_gpu_memory;  // all bits set = not available
  unsigned gpu_instance_id;
  unsigned compute_instance_id;
};

/// nvmlDeviceAttributes_t, known for MIG instances only.
struct nvmlDeviceAttributes {
  unsigned multiprocessor_count;
  unsigned shared_copy_engine_count;
  unsigned shared_decoder_count;
  unsigned shared_encoder_count;
  unsigned shared_jpeg_count;
  unsigned shared_ofa_count;
  unsigned gpu_instance_slice_count;
  unsigned compute_instance_slice_count;
  unsigned long long memory_size_mb;
};

// nvmlClockType_t
constexpr int kNvmlClockSm = 1;
constexpr int kNvmlClockMemory = 2;

/// Functions of libnvidia-ml; a null pointer means that this driver does not export it. Names without suffix.
struct Nvml {
  DynamicLibrary library;

  nvmlReturn (*nvmlInit)();
  nvmlReturn (*nvmlShutdown)();
  const char* (*nvmlErrorString)(nvmlReturn);
  nvmlReturn (*nvmlSystemGetDriverVersion)(char* version, unsigned length);
  nvmlReturn (*nvmlSystemGetCudaDriverVersion)(int* version);
  nvmlReturn (*nvmlDeviceGetCount)(unsigned* count);
  nvmlReturn (*nvmlDeviceGetHandleByIndex)(unsigned index, nvmlDevice*);
  nvmlReturn (*nvmlDeviceGetHandleByUUID)(const char* uuid, nvmlDevice*);
  nvmlReturn (*nvmlDeviceGetName)(nvmlDevice, char* name, unsigned length);
  nvmlReturn (*nvmlDeviceGetUUID)(nvmlDevice, char* uuid, unsigned length);
  nvmlReturn (*nvmlDeviceGetPciInfo)(nvmlDevice, nvmlPciInfo*);
  nvmlReturn (*nvmlDeviceGetCudaComputeCapability)(nvmlDevice, int* major, int* minor);
  nvmlReturn (*nvmlDeviceGetMemoryInfo)(nvmlDevice, nvmlMemory*);
  nvmlReturn (*nvmlDeviceGetClockInfo)(nvmlDevice, int clock_type, unsigned* mhz);
  nvmlReturn (*nvmlDeviceGetMaxClockInfo)(nvmlDevice, int clock_type, unsigned* mhz);
  nvmlReturn (*nvmlDeviceGetComputeMode)(nvmlDevice, int* mode);
  nvmlReturn (*nvmlDeviceGetMigMode)(nvmlDevice, unsigned* current, unsigned* pending);
  nvmlReturn (*nvmlDeviceGetMaxMigDeviceCount)(nvmlDevice, unsigned* count);
  nvmlReturn (*nvmlDeviceGetMigDeviceHandleByIndex)(nvmlDevice, unsigned index, nvmlDevice*);
  nvmlReturn (*nvmlDeviceGetAttributes)(nvmlDevice, nvmlDeviceAttributes*);
  nvmlReturn (*nvmlDeviceGetUtilizationRates)(nvmlDevice, nvmlUtilization*);
  nvmlReturn (*nvmlDeviceGetComputeRunningProcesses)(nvmlDevice, unsigned* count, nvmlProcessInfo*);
  nvmlReturn (*nvmlDeviceGetGraphicsRunningProcesses)(nvmlDevice, unsigned* count, nvmlProcessInfo*);

  /// Opens NVML and fills the table; does not call nvmlInit. `ATTN_DIAG_NVML_LIBRARY` replaces the places to look.
  static std::optional<Nvml> Load(std::vector<LoadAttempt>* attempts);

  /// `code` is the nvmlReturn_t name (`NVML_ERROR_DRIVER_NOT_LOADED`), the text NVML's own after `call` (unless
  /// null). Ok for kNvmlSuccess.
  Status Describe(const char* call, nvmlReturn result) const;
};

/// NVML between nvmlInit and nvmlShutdown. Init is counted by the library, so several may live at once.
class NvmlScope {
 public:
  explicit NvmlScope(const Nvml& nvml) : nvml_(nvml), result_(nvml.nvmlInit()) {}
  ~NvmlScope() {
    if (result_ == kNvmlSuccess) nvml_.nvmlShutdown();
  }
  NvmlScope(const NvmlScope&) = delete;
  NvmlScope& operator=(const NvmlScope&) = delete;

  nvmlReturn result() const { return result_; }

 private:
  const Nvml& nvml_;
  nvmlReturn result_;
};

/// A process on a GPU, as NVML tells it; in a container the pid belongs to the host.
struct NvmlProcess {
  unsigned pid = 0;
  bool compute = true;
  std::optional<uint64_t> used_memory_bytes;
};

/// Compute and graphics processes of a device; empty optional when NVML does not permit or support the question.
std::optional<std::vector<NvmlProcess>> ListProcesses(const Nvml& nvml, nvmlDevice device);

}  // namespace attn
