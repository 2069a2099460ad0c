// Launches of the Hopper decode kernels: how their work is cut, and the tensor maps through which TMA reads K and V.
#pragma once

#include <vector>

#include "../kernels/common/params.h"
#include "../kernels/sm90a/decode_params.h"
#include "decode_plan.h"
#include "gpu_device.h"
#include "session.h"
#include "tensor_map.h"

namespace attn {

/// What the plan of a decode case should look like for a Hopper row on a GPU with `slots` blocks at a time. Pure.
DecodeShape HopperDecodeShape(const AttentionCase& spec, const KernelRow& row, int slots);

class HopperDecode {
 public:
  HopperDecode(GpuDevice& device, const KernelRow& row, CUfunction function)
      : device_(device), row_(row), function_(function) {}

  /// Takes over a plan made for `shape`; called once, before the first set.
  Status SetPlan(const DecodePlan& plan, const DecodeShape& shape, const AttentionParams& params, const HopperShape& tensors);
  /// Encodes the tensor maps of the next buffer set, whose addresses are in `params`.
  Status AddSet(const AttentionParams& params, const HopperShape& tensors);
  /// Queues a launch on set `set` that writes the log-sum-exp to `lse` (float [totalQ, qHeads]; 0 = not wanted).
  Status Launch(size_t set, CUdeviceptr lse);

 private:
  struct Maps {
    CUtensorMap k, v;
    uint64_t q;
  };

  GpuDevice& device_;
  const KernelRow& row_;
  CUfunction function_;
  GpuBuffer segments_;
  AttentionParams params_{};
  sm90::DecodeStream stream_{};
  std::vector<Maps> sets_;
  unsigned grid_ = 0;
};

}  // namespace attn
