// Launches of the Hopper prefill kernels: their parameters and the tensor maps through which TMA reads and writes.
#pragma once

#include <vector>

#include "../kernels/common/params.h"
#include "../kernels/sm90a/prefill_params.h"
#include "gpu_device.h"
#include "session.h"

namespace attn {

/// Shape of the tensors of a case, beyond what AttentionParams says.
struct HopperShape {
  int64_t q_tokens = 0;
  int64_t longest_q = 0;
  /// Rows of one block of K/V storage (page size, or all tokens) and number of blocks.
  int64_t block_tokens = 0;
  int64_t blocks = 0;
};

class HopperPrefill {
 public:
  HopperPrefill(GpuDevice& device, const KernelRow& row, CUfunction function)
      : device_(device), row_(row), function_(function) {}

  /// Encodes the tensor maps of buffer set `set`; called once per set, in order, with that set's addresses in `params`.
  Status AddSet(const AttentionParams& params, const HopperShape& shape);
  Status Launch(size_t set);

 private:
  struct Maps {
    CUtensorMap q, k, v, o;
  };
  /// Map of (element, row, head, block) with a box of 64 elements x `box_rows` rows, 128-byte swizzled.
  Status Encode(CUtensorMap* map, uint64_t base, int rank, const int64_t (&extents)[4], const int64_t (&strides)[4],
                int64_t box_rows);

  GpuDevice& device_;
  const KernelRow& row_;
  CUfunction function_;
  GpuBuffer counter_;
  sm90::PrefillParams params_{};
  std::vector<Maps> sets_;
  unsigned grid_ = 0;
};

}  // namespace attn
