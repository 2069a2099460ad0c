// Launches of the Hopper MLA decode kernel: its plan, the memory the plan needs, and the tensor maps.
#pragma once

#include <vector>

#include "../kernels/common/params.h"
#include "../kernels/sm90a/mla_params.h"
#include "gpu_device.h"
#include "kernel_registry.h"
#include "mla_plan.h"
#include "session.h"
#include "tensor_map.h"

namespace attn {

class HopperMla {
 public:
  /// Plans the case for this GPU.
  HopperMla(GpuDevice& device, const KernelRow& row, CUfunction function, const AttentionCase& spec)
      : device_(device), row_(row), function_(function), plan_(PlanMla(spec, device.sm_count())) {}

  /// Device memory that Upload allocates.
  size_t bytes() const;
  int num_splits() const { return plan_.max_splits; }

  /// Brings the plan to the GPU; called once, before the first set. `params` is the case with its addresses.
  Status Upload(const AttentionParams& params, const HopperShape& shape);
  /// Encodes the tensor maps of the next buffer set, whose addresses are in `params`.
  Status AddSet(const AttentionParams& params, const HopperShape& shape);
  /// Queues a launch on set `set` that writes the log-sum-exp to `lse` (float [totalQ, qHeads]; 0 = not wanted).
  Status Launch(size_t set, CUdeviceptr lse);

 private:
  struct Set {
    CUtensorMap q, kv_half, kv_rope;
  };
  struct Layout {
    size_t segments, starts, arrivals, stats, partials; /* bytes of each piece of `memory_`, in this order */
  };
  Layout LayOut() const;
  /// Map of KV with boxes of `box_chunks` chunks of 64 columns: (element, row, chunk, group of 8 rows, page), so that a box of a
  /// page arrives as groups, chunk beside chunk. Contiguous rows start anywhere, so there a box is 8 of them, counted singly.
  Status EncodeKv(CUtensorMap* map, const AttentionParams& params, const HopperShape& shape, int64_t box_chunks);

  GpuDevice& device_;
  const KernelRow& row_;
  CUfunction function_;
  MlaPlan plan_;
  GpuBuffer memory_;
  sm90::MlaParams params_{};
  std::vector<Set> sets_;
};

}  // namespace attn
