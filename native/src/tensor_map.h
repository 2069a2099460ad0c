// Tensor maps, through which TMA reads and writes the operands of the Hopper kernels.
#pragma once

#include "../kernels/common/params.h"
#include "gpu_device.h"

namespace attn {

/// Shape of the tensors of a case, beyond what AttentionParams says.
struct HopperShape {
  int64_t q_tokens = 0;
  int64_t longest_q = 0;
  /// Rows of one block of K/V storage (page size, or all tokens) and number of blocks.
  int64_t block_tokens = 0;
  int64_t blocks = 0;
  /// Bytes of a stored element of K and V: 2, or 1 for fp8.
  int kv_element_bytes = 2;
};

/// Largest line a miss brings into the L2 cache (CUtensorMapL2promotion).
enum class L2Promotion { k128B = 2, k256B = 3 };

/// Map of (element, row, head, block), strides in elements, with a box of 128 bytes x `box_rows` rows, 128-byte swizzled;
/// out-of-range elements read as zero. `element_bytes` is 2 or 1.
Status EncodeTensorMap(GpuDevice& device, CUtensorMap* map, uint64_t base, int rank, const int64_t (&extents)[4],
                       const int64_t (&strides)[4], int64_t box_rows, L2Promotion promotion, int element_bytes = 2);

/// Map of K or V of a case with its number of columns, contiguous (one block) or paged.
Status EncodeKvMap(GpuDevice& device, CUtensorMap* map, const KvTensor& tensor, int columns, const AttentionParams& params,
                   const HopperShape& shape, int64_t box_rows, L2Promotion promotion);

/// Rows of one TMA box: all rows of a shared-memory stage, or with pages a divisor of both.
int BoxRows(int stage_rows, const AttentionParams& params);

}  // namespace attn
