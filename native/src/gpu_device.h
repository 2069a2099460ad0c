// One GPU with a context of its own: modules loaded on demand, launches, memory, waiting that hears a cancel.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda_driver.h"
#include "kernel_registry.h"
#include "nvml.h"
#include "session.h"

namespace attn {

/// Device memory that frees itself.
class GpuBuffer {
 public:
  GpuBuffer() = default;
  GpuBuffer(const CudaDriver* driver, CUdeviceptr address, size_t bytes)
      : driver_(driver), address_(address), bytes_(bytes) {}
  GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
  GpuBuffer& operator=(GpuBuffer&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~GpuBuffer() {
    if (address_ != 0) driver_->cuMemFree(address_);
  }
  CUdeviceptr address() const { return address_; }
  size_t bytes() const { return bytes_; }

 private:
  const CudaDriver* driver_ = nullptr;
  CUdeviceptr address_ = 0;
  size_t bytes_ = 0;
};

/// A kernel ready to launch. `jit_ms` is what loading its PTX took just now; empty for SASS and for loaded modules.
struct LoadedKernel {
  Status status;
  CUfunction function = nullptr;
  std::optional<double> jit_ms;
};

/// How a wait ended.
enum class Wait { kDone, kCancelled, kFailed };

class GpuDevice {
 public:
  /// Creates the context. `status` as OpenResult says.
  static std::unique_ptr<GpuDevice> Open(const std::string& device_id, const std::string& kernel_dir, Status* status);
  ~GpuDevice();
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  const CudaDriver& driver() const { return driver_; }
  const GpuLimits& limits() const { return limits_; }
  int sm_count() const { return sm_count_; }
  int64_t l2_bytes() const { return l2_bytes_; }
  CUstream stream() const { return stream_; }
  /// Name of the portable kernels' image on this GPU, as shown to the user: `sm_80`, `compute_80 PTX`.
  std::string target_name() const;

  /// Makes the context current on this thread. After an error that killed the context, makes a new one first.
  Status Enter();

  /// The kernel `name` of module `group`, with its shared-memory limit raised to `shared_bytes`.
  LoadedKernel Load(const std::string& group, const std::string& name, int shared_bytes);

  /// Allocates; `status->code` is CUDA_ERROR_OUT_OF_MEMORY when it does not fit.
  GpuBuffer Allocate(size_t bytes, Status* status);
  Status Upload(CUdeviceptr to, const void* from, size_t bytes);
  Status Download(void* to, CUdeviceptr from, size_t bytes);
  Status Fill8(CUdeviceptr to, unsigned char value, size_t bytes);
  size_t FreeBytes();

  Status Launch(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads,
                unsigned shared_bytes, void** params);
  /// Waits for the stream. With a flag, returns kCancelled as soon as it is set and the work under way has ended.
  Wait Synchronize(const CancelFlag* cancel, Status* status);

  /// SM clock right now, by a probe kernel queued behind the work before it; empty when it failed.
  std::optional<double> ProbeClockMHz();

  /// Another compute process is on this GPU, which was busy before we came or joined since. False when NVML cannot tell.
  bool Contended();

  /// Remembers an error; errors after which no call can succeed make the next Enter start over.
  Status Note(const char* call, CUresult result);

 private:
  GpuDevice(CudaDriver driver, std::string kernel_dir) : driver_(driver), kernel_dir_(std::move(kernel_dir)) {}
  Status CreateContext();
  void DestroyContext();

  CudaDriver driver_;
  std::string kernel_dir_;
  std::vector<KernelModule> modules_;
  std::map<std::string, CUmodule> loaded_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  GpuLimits limits_;
  int sm_count_ = 0;
  int64_t l2_bytes_ = 0;
  int driver_api_version_ = 0;
  bool context_lost_ = false;

  std::optional<Nvml> nvml_;
  nvmlDevice nvml_device_ = nullptr;
  size_t processes_before_ = 0;
  bool busy_before_ = false;
};

/// Events that destroy themselves.
class GpuEvent {
 public:
  explicit GpuEvent(const CudaDriver& driver) : driver_(driver) {
    if (driver_.cuEventCreate(&event_, kEventDefault) != kCudaSuccess) event_ = nullptr;
  }
  ~GpuEvent() {
    if (event_ != nullptr) driver_.cuEventDestroy(event_);
  }
  GpuEvent(const GpuEvent&) = delete;
  GpuEvent& operator=(const GpuEvent&) = delete;
  CUevent get() const { return event_; }

 private:
  const CudaDriver& driver_;
  CUevent event_ = nullptr;
};

}  // namespace attn
