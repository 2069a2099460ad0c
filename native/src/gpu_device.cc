#include "gpu_device.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace attn {
namespace {

/// How often a wait looks at the stream and the cancel flag.
constexpr auto kPollInterval = std::chrono::microseconds(50);
/// Oldest driver that loads SASS of a 12.x compiler.
constexpr int kOldestDriverApiVersion = 12000;
constexpr unsigned long long kProbeNanoseconds = 100000;

Status NotFound(const std::string& device_id) {
  return {"deviceNotFound", "No GPU with the id " + device_id + " is visible to this process.", 0};
}

/// Lets a test run the kernels of other GPUs here: ATTN_DIAG_SHARED_LIMIT = bytes of shared memory to pretend,
/// ATTN_DIAG_TARGET = image to load.
void ApplyStandIns(GpuLimits* limits) {
  const char* shared = std::getenv("ATTN_DIAG_SHARED_LIMIT");
  if (shared != nullptr) limits->shared_bytes_per_block = std::min(limits->shared_bytes_per_block, std::atoi(shared));
  const char* target = std::getenv("ATTN_DIAG_TARGET");
  limits->target = target != nullptr ? target : TargetFor(limits->major);
}

}  // namespace

std::unique_ptr<GpuDevice> GpuDevice::Open(const std::string& device_id, const std::string& kernel_dir,
                                           Status* status) {
  std::vector<LoadAttempt> attempts;
  std::optional<CudaDriver> driver = CudaDriver::Load(&attempts);
  if (!driver.has_value()) {
    const std::string why = attempts.empty() ? "no place to look" : attempts.back().error;
    *status = {"driverMissing", "The NVIDIA driver library could not be opened: " + why, 0};
    return nullptr;
  }
  std::unique_ptr<GpuDevice> device(new GpuDevice(*driver, kernel_dir));
  const CudaDriver& cuda = device->driver_;
  ModuleList modules = ReadModuleList(kernel_dir);
  if (!modules.status.ok()) {
    *status = modules.status;
    return nullptr;
  }
  device->modules_ = std::move(modules.modules);

  CUresult result = cuda.cuInit(0);
  if (result != kCudaSuccess) {
    *status = cuda.Describe("cuInit", result);
    return nullptr;
  }
  cuda.cuDriverGetVersion(&device->driver_api_version_);
  if (device->driver_api_version_ < kOldestDriverApiVersion) {
    *status = {"driverTooOld",
               "The bundled kernels need a driver for CUDA 12.0 or newer (525.60 on Linux); this one is for CUDA " +
                   std::to_string(device->driver_api_version_ / 1000) + "." +
                   std::to_string(device->driver_api_version_ % 1000 / 10) + ".",
               device->driver_api_version_};
    return nullptr;
  }
  int count = 0;
  cuda.cuDeviceGetCount(&count);
  bool found = false;
  for (int ordinal = 0; ordinal < count && !found; ++ordinal) {
    CUuuid uuid{};
    if (cuda.cuDeviceGet(&device->device_, ordinal) != kCudaSuccess) continue;
    if (cuda.cuDeviceGetUuid(&uuid, device->device_) != kCudaSuccess) continue;
    found = FormatUuid("GPU", uuid) == device_id || FormatUuid("MIG", uuid) == device_id;
  }
  if (!found) {
    *status = NotFound(device_id);
    return nullptr;
  }
  const auto attribute = [&](int which) {
    int value = 0;
    cuda.cuDeviceGetAttribute(&value, which, device->device_);
    return value;
  };
  device->limits_ = {attribute(kDeviceAttributeComputeCapabilityMajor), attribute(kDeviceAttributeComputeCapabilityMinor),
                     attribute(kDeviceAttributeMaxSharedMemoryPerBlockOptin), "",
                     cuda.cuTensorMapEncodeTiled != nullptr};
  ApplyStandIns(&device->limits_);
  device->sm_count_ = attribute(kDeviceAttributeMultiprocessorCount);
  device->l2_bytes_ = attribute(kDeviceAttributeL2CacheSize);

  /* NVML before the context, so that our own process is not among the ones counted */
  device->nvml_ = Nvml::Load(&attempts);
  if (device->nvml_.has_value()) {
    Nvml& nvml = *device->nvml_;
    if (nvml.nvmlInit() != kNvmlSuccess ||
        nvml.nvmlDeviceGetHandleByUUID(device_id.c_str(), &device->nvml_device_) != kNvmlSuccess) {
      device->nvml_device_ = nullptr;
    } else {
      const auto processes = ListProcesses(nvml, device->nvml_device_);
      device->processes_before_ = processes.has_value() ? processes->size() : 0;
      nvmlUtilization utilization{};
      device->busy_before_ = device->processes_before_ > 0 && nvml.nvmlDeviceGetUtilizationRates != nullptr &&
                             nvml.nvmlDeviceGetUtilizationRates(device->nvml_device_, &utilization) == kNvmlSuccess &&
                             utilization.gpu_percent > 0;
    }
  }
  *status = device->CreateContext();
  if (!status->ok()) return nullptr;
  return device;
}

Status GpuDevice::CreateContext() {
  CUresult result = driver_.cuCtxCreate(&context_, kCtxSchedBlockingSync, device_);
  if (result != kCudaSuccess) return driver_.Describe("cuCtxCreate", result);
  result = driver_.cuStreamCreate(&stream_, kStreamNonBlocking);
  if (result != kCudaSuccess) return driver_.Describe("cuStreamCreate", result);
  return Status::Ok();
}

void GpuDevice::DestroyContext() {
  /* destroying the context frees its stream, modules and memory, also after a fault */
  loaded_.clear();
  stream_ = nullptr;
  if (context_ != nullptr) driver_.cuCtxDestroy(context_);
  context_ = nullptr;
}

GpuDevice::~GpuDevice() {
  DestroyContext();
  if (nvml_.has_value()) nvml_->nvmlShutdown();
}

std::string GpuDevice::target_name() const {
  if (limits_.target == "ptx") return "compute_80 PTX";
  return limits_.target == "sm_90a" ? "sm_90" : limits_.target;
}

Status GpuDevice::Enter() {
  if (context_lost_) {
    DestroyContext();
    const Status status = CreateContext();
    if (!status.ok()) return status;
    context_lost_ = false;
  }
  return Note("cuCtxSetCurrent", driver_.cuCtxSetCurrent(context_));
}

Status GpuDevice::Note(const char* call, CUresult result) {
  if (result == kCudaSuccess) return Status::Ok();
  /* 700 … 720 are faults of a kernel; the driver refuses every later call of the context */
  if (result >= 700 && result <= 720 && result != kCudaErrorLaunchOutOfResources) context_lost_ = true;
  return driver_.Describe(call, result);
}

LoadedKernel GpuDevice::Load(const std::string& group, const std::string& name, int shared_bytes) {
  LoadedKernel kernel;
  auto entry = loaded_.find(group);
  if (entry == loaded_.end()) {
    const std::string& target = limits_.target;
    const auto module = std::find_if(modules_.begin(), modules_.end(), [&](const KernelModule& candidate) {
      return candidate.group == group && RunsImage(target, candidate.target);
    });
    if (module == modules_.end()) {
      kernel.status = {"kernelsInvalid", "The kernel build has no module " + group + " for " + target + ".", 0};
      return kernel;
    }
    if (driver_api_version_ < module->min_driver_api_version) {
      kernel.status = {"driverTooOld",
                       "This GPU's kernels need a driver for CUDA " +
                           std::to_string(module->min_driver_api_version / 1000) + "." +
                           std::to_string(module->min_driver_api_version % 1000 / 10) + "; this one is for CUDA " +
                           std::to_string(driver_api_version_ / 1000) + "." +
                           std::to_string(driver_api_version_ % 1000 / 10) + ".",
                       driver_api_version_};
      return kernel;
    }
    const ModuleImage image = ReadModule(kernel_dir_, *module);
    if (!image.status.ok()) {
      kernel.status = image.status;
      return kernel;
    }
    CUmodule loaded = nullptr;
    const auto start = std::chrono::steady_clock::now();
    kernel.status = Note("cuModuleLoadData", driver_.cuModuleLoadData(&loaded, image.bytes.c_str()));
    if (!kernel.status.ok()) return kernel;
    if (target == "ptx") {
      kernel.jit_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    }
    entry = loaded_.emplace(group, loaded).first;
  }
  kernel.status = Note("cuModuleGetFunction", driver_.cuModuleGetFunction(&kernel.function, entry->second, name.c_str()));
  if (kernel.status.ok() && shared_bytes > 48 * 1024) {
    kernel.status = Note("cuFuncSetAttribute", driver_.cuFuncSetAttribute(
                                                   kernel.function, kFuncAttributeMaxDynamicSharedSizeBytes, shared_bytes));
  }
  return kernel;
}

GpuBuffer GpuDevice::Allocate(size_t bytes, Status* status) {
  CUdeviceptr address = 0;
  const Status result = Note("cuMemAlloc", driver_.cuMemAlloc(&address, std::max<size_t>(bytes, 16)));
  if (!result.ok()) {
    *status = result;
    return {};
  }
  return GpuBuffer(&driver_, address, bytes);
}

Status GpuDevice::Upload(CUdeviceptr to, const void* from, size_t bytes) {
  if (bytes == 0) return Status::Ok();
  return Note("cuMemcpyHtoD", driver_.cuMemcpyHtoD(to, from, bytes));
}

Status GpuDevice::Download(void* to, CUdeviceptr from, size_t bytes) {
  return Note("cuMemcpyDtoH", driver_.cuMemcpyDtoH(to, from, bytes));
}

Status GpuDevice::Fill8(CUdeviceptr to, unsigned char value, size_t bytes) {
  if (bytes == 0) return Status::Ok();
  return Note("cuMemsetD8Async", driver_.cuMemsetD8Async(to, value, bytes, stream_));
}

size_t GpuDevice::FreeBytes() {
  size_t free_bytes = 0;
  size_t total = 0;
  if (driver_.cuMemGetInfo(&free_bytes, &total) != kCudaSuccess) return 0;
  return free_bytes;
}

Status GpuDevice::Launch(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads,
                         unsigned shared_bytes, void** params) {
  return Note("cuLaunchKernel", driver_.cuLaunchKernel(function, grid_x, grid_y, grid_z, threads, 1, 1, shared_bytes,
                                                       stream_, params, nullptr));
}

Wait GpuDevice::Synchronize(const CancelFlag* cancel, Status* status) {
  for (;;) {
    const CUresult result = driver_.cuStreamQuery(stream_);
    if (result == kCudaSuccess) {
      return cancel != nullptr && cancel->load(std::memory_order_relaxed) ? Wait::kCancelled : Wait::kDone;
    }
    if (result != kCudaErrorNotReady) {
      *status = Note("cuStreamQuery", result);
      return Wait::kFailed;
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

std::optional<double> GpuDevice::ProbeClockMHz() {
  const LoadedKernel probe = Load("support", "attn_clock_probe", 0);
  Status status = probe.status;
  if (!status.ok()) return std::nullopt;
  GpuBuffer out = Allocate(16, &status);
  if (!status.ok()) return std::nullopt;
  unsigned long long nanoseconds = kProbeNanoseconds;
  CUdeviceptr address = out.address();
  void* params[] = {&nanoseconds, &address};
  unsigned long long counts[2] = {0, 0};
  if (!Launch(probe.function, 1, 1, 1, 1, 0, params).ok()) return std::nullopt;
  if (Synchronize(nullptr, &status) != Wait::kDone) return std::nullopt;
  if (!Download(counts, address, sizeof counts).ok() || counts[1] == 0) return std::nullopt;
  return static_cast<double>(counts[0]) * 1e3 / static_cast<double>(counts[1]);
}

bool GpuDevice::Contended() {
  if (!nvml_.has_value() || nvml_device_ == nullptr) return false;
  const auto processes = ListProcesses(*nvml_, nvml_device_);
  if (!processes.has_value()) return false;
  /* one of them is this process; inside a container its pid cannot be recognised */
  const size_t others = processes->empty() ? 0 : processes->size() - 1;
  return (others > 0 && busy_before_) || others > processes_before_;
}

}  // namespace attn
