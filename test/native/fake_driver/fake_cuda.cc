// A libcuda without a GPU: enumerates the scripted devices, keeps "device" memory in host memory, launches nothing, and
// fails, sleeps or crashes where the script says so. Only for tests.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "script.h"

#define API extern "C" __attribute__((visibility("default"))) int
#define ENTER(call)                               \
  if (const int status = fake::Enter(call)) return status

namespace {

std::atomic<bool> initialised{false};
std::atomic<uint64_t> next_handle{1};
std::mutex memory_mutex;
std::map<uint64_t, size_t> allocations;

template <typename Handle>
void NewHandle(Handle* out) {
  *out = reinterpret_cast<Handle>(next_handle.fetch_add(1) * 64);
}

/// The enumerated devices, in CUDA order.
std::vector<fake::Gpu> Enumerated() {
  const auto gpus = fake::Gpus();
  const std::string order = fake::Value("cudaOrder", "all");
  if (order == "all") return gpus;
  std::vector<fake::Gpu> chosen;
  for (const std::string& position : fake::Split(order, ',')) {
    chosen.push_back(gpus[static_cast<size_t>(std::stoi(position))]);
  }
  return chosen;
}

int Allocate(uint64_t* address, size_t bytes) {
  const std::lock_guard<std::mutex> lock(memory_mutex);
  size_t allocated = 0;
  for (const auto& entry : allocations) allocated += entry.second;
  if (bytes > fake::MemoryBytes() - fake::UsedBytes() - allocated) return 2;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) return 2;
  *address = reinterpret_cast<uint64_t>(memory);
  allocations[*address] = bytes;
  return 0;
}

void* Host(uint64_t address) { return reinterpret_cast<void*>(address); }

struct KnownStatus {
  int code;
  const char* name;
  const char* text;
};

constexpr KnownStatus kStatuses[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {35, "CUDA_ERROR_INSUFFICIENT_DRIVER", "CUDA driver version is insufficient for CUDA runtime version"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const KnownStatus* Find(int code) {
  for (const KnownStatus& status : kStatuses) {
    if (status.code == code) return &status;
  }
  return nullptr;
}

}  // namespace

API cuInit(unsigned) {
  ENTER("cuInit");
  if (Enumerated().empty()) return 100;
  initialised = true;
  return 0;
}
API cuDriverGetVersion(int* version) {
  ENTER("cuDriverGetVersion");
  *version = static_cast<int>(fake::Number("apiVersion", 13000));
  return 0;
}
API cuGetErrorName(int code, const char** name) {
  const KnownStatus* status = Find(code);
  *name = status == nullptr ? nullptr : status->name;
  return status == nullptr ? 1 : 0;
}
API cuGetErrorString(int code, const char** text) {
  const KnownStatus* status = Find(code);
  *text = status == nullptr ? nullptr : status->text;
  return status == nullptr ? 1 : 0;
}
API cuDeviceGetCount(int* count) {
  ENTER("cuDeviceGetCount");
  if (!initialised) return 3;
  *count = static_cast<int>(Enumerated().size());
  return 0;
}
API cuDeviceGet(int* device, int ordinal) {
  ENTER("cuDeviceGet");
  if (ordinal < 0 || ordinal >= static_cast<int>(Enumerated().size())) return 101;
  *device = ordinal;
  return 0;
}
API cuDeviceGetName(char* name, int length, int device) {
  ENTER("cuDeviceGetName");
  std::snprintf(name, static_cast<size_t>(length), "Stand-in GPU %d", Enumerated()[static_cast<size_t>(device)].position);
  return 0;
}
API cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  ENTER("cuDeviceGetUuid");
  std::memset(uuid, 0x11, 16);
  uuid[0] = fake::UuidByte(Enumerated()[static_cast<size_t>(device)].position);
  return 0;
}
API cuDeviceTotalMem_v2(size_t* bytes, int) {
  ENTER("cuDeviceTotalMem");
  *bytes = fake::MemoryBytes();
  return 0;
}
API cuDeviceGetAttribute(int* value, int attribute, int device) {
  ENTER("cuDeviceGetAttribute");
  const fake::Gpu gpu = Enumerated()[static_cast<size_t>(device)];
  switch (attribute) {
    case 13: *value = 1980000; return 0;
    case 16: *value = 132; return 0;
    case 20: *value = static_cast<int>(fake::Number("computeMode", 0)); return 0;
    case 38: *value = 62914560; return 0;
    case 75: *value = gpu.major; return 0;
    case 76: *value = gpu.minor; return 0;
    case 81: *value = 233472; return 0;
    case 97: *value = gpu.major == 9 || gpu.major == 10 ? 232448 : 101376; return 0;
    default: return 1;
  }
}
API cuDeviceGetPCIBusId(char* id, int length, int device) {
  ENTER("cuDeviceGetPCIBusId");
  std::snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0",
                0x3B + Enumerated()[static_cast<size_t>(device)].position);
  return 0;
}

API cuCtxCreate_v2(void** context, unsigned, int) {
  ENTER("cuCtxCreate");
  NewHandle(context);
  return 0;
}
API cuCtxDestroy_v2(void*) {
  ENTER("cuCtxDestroy");
  return 0;
}
API cuCtxSetCurrent(void*) {
  ENTER("cuCtxSetCurrent");
  return 0;
}
API cuCtxGetCurrent(void** context) {
  *context = nullptr;
  return 0;
}
API cuCtxSynchronize() {
  ENTER("cuCtxSynchronize");
  return 0;
}

API cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
  ENTER("cuMemGetInfo");
  *total_bytes = fake::MemoryBytes();
  *free_bytes = fake::MemoryBytes() - fake::UsedBytes();
  return 0;
}
API cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  ENTER("cuMemAlloc");
  return Allocate(address, bytes);
}
API cuMemFree_v2(uint64_t address) {
  ENTER("cuMemFree");
  const std::lock_guard<std::mutex> lock(memory_mutex);
  if (allocations.erase(address) == 0) return 1;
  std::free(Host(address));
  return 0;
}
API cuMemAllocHost_v2(void** memory, size_t bytes) {
  ENTER("cuMemAllocHost");
  *memory = std::malloc(bytes);
  return *memory == nullptr ? 2 : 0;
}
API cuMemFreeHost(void* memory) {
  std::free(memory);
  return 0;
}
API cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  ENTER("cuMemcpyHtoD");
  std::memcpy(Host(to), from, bytes);
  return 0;
}
API cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  ENTER("cuMemcpyDtoH");
  std::memcpy(to, Host(from), bytes);
  return 0;
}
API cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) {
  ENTER("cuMemcpyDtoD");
  std::memcpy(Host(to), Host(from), bytes);
  return 0;
}
API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) { return cuMemcpyHtoD_v2(to, from, bytes); }
API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) { return cuMemcpyDtoH_v2(to, from, bytes); }
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) { return cuMemcpyDtoD_v2(to, from, bytes); }
API cuMemsetD8_v2(uint64_t at, unsigned char value, size_t count) {
  ENTER("cuMemsetD8");
  std::memset(Host(at), value, count);
  return 0;
}
API cuMemsetD32_v2(uint64_t at, unsigned value, size_t count) {
  ENTER("cuMemsetD32");
  for (size_t i = 0; i < count; ++i) static_cast<unsigned*>(Host(at))[i] = value;
  return 0;
}
API cuMemsetD8Async(uint64_t at, unsigned char value, size_t count, void*) { return cuMemsetD8_v2(at, value, count); }
API cuMemsetD32Async(uint64_t at, unsigned value, size_t count, void*) { return cuMemsetD32_v2(at, value, count); }

API cuModuleLoadDataEx(void** module, const void*, unsigned, int*, void**) {
  ENTER("cuModuleLoadDataEx");
  NewHandle(module);
  return 0;
}
API cuModuleLoadData(void** module, const void*) {
  ENTER("cuModuleLoadData");
  NewHandle(module);
  return 0;
}
API cuModuleUnload(void*) { return 0; }
API cuModuleGetFunction(void** function, void*, const char*) {
  ENTER("cuModuleGetFunction");
  NewHandle(function);
  return 0;
}
API cuModuleGetGlobal_v2(uint64_t*, size_t*, void*, const char*) { return 500; }
API cuFuncGetAttribute(int* value, int attribute, void*) {
  ENTER("cuFuncGetAttribute");
  *value = attribute == 0 ? 1024 : attribute == 6 ? 80 : 0;
  return 0;
}
API cuFuncSetAttribute(void*, int, int) {
  ENTER("cuFuncSetAttribute");
  return 0;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, size_t) {
  ENTER("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  *blocks = 1;
  return 0;
}
API cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) {
  ENTER("cuLaunchKernel");
  return 0;
}

API cuStreamCreate(void** stream, unsigned) {
  ENTER("cuStreamCreate");
  NewHandle(stream);
  return 0;
}
API cuStreamDestroy_v2(void*) { return 0; }
API cuStreamSynchronize(void*) {
  ENTER("cuStreamSynchronize");
  return 0;
}
API cuStreamQuery(void*) {
  ENTER("cuStreamQuery");
  return 0;
}
API cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
API cuStreamBeginCapture_v2(void*, int) {
  ENTER("cuStreamBeginCapture");
  return 0;
}
API cuStreamEndCapture(void*, void** graph) {
  ENTER("cuStreamEndCapture");
  NewHandle(graph);
  return 0;
}

API cuEventCreate(void** event, unsigned) {
  ENTER("cuEventCreate");
  *event = new std::chrono::steady_clock::time_point();
  return 0;
}
API cuEventDestroy_v2(void* event) {
  delete static_cast<std::chrono::steady_clock::time_point*>(event);
  return 0;
}
API cuEventRecord(void* event, void*) {
  ENTER("cuEventRecord");
  *static_cast<std::chrono::steady_clock::time_point*>(event) = std::chrono::steady_clock::now();
  return 0;
}
API cuEventQuery(void*) {
  ENTER("cuEventQuery");
  return 0;
}
API cuEventSynchronize(void*) {
  ENTER("cuEventSynchronize");
  return 0;
}
API cuEventElapsedTime(float* ms, void* start, void* end) {
  ENTER("cuEventElapsedTime");
  using Point = std::chrono::steady_clock::time_point;
  *ms = std::chrono::duration<float, std::milli>(*static_cast<Point*>(end) - *static_cast<Point*>(start)).count();
  return 0;
}

API cuGraphInstantiateWithFlags(void** exec, void*, unsigned long long) {
  ENTER("cuGraphInstantiate");
  NewHandle(exec);
  return 0;
}
API cuGraphLaunch(void*, void*) {
  ENTER("cuGraphLaunch");
  return 0;
}
API cuGraphExecDestroy(void*) { return 0; }
API cuGraphDestroy(void*) { return 0; }
