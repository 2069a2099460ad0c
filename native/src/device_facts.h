// Facts about this machine's devices, with the fields and units of extension/core/facts.ts. Nothing is judged here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dynlib.h"
#include "nvml.h"
#include "session.h"

namespace attn {

enum class ProbeLevel { kNvml, kDriver };
enum class ComputeMode { kDefault, kExclusiveThread, kProhibited, kExclusiveProcess };

/// deviceFactsSchema; an empty optional was not established.
struct DeviceFacts {
  std::string id;
  bool is_gpu = true;
  std::string name;
  std::optional<std::pair<int, int>> compute_capability;
  std::optional<int64_t> sm_count;
  std::optional<uint64_t> memory_total_bytes;
  std::optional<uint64_t> memory_free_bytes;
  std::optional<int64_t> shared_memory_per_block_optin_bytes;
  std::optional<int64_t> l2_bytes;
  std::optional<double> sm_clock_mhz;
  std::optional<double> sm_clock_max_mhz;
  std::optional<double> memory_clock_mhz;
  std::optional<std::string> pci_bus_id;
  std::optional<std::string> uuid;
  std::optional<bool> mig_enabled;
  std::optional<ComputeMode> compute_mode;
  std::optional<int> cuda_index;
  std::optional<int> nvml_index;
  std::optional<double> utilization_percent;
  std::optional<std::vector<NvmlProcess>> processes;
  std::optional<int> cpu_threads;
};

/// A driver call that failed.
struct DriverError {
  std::string call;
  Status status;
};

/// systemFactsSchema, but for the kernel build and the time.
struct SystemFacts {
  ProbeLevel level = ProbeLevel::kNvml;
  std::optional<std::string> driver_version;
  std::optional<int> cuda_driver_api_version;
  std::optional<std::string> cuda_visible_devices;
  std::vector<LoadAttempt> load_attempts;
  std::vector<DriverError> driver_errors;
  std::vector<DeviceFacts> devices;
};

/// Collects the facts. `kNvml` does not open libcuda; `kDriver` also calls cuInit, which creates no context.
SystemFacts ProbeSystem(ProbeLevel level);

}  // namespace attn
