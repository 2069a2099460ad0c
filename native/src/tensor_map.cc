#include "tensor_map.h"

#include <numeric>

namespace attn {
namespace {

// CUtensorMapDataType, CUtensorMapSwizzle (CUDA Driver API, tensor map object management)
constexpr int kTensorMapUint8 = 0;
constexpr int kTensorMapUint16 = 1;
constexpr int kTensorMapSwizzle128B = 3;

}  // namespace

Status EncodeTensorMap(GpuDevice& device, CUtensorMap* map, uint64_t base, int rank, const int64_t (&extents)[4],
                       const int64_t (&strides)[4], int64_t box_rows, L2Promotion promotion, int element_bytes) {
  uint64_t dims[4], stride_bytes[3];
  for (int i = 0; i < rank; ++i) dims[i] = static_cast<uint64_t>(extents[i]);
  for (int i = 1; i < rank; ++i) stride_bytes[i - 1] = static_cast<uint64_t>(strides[i] * element_bytes);
  const uint32_t box[4] = {static_cast<uint32_t>(128 / element_bytes), static_cast<uint32_t>(box_rows), 1, 1};
  const uint32_t element_strides[4] = {1, 1, 1, 1};
  // Elements are moved as bits; zero is the same in every type.
  const int type = element_bytes == 1 ? kTensorMapUint8 : kTensorMapUint16;
  return device.Note("cuTensorMapEncodeTiled",
                     device.driver().cuTensorMapEncodeTiled(map, type, static_cast<uint32_t>(rank),
                                                            reinterpret_cast<void*>(base), dims, stride_bytes, box,
                                                            element_strides, 0, kTensorMapSwizzle128B,
                                                            static_cast<int>(promotion), 0));
}

Status EncodeKvMap(GpuDevice& device, CUtensorMap* map, const KvTensor& tensor, int columns, const AttentionParams& params,
                   const HopperShape& shape, int64_t box_rows, L2Promotion promotion) {
  // Contiguous KV is one block; its stride is never used but must be a multiple of 16 bytes.
  const int64_t block_stride = params.pageTable != 0 ? tensor.blockStride : tensor.tokenStride;
  return EncodeTensorMap(device, map, tensor.base, 4, {columns, shape.block_tokens, params.kvHeads, shape.blocks},
                         {1, tensor.tokenStride, tensor.headStride, block_stride}, box_rows, promotion, shape.kv_element_bytes);
}

int BoxRows(int stage_rows, const AttentionParams& params) {
  return params.pageTable != 0 ? std::gcd(stage_rows, 1 << params.pageShift) : stage_rows;
}

}  // namespace attn
