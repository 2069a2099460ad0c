#include "ceilings_gpu.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace attn {
namespace {

/// A stream is read over this many bytes: far more than any L2 cache.
constexpr size_t kStreamBytes = size_t{2} << 30;
constexpr size_t kSmallestStreamBytes = size_t{256} << 20;
constexpr double kWarmupMs = 100.0;
constexpr int kBatches = 10;
constexpr double kBatchMs = 5.0;
/// Tensor-core issue loops, the widest instruction of an image.
struct TensorLoop {
  const char* group;
  const char* kernel;
  const char* instruction;
  double flops_per_block_round;
  unsigned blocks_per_sm;
};
/// 8 warps of 16 mma.m16n8k16; 2 warpgroups of 8 wgmma.m64n256k16.
constexpr TensorLoop kMmaLoop = {"support", "attn_mma_loop", "mma.sync.m16n8k16 bf16", 8.0 * 16 * 4096, 2};
constexpr TensorLoop kWgmmaLoop = {"ceiling_wgmma", "attn_wgmma_loop", "wgmma.m64n256k16 bf16", 2.0 * 8 * 524288, 1};
constexpr int kMmaRounds = 4096;
constexpr unsigned kLoopThreads = 256;

/// Milliseconds per call of `launch`, the best decile of batches: a ceiling is what can be reached. Negative = failed.
double BestMs(GpuDevice& device, const CancelFlag& cancel, const std::function<Status()>& launch, Status* problem) {
  const CudaDriver& cuda = device.driver();
  GpuEvent begin(cuda);
  GpuEvent end(cuda);
  const auto batch = [&](int launches) {
    if (!device.Note("cuEventRecord", cuda.cuEventRecord(begin.get(), device.stream())).ok()) return -1.0;
    for (int i = 0; i < launches; ++i) {
      const Status status = launch();
      if (!status.ok()) {
        *problem = status;
        return -1.0;
      }
    }
    cuda.cuEventRecord(end.get(), device.stream());
    if (device.Synchronize(&cancel, problem) != Wait::kDone) return -1.0;
    float ms = 0.0f;
    if (cuda.cuEventElapsedTime(&ms, begin.get(), end.get()) != kCudaSuccess) return -1.0;
    return static_cast<double>(ms) / launches;
  };
  double one = batch(1);
  if (one < 0) return one;
  for (double spent = 0; spent < kWarmupMs; spent += std::max(one, 1e-3) * 4) {
    one = batch(4);
    if (one < 0) return one;
  }
  const int launches = std::max(1, static_cast<int>(kBatchMs / std::max(one, 1e-3)));
  std::vector<double> times;
  for (int i = 0; i < kBatches; ++i) {
    const double ms = batch(launches);
    if (ms < 0) return ms;
    times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[1];
}

}  // namespace

Ceilings MeasureGpuCeilings(GpuDevice& device, const RunOptions& options, const CancelFlag& cancel, Status* problem) {
  Ceilings ceilings;
  const LoadedKernel read = device.Load("support", "attn_read_stream", 0);
  const LoadedKernel copy = device.Load("support", "attn_copy_stream", 0);
  const TensorLoop& loop = device.limits().target == "sm_90a" ? kWgmmaLoop : kMmaLoop;
  const LoadedKernel tensor = device.Load(loop.group, loop.kernel, 0);
  for (const LoadedKernel* kernel : {&read, &copy, &tensor}) {
    if (!kernel->status.ok()) {
      *problem = kernel->status;
      return ceilings;
    }
  }
  const double allowed = static_cast<double>(device.FreeBytes()) * options.max_memory_fraction;
  const size_t bytes = std::min(kStreamBytes, static_cast<size_t>(allowed / 2) / 4096 * 4096);
  if (bytes < kSmallestStreamBytes) {
    *problem = {"memoryLimit", "Too little free GPU memory to measure the memory ceilings.", 0};
    return ceilings;
  }
  Status status;
  GpuBuffer from = device.Allocate(bytes, &status);
  GpuBuffer to;
  GpuBuffer sink;
  if (status.ok()) to = device.Allocate(bytes, &status);
  if (status.ok()) sink = device.Allocate(16, &status);
  /* not zeros: memory controllers and power draw tell them from data */
  if (status.ok()) status = device.Fill8(from.address(), 0x5A, bytes);
  if (!status.ok()) {
    *problem = status;
    return ceilings;
  }
  CUdeviceptr source = from.address();
  CUdeviceptr target = to.address();
  CUdeviceptr nowhere = sink.address();
  unsigned long long vectors = bytes / 16;
  const unsigned blocks = static_cast<unsigned>(device.sm_count()) * 4;

  void* read_arguments[] = {&source, &vectors, &nowhere};
  const double read_ms = BestMs(
      device, cancel, [&] { return device.Launch(read.function, blocks, 1, 1, 512, 0, read_arguments); }, problem);
  if (read_ms < 0) return ceilings;
  ceilings.read_stream_tbps = static_cast<double>(bytes) / read_ms * 1e-9;

  void* copy_arguments[] = {&target, &source, &vectors};
  const double copy_ms = BestMs(
      device, cancel, [&] { return device.Launch(copy.function, blocks, 1, 1, 512, 0, copy_arguments); }, problem);
  if (copy_ms < 0) return ceilings;
  ceilings.copy_tbps = 2.0 * static_cast<double>(bytes) / copy_ms * 1e-9;

  int rounds = kMmaRounds;
  void* loop_arguments[] = {&rounds, &nowhere};
  const unsigned loop_blocks = static_cast<unsigned>(device.sm_count()) * loop.blocks_per_sm;
  const auto launch_loop = [&] {
    return device.Launch(tensor.function, loop_blocks, 1, 1, kLoopThreads, 0, loop_arguments);
  };
  const double loop_ms = BestMs(device, cancel, launch_loop, problem);
  if (loop_ms < 0) return ceilings;
  ceilings.tensor_core_tflops = loop.flops_per_block_round * rounds * loop_blocks / loop_ms * 1e-9;
  ceilings.tensor_core_instruction = loop.instruction;
  for (int i = 0; i < 4; ++i) launch_loop();
  ceilings.sm_clock_mhz = device.ProbeClockMHz();
  return ceilings;
}

}  // namespace attn
