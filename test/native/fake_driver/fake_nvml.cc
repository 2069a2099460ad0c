// An NVML without a GPU, playing the same script as fake_cuda.cc. Only for tests.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "script.h"

#define API extern "C" __attribute__((visibility("default"))) int
#define ENTER(call)                               \
  if (const int status = fake::Enter(call)) return status

namespace {

constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;

/// A handle is 1 + PCI position; a MIG instance adds 100 per instance (1-based).
int Position(void* device) { return static_cast<int>(reinterpret_cast<intptr_t>(device)) % 100 - 1; }
int Instance(void* device) { return static_cast<int>(reinterpret_cast<intptr_t>(device)) / 100; }
bool InMigMode(int position) { return fake::Number("mig", -1) == position; }

}  // namespace

API nvmlInit_v2() {
  ENTER("nvmlInit");
  return 0;
}
API nvmlShutdown() { return 0; }
extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(int code) {
  switch (code) {
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}
API nvmlSystemGetDriverVersion(char* version, unsigned length) {
  ENTER("nvmlSystemGetDriverVersion");
  std::snprintf(version, length, "580.159.03");
  return 0;
}
API nvmlSystemGetCudaDriverVersion_v2(int* version) {
  ENTER("nvmlSystemGetCudaDriverVersion");
  *version = static_cast<int>(fake::Number("apiVersion", 13000));
  return 0;
}
API nvmlDeviceGetCount_v2(unsigned* count) {
  ENTER("nvmlDeviceGetCount");
  *count = static_cast<unsigned>(fake::Gpus().size());
  return 0;
}
API nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  ENTER("nvmlDeviceGetHandleByIndex");
  *device = reinterpret_cast<void*>(static_cast<intptr_t>(index) + 1);
  return 0;
}
API nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  ENTER("nvmlDeviceGetHandleByUUID");
  for (const fake::Gpu& gpu : fake::Gpus()) {
    if (fake::UuidText("GPU", fake::UuidByte(gpu.position)) != uuid) continue;
    *device = reinterpret_cast<void*>(static_cast<intptr_t>(gpu.position) + 1);
    return 0;
  }
  return kNotFound;
}
API nvmlDeviceGetName(void* device, char* name, unsigned length) {
  ENTER("nvmlDeviceGetName");
  const bool different = fake::Gpus().front().major != fake::Gpus()[static_cast<size_t>(Position(device))].major;
  std::snprintf(name, length, "Stand-in %s%s", different ? "GPU B" : "GPU A", Instance(device) > 0 ? " MIG" : "");
  return 0;
}
API nvmlDeviceGetUUID(void* device, char* uuid, unsigned length) {
  ENTER("nvmlDeviceGetUUID");
  const int instance = Instance(device);
  const unsigned char first = fake::UuidByte(Position(device));
  const std::string text = instance == 0 ? fake::UuidText("GPU", first)
                                         : fake::UuidText("MIG", static_cast<unsigned char>(first + 0x10 * instance));
  std::snprintf(uuid, length, "%s", text.c_str());
  return 0;
}
struct PciInfo {
  char legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
API nvmlDeviceGetPciInfo_v3(void* device, PciInfo* info) {
  ENTER("nvmlDeviceGetPciInfo");
  std::memset(info, 0, sizeof *info);
  std::snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", 0x3B + Position(device));
  return 0;
}
API nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  ENTER("nvmlDeviceGetCudaComputeCapability");
  const fake::Gpu gpu = fake::Gpus()[static_cast<size_t>(Position(device))];
  *major = gpu.major;
  *minor = gpu.minor;
  return 0;
}
struct Memory {
  unsigned long long total, free, used;
};
API nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  ENTER("nvmlDeviceGetMemoryInfo");
  const unsigned long long total = fake::MemoryBytes() / (Instance(device) > 0 ? 2 : 1);
  *memory = {total, total - fake::UsedBytes(), fake::UsedBytes()};
  return 0;
}
API nvmlDeviceGetClockInfo(void*, int type, unsigned* mhz) {
  ENTER("nvmlDeviceGetClockInfo");
  *mhz = type == 1 ? 1755 : 3201;
  return 0;
}
API nvmlDeviceGetMaxClockInfo(void*, int type, unsigned* mhz) {
  ENTER("nvmlDeviceGetMaxClockInfo");
  *mhz = type == 1 ? 1980 : 3201;
  return 0;
}
API nvmlDeviceGetComputeMode(void*, int* mode) {
  ENTER("nvmlDeviceGetComputeMode");
  *mode = static_cast<int>(fake::Number("computeMode", 0));
  return 0;
}
API nvmlDeviceGetMigMode(void* device, unsigned* current, unsigned* pending) {
  ENTER("nvmlDeviceGetMigMode");
  if (Instance(device) > 0) return kNotSupported;
  *current = *pending = InMigMode(Position(device)) ? 1 : 0;
  return 0;
}
API nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
  *count = 7;
  return 0;
}
API nvmlDeviceGetMigDeviceHandleByIndex(void* device, unsigned index, void** instance) {
  if (!InMigMode(Position(device)) || index >= 2) return kNotFound;
  *instance = reinterpret_cast<void*>(reinterpret_cast<intptr_t>(device) + 100 * (static_cast<intptr_t>(index) + 1));
  return 0;
}
struct Attributes {
  unsigned multiprocessors, rest[7];
  unsigned long long memory_mb;
};
API nvmlDeviceGetAttributes_v2(void* device, Attributes* attributes) {
  if (Instance(device) == 0) return kNotSupported;
  std::memset(attributes, 0, sizeof *attributes);
  attributes->multiprocessors = 60;
  return 0;
}
struct Utilization {
  unsigned gpu, memory;
};
API nvmlDeviceGetUtilizationRates(void*, Utilization* utilization) {
  ENTER("nvmlDeviceGetUtilizationRates");
  *utilization = {static_cast<unsigned>(fake::Number("utilization", 0)), 0};
  return 0;
}
struct Process {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};
API nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, Process* processes) {
  ENTER("nvmlDeviceGetComputeRunningProcesses");
  const auto pids = fake::Values("process");
  if (*count < pids.size()) {
    *count = static_cast<unsigned>(pids.size());
    return 7;
  }
  for (size_t i = 0; i < pids.size(); ++i) {
    // the second and later ones are as NVML shows them where it may not look inside
    const unsigned long long used = i == 0 ? 1ULL << 30 : ~0ULL;
    processes[i] = {static_cast<unsigned>(std::stoul(pids[i])), used, ~0u, ~0u};
  }
  *count = static_cast<unsigned>(pids.size());
  return 0;
}
API nvmlDeviceGetGraphicsRunningProcesses_v3(void*, unsigned* count, Process*) {
  ENTER("nvmlDeviceGetGraphicsRunningProcesses");
  *count = 0;
  return 0;
}
