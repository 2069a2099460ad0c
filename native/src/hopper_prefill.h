// Launches of the Hopper prefill kernels: their parameters and the tensor maps through which TMA reads and writes.
#pragma once

#include <vector>

#include "../kernels/common/params.h"
#include "../kernels/sm90a/prefill_params.h"
#include "gpu_device.h"
#include "session.h"
#include "tensor_map.h"

namespace attn {

class HopperPrefill {
 public:
  HopperPrefill(GpuDevice& device, const KernelRow& row, CUfunction function, const AttentionCase& spec)
      : device_(device), row_(row), function_(function), spec_(spec) {}

  /// Encodes the tensor maps of buffer set `set`; called once per set, in order, with that set's addresses in `params`.
  Status AddSet(const AttentionParams& params, const HopperShape& shape);
  /// Queues a launch on set `set` that writes the log-sum-exp to `lse` (float [totalQ, qHeads]; 0 = not wanted).
  Status Launch(size_t set, CUdeviceptr lse);

 private:
  struct Maps {
    CUtensorMap q, k, v, o;
  };

  GpuDevice& device_;
  const KernelRow& row_;
  CUfunction function_;
  const AttentionCase& spec_;
  GpuBuffer counter_;
  sm90::PrefillParams params_{};
  std::vector<Maps> sets_;
  unsigned grid_ = 0;
};

}  // namespace attn
