#include "tensor_map.h"

#include <numeric>

namespace attn {
namespace {

// CUtensorMapDataType, CUtensorMapSwizzle (CUDA Driver API, tensor map object management)
constexpr int kTensorMapUint8 = 0;
constexpr int kTensorMapUint16 = 1;
constexpr int kTensorMapSwizzle128B = 3;
constexpr int kMapRank = 5; /* at most */

}  // namespace

Status EncodeTensorMap(GpuDevice& device, CUtensorMap* map, uint64_t base, std::initializer_list<MapDimension> dimensions,
                       L2Promotion promotion, int element_bytes) {
  uint64_t extents[kMapRank], stride_bytes[kMapRank]; /* the driver wants no stride of the innermost dimension */
  uint32_t box[kMapRank];
  uint32_t rank = 0;
  for (const MapDimension& dimension : dimensions) {
    extents[rank] = static_cast<uint64_t>(dimension.extent);
    stride_bytes[rank] = static_cast<uint64_t>(dimension.stride * element_bytes);
    box[rank++] = static_cast<uint32_t>(dimension.box);
  }
  const uint32_t element_strides[kMapRank] = {1, 1, 1, 1, 1};
  // Elements are moved as bits; zero is the same in every type.
  const int type = element_bytes == 1 ? kTensorMapUint8 : kTensorMapUint16;
  return device.Note("cuTensorMapEncodeTiled",
                     device.driver().cuTensorMapEncodeTiled(map, type, rank, reinterpret_cast<void*>(base), extents,
                                                            stride_bytes + 1, box, element_strides, 0, kTensorMapSwizzle128B,
                                                            static_cast<int>(promotion), 0));
}

Status EncodeKvMap(GpuDevice& device, CUtensorMap* map, const KvTensor& tensor, int columns, const AttentionParams& params,
                   const HopperShape& shape, int64_t box_rows, L2Promotion promotion) {
  // Contiguous KV is one block; its stride is never used but must be a multiple of 16 bytes.
  const int64_t block_stride = params.pageTable != 0 ? tensor.blockStride : tensor.tokenStride;
  return EncodeTensorMap(device, map, tensor.base,
                         {{columns, 1, BoxColumns(shape.kv_element_bytes)},
                          {shape.block_tokens, tensor.tokenStride, box_rows},
                          {params.kvHeads, tensor.headStride},
                          {shape.blocks, block_stride}},
                         promotion, shape.kv_element_bytes);
}

int BoxRows(int stage_rows, const AttentionParams& params) {
  return params.pageTable != 0 ? std::gcd(stage_rows, 1 << params.pageShift) : stage_rows;
}

}  // namespace attn
