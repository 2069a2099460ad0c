#include "device_facts.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda_driver.h"
#include "parallel.h"
#include "system_memory.h"
#include "visible_devices.h"

namespace attn {
namespace {

std::optional<std::string> Environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

/// `00000000:3B:00.0`, the way nvidia-smi writes it, from any of the drivers' ways.
std::string NormalBusId(const char* bus_id) {
  unsigned domain = 0;
  unsigned bus = 0;
  unsigned device = 0;
  unsigned function = 0;
  if (std::sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) return bus_id;
  char text[40];
  std::snprintf(text, sizeof text, "%08X:%02X:%02X.%X", domain, bus, device, function);
  return text;
}

/// A UUID without its `GPU-` or `MIG-`, by which CUDA's and NVML's views of a device are matched.
std::string UuidDigits(const std::string& uuid) {
  std::string digits = uuid.substr(std::min<size_t>(uuid.size(), 4));
  std::transform(digits.begin(), digits.end(), digits.begin(), [](unsigned char c) { return std::tolower(c); });
  return digits;
}

std::optional<ComputeMode> ToComputeMode(int mode) {
  if (mode < 0 || mode > 3) return std::nullopt;
  return static_cast<ComputeMode>(mode);  // CUcomputemode and nvmlComputeMode_t number them alike
}

std::optional<double> Clock(nvmlReturn (*query)(nvmlDevice, int, unsigned*), nvmlDevice device, int type) {
  unsigned mhz = 0;
  if (query == nullptr || query(device, type, &mhz) != kNvmlSuccess) return std::nullopt;
  return static_cast<double>(mhz);
}

/// What NVML says of a GPU or of a MIG instance.
DeviceFacts ReadNvmlDevice(const Nvml& nvml, nvmlDevice device) {
  DeviceFacts facts;
  char text[128] = "";
  if (nvml.nvmlDeviceGetName(device, text, sizeof text) == kNvmlSuccess) facts.name = text;
  if (nvml.nvmlDeviceGetUUID(device, text, sizeof text) == kNvmlSuccess) facts.uuid = text;
  facts.id = facts.uuid.value_or("");

  int major = 0;
  int minor = 0;
  if (nvml.nvmlDeviceGetCudaComputeCapability != nullptr &&
      nvml.nvmlDeviceGetCudaComputeCapability(device, &major, &minor) == kNvmlSuccess) {
    facts.compute_capability = {major, minor};
  }
  nvmlMemory memory{};
  if (nvml.nvmlDeviceGetMemoryInfo != nullptr && nvml.nvmlDeviceGetMemoryInfo(device, &memory) == kNvmlSuccess) {
    facts.memory_total_bytes = memory.total;
    facts.memory_free_bytes = memory.free;
  }
  facts.sm_clock_mhz = Clock(nvml.nvmlDeviceGetClockInfo, device, kNvmlClockSm);
  facts.sm_clock_max_mhz = Clock(nvml.nvmlDeviceGetMaxClockInfo, device, kNvmlClockSm);
  facts.memory_clock_mhz = Clock(nvml.nvmlDeviceGetClockInfo, device, kNvmlClockMemory);
  nvmlPciInfo pci{};
  if (nvml.nvmlDeviceGetPciInfo != nullptr && nvml.nvmlDeviceGetPciInfo(device, &pci) == kNvmlSuccess) {
    facts.pci_bus_id = NormalBusId(pci.bus_id);
  }
  unsigned current = 0;
  unsigned pending = 0;
  if (nvml.nvmlDeviceGetMigMode != nullptr && nvml.nvmlDeviceGetMigMode(device, &current, &pending) == kNvmlSuccess) {
    facts.mig_enabled = current != 0;
  }
  int mode = 0;
  if (nvml.nvmlDeviceGetComputeMode != nullptr && nvml.nvmlDeviceGetComputeMode(device, &mode) == kNvmlSuccess) {
    facts.compute_mode = ToComputeMode(mode);
  }
  nvmlUtilization utilization{};
  if (nvml.nvmlDeviceGetUtilizationRates != nullptr &&
      nvml.nvmlDeviceGetUtilizationRates(device, &utilization) == kNvmlSuccess) {
    facts.utilization_percent = utilization.gpu_percent;
  }
  facts.processes = ListProcesses(nvml, device);
  if (facts.processes.has_value()) {
    const unsigned self = static_cast<unsigned>(getpid());
    auto& list = *facts.processes;
    list.erase(std::remove_if(list.begin(), list.end(), [self](const NvmlProcess& p) { return p.pid == self; }),
               list.end());
  }
  return facts;
}

/// The MIG instances of a GPU. What NVML does not tell of an instance is its GPU's (capability, bus, clocks).
std::vector<DeviceFacts> ReadMigInstances(const Nvml& nvml, nvmlDevice gpu, const DeviceFacts& parent) {
  std::vector<DeviceFacts> instances;
  unsigned count = 0;
  if (nvml.nvmlDeviceGetMaxMigDeviceCount == nullptr || nvml.nvmlDeviceGetMigDeviceHandleByIndex == nullptr ||
      nvml.nvmlDeviceGetMaxMigDeviceCount(gpu, &count) != kNvmlSuccess) {
    return instances;
  }
  for (unsigned i = 0; i < count; ++i) {
    nvmlDevice device = nullptr;
    if (nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, i, &device) != kNvmlSuccess) continue;
    DeviceFacts facts = ReadNvmlDevice(nvml, device);
    if (!facts.uuid.has_value()) continue;
    if (facts.name.empty()) facts.name = parent.name + " MIG";
    facts.compute_capability = parent.compute_capability;
    facts.pci_bus_id = parent.pci_bus_id;
    facts.compute_mode = parent.compute_mode;
    facts.sm_clock_mhz = parent.sm_clock_mhz;
    facts.sm_clock_max_mhz = parent.sm_clock_max_mhz;
    facts.memory_clock_mhz = parent.memory_clock_mhz;
    facts.nvml_index = parent.nvml_index;
    facts.mig_enabled = true;
    nvmlDeviceAttributes attributes{};
    if (nvml.nvmlDeviceGetAttributes != nullptr &&
        nvml.nvmlDeviceGetAttributes(device, &attributes) == kNvmlSuccess) {
      facts.sm_count = attributes.multiprocessor_count;
    }
    instances.push_back(std::move(facts));
  }
  return instances;
}

/// Adds what NVML says: driver versions, devices in PCI order, each GPU followed by its MIG instances.
void ReadNvml(SystemFacts* system) {
  const std::optional<Nvml> nvml = Nvml::Load(&system->load_attempts);
  if (!nvml.has_value()) return;
  const auto note = [&](const char* call, nvmlReturn result) {
    if (result != kNvmlSuccess) system->driver_errors.push_back({call, nvml->Describe(nullptr, result)});
    return result == kNvmlSuccess;
  };
  const NvmlScope scope(*nvml);
  if (!note("nvmlInit", scope.result())) return;

  char version[96] = "";
  if (note("nvmlSystemGetDriverVersion", nvml->nvmlSystemGetDriverVersion(version, sizeof version))) {
    system->driver_version = version;
  }
  int api_version = 0;
  if (nvml->nvmlSystemGetCudaDriverVersion != nullptr &&
      nvml->nvmlSystemGetCudaDriverVersion(&api_version) == kNvmlSuccess) {
    system->cuda_driver_api_version = api_version;
  }

  unsigned count = 0;
  if (!note("nvmlDeviceGetCount", nvml->nvmlDeviceGetCount(&count))) return;
  std::vector<EnumerableGpu> enumerable;
  bool all_alike = true;
  for (unsigned i = 0; i < count; ++i) {
    nvmlDevice device = nullptr;
    // A container may be denied some of the devices it counts.
    if (!note("nvmlDeviceGetHandleByIndex", nvml->nvmlDeviceGetHandleByIndex(i, &device))) continue;
    DeviceFacts gpu = ReadNvmlDevice(*nvml, device);
    if (!gpu.uuid.has_value()) continue;
    gpu.nvml_index = static_cast<int>(i);
    if (!system->devices.empty() && gpu.name != system->devices.front().name) all_alike = false;
    enumerable.push_back({*gpu.uuid, false, gpu.mig_enabled.value_or(false)});
    std::vector<DeviceFacts> instances;
    if (gpu.mig_enabled.value_or(false)) instances = ReadMigInstances(*nvml, device, gpu);
    system->devices.push_back(std::move(gpu));
    for (DeviceFacts& instance : instances) {
      enumerable.push_back({*instance.uuid, true, false});
      system->devices.push_back(std::move(instance));
    }
  }
  const bool order_is_pci = all_alike || Environment("CUDA_DEVICE_ORDER").value_or("") == "PCI_BUS_ID";
  const auto indices = CudaIndices(enumerable, system->cuda_visible_devices, order_is_pci);
  for (size_t i = 0; i < indices.size(); ++i) system->devices[i].cuda_index = indices[i];
}

std::optional<int64_t> Attribute(const CudaDriver& cuda, CUdevice device, int attribute) {
  int value = 0;
  if (cuda.cuDeviceGetAttribute(&value, attribute, device) != kCudaSuccess) return std::nullopt;
  return value;
}

std::optional<double> ClockMhz(const CudaDriver& cuda, CUdevice device, int attribute) {
  const std::optional<int64_t> khz = Attribute(cuda, device, attribute);
  if (!khz.has_value() || *khz <= 0) return std::nullopt;
  return static_cast<double>(*khz) / 1000;
}

/// Adds what only CUDA knows to `facts`, and what NVML could have said where it did not.
void ReadCudaDevice(const CudaDriver& cuda, CUdevice device, DeviceFacts* facts) {
  char text[256] = "";
  if (cuda.cuDeviceGetName(text, sizeof text, device) == kCudaSuccess) facts->name = text;
  const auto major = Attribute(cuda, device, kDeviceAttributeComputeCapabilityMajor);
  const auto minor = Attribute(cuda, device, kDeviceAttributeComputeCapabilityMinor);
  if (major.has_value() && minor.has_value()) {
    facts->compute_capability = {static_cast<int>(*major), static_cast<int>(*minor)};
  }
  facts->sm_count = Attribute(cuda, device, kDeviceAttributeMultiprocessorCount);
  facts->shared_memory_per_block_optin_bytes =
      Attribute(cuda, device, kDeviceAttributeMaxSharedMemoryPerBlockOptin);
  facts->l2_bytes = Attribute(cuda, device, kDeviceAttributeL2CacheSize);
  size_t total = 0;
  if (!facts->memory_total_bytes.has_value() && cuda.cuDeviceTotalMem(&total, device) == kCudaSuccess) {
    facts->memory_total_bytes = total;
  }
  if (!facts->sm_clock_max_mhz.has_value()) {
    facts->sm_clock_max_mhz = ClockMhz(cuda, device, kDeviceAttributeClockRateKHz);
  }
  if (!facts->pci_bus_id.has_value() && cuda.cuDeviceGetPCIBusId(text, sizeof text, device) == kCudaSuccess) {
    facts->pci_bus_id = NormalBusId(text);
  }
  if (!facts->compute_mode.has_value()) {
    const auto mode = Attribute(cuda, device, kDeviceAttributeComputeMode);
    if (mode.has_value()) facts->compute_mode = ToComputeMode(static_cast<int>(*mode));
  }
}

/// Adds what libcuda says, replaces the worked-out CUDA indices by the real ones and puts the devices in CUDA order.
void ReadCuda(SystemFacts* system) {
  const std::optional<CudaDriver> cuda = CudaDriver::Load(&system->load_attempts);
  if (!cuda.has_value()) return;
  const auto note = [&](const char* call, CUresult result) {
    if (result != kCudaSuccess) system->driver_errors.push_back({call, cuda->Describe(nullptr, result)});
    return result == kCudaSuccess;
  };
  int version = 0;
  if (cuda->cuDriverGetVersion(&version) == kCudaSuccess && version > 0) system->cuda_driver_api_version = version;

  for (DeviceFacts& device : system->devices) device.cuda_index.reset();
  int count = 0;
  if (!note("cuInit", cuda->cuInit(0)) || !note("cuDeviceGetCount", cuda->cuDeviceGetCount(&count))) return;
  std::vector<DeviceFacts> in_cuda_order;
  for (int index = 0; index < count; ++index) {
    CUdevice device = 0;
    CUuuid bytes{};
    if (!note("cuDeviceGet", cuda->cuDeviceGet(&device, index)) ||
        !note("cuDeviceGetUuid", cuda->cuDeviceGetUuid(&bytes, device))) {
      continue;
    }
    const std::string uuid = FormatUuid("GPU", bytes);
    const auto known = std::find_if(system->devices.begin(), system->devices.end(), [&](const DeviceFacts& facts) {
      return UuidDigits(facts.id) == UuidDigits(uuid);
    });
    DeviceFacts facts;
    if (known != system->devices.end()) {
      facts = std::move(*known);
      system->devices.erase(known);
    } else {
      facts.id = uuid;
      facts.uuid = uuid;
    }
    facts.cuda_index = index;
    ReadCudaDevice(*cuda, device, &facts);
    in_cuda_order.push_back(std::move(facts));
  }
  std::move(system->devices.begin(), system->devices.end(), std::back_inserter(in_cuda_order));
  system->devices = std::move(in_cuda_order);
}

/// GPUs that have a CUDA index first, in that order; the others keep NVML's.
void SortDevices(std::vector<DeviceFacts>* devices) {
  std::stable_sort(devices->begin(), devices->end(), [](const DeviceFacts& a, const DeviceFacts& b) {
    if (a.cuda_index.has_value() != b.cuda_index.has_value()) return a.cuda_index.has_value();
    return a.cuda_index.has_value() && *a.cuda_index < *b.cuda_index;
  });
}

/// `model name` of /proc/cpuinfo, which ARM machines do not have.
std::string CpuName() {
  std::string name = "CPU";
  std::FILE* file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return name;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, "model name", 10) != 0) continue;
    const char* value = std::strchr(line, ':');
    if (value == nullptr) continue;
    name = value + 1;
    name.erase(0, name.find_first_not_of(" \t"));
    name.erase(name.find_last_not_of(" \t\n") + 1);
    break;
  }
  std::fclose(file);
  return name;
}

DeviceFacts ReadCpu() {
  DeviceFacts facts;
  facts.id = "cpu";
  facts.is_gpu = false;
  facts.name = CpuName();
  facts.cpu_threads = AvailableThreads();
  if (const std::optional<SystemMemory> memory = ReadSystemMemory()) {
    facts.memory_total_bytes = memory->total_bytes;
    facts.memory_free_bytes = memory->available_bytes;
  }
  return facts;
}

}  // namespace

SystemFacts ProbeSystem(ProbeLevel level) {
  SystemFacts system;
  system.level = level;
  system.cuda_visible_devices = Environment("CUDA_VISIBLE_DEVICES");
  ReadNvml(&system);
  if (level == ProbeLevel::kDriver) ReadCuda(&system);
  SortDevices(&system.devices);
  system.devices.push_back(ReadCpu());
  return system;
}

}  // namespace attn
