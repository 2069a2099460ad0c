// Tensor maps, through which TMA reads and writes the operands of the Hopper kernels.
#pragma once

#include <initializer_list>

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

/// One dimension of a tensor map: how many there are, how many elements apart, and how many of them a box takes.
struct MapDimension {
  int64_t extent, stride, box = 1;
};

/// Elements of `element_bytes` (2 or 1) in a row of a 128-byte-swizzled box.
constexpr int64_t BoxColumns(int element_bytes) { return 128 / element_bytes; }

/// Map of up to five dimensions, the innermost first, 128-byte swizzled; out-of-range elements read as zero.
Status EncodeTensorMap(GpuDevice& device, CUtensorMap* map, uint64_t base, std::initializer_list<MapDimension> dimensions,
                       L2Promotion promotion, int element_bytes = 2);

/// Map (element, row, head, block) of K or V of a case with its number of columns, contiguous (one block) or paged. A box is
/// 128 bytes x `box_rows` rows.
Status EncodeKvMap(GpuDevice& device, CUtensorMap* map, const KvTensor& tensor, int columns, const AttentionParams& params,
                   const HopperShape& shape, int64_t box_rows, L2Promotion promotion);

/// Rows of one TMA box: all rows of a shared-memory stage, or with pages a divisor of both.
int BoxRows(int stage_rows, const AttentionParams& params);

}  // namespace attn
