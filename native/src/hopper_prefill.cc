#include "hopper_prefill.h"

#include <algorithm>
#include <numeric>

namespace attn {
namespace {

// CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion (CUDA Driver API, tensor map object management)
constexpr int kTensorMapBf16 = 9;
constexpr int kTensorMapSwizzle128B = 3;
constexpr int kTensorMapL2Promotion256B = 3;

/// Heads whose causal tiles are handed out together. Measured on an H200 at 16k tokens, 8 to 64 heads: the more the
/// better, as row blocks of one length then run side by side and share K and V in the L2 cache.
constexpr int64_t kSectionHeads = 32;

/// Rows of one TMA box: all rows of a shared-memory stage, or with pages a divisor of both.
int BoxRows(int stage_rows, int page_shift, bool paged) {
  return paged ? std::gcd(stage_rows, 1 << page_shift) : stage_rows;
}

}  // namespace

Status HopperPrefill::Encode(CUtensorMap* map, uint64_t base, int rank, const int64_t (&extents)[4],
                             const int64_t (&strides)[4], int64_t box_rows) {
  uint64_t dims[4], stride_bytes[3];
  for (int i = 0; i < rank; ++i) dims[i] = static_cast<uint64_t>(extents[i]);
  for (int i = 1; i < rank; ++i) stride_bytes[i - 1] = static_cast<uint64_t>(strides[i]) * 2;
  const uint32_t box[4] = {64, static_cast<uint32_t>(box_rows), 1, 1};
  const uint32_t element_strides[4] = {1, 1, 1, 1};
  // Both 16-bit types are moved as bits; out-of-range elements read as zero in either.
  return device_.Note("cuTensorMapEncodeTiled",
                      device_.driver().cuTensorMapEncodeTiled(
                          map, kTensorMapBf16, static_cast<uint32_t>(rank), reinterpret_cast<void*>(base), dims,
                          stride_bytes, box, element_strides, 0, kTensorMapSwizzle128B, kTensorMapL2Promotion256B, 0));
}

Status HopperPrefill::AddSet(const AttentionParams& from, const HopperShape& shape) {
  const bool paged = from.pageTable != 0;
  Status status;
  if (sets_.empty()) {
    counter_ = device_.Allocate(16, &status);
    if (status.ok()) status = device_.Fill8(counter_.address(), 0, 16);
    if (!status.ok()) return status;
    sm90::PrefillParams& p = params_;
    p.qStarts = reinterpret_cast<const int*>(from.qStart);
    p.kvStarts = reinterpret_cast<const int*>(from.kvStart);
    p.kvEnds = p.kvStarts + 1;
    p.pageTable = reinterpret_cast<const int*>(from.pageTable);
    p.out = reinterpret_cast<void*>(from.o);
    p.lse = reinterpret_cast<float*>(from.lse);
    p.counter = reinterpret_cast<unsigned*>(counter_.address());
    p.outTokenStride = from.oTokenStride;
    p.outHeadStride = from.oHeadStride;
    p.lseTokenStride = from.qHeads;
    p.lseHeadStride = 1;
    p.scaleLog2 = from.scaleLog2;
    p.headDimV = from.headDimV;
    p.batch = from.batch;
    p.qHeads = from.qHeads;
    p.kvHeads = from.kvHeads;
    p.qLenMax = static_cast<int>(shape.longest_q);
    p.causal = from.causal;
    p.pageTableStride = from.pageTableStride;
    p.pageShift = from.pageShift;
    p.pageCount = static_cast<int>(shape.blocks);
    p.boxRows = BoxRows(row_.k_stage_rows, from.pageShift, paged);
    p.boxRowsV = BoxRows(row_.v_stage_rows, from.pageShift, paged);
    const int64_t heads = static_cast<int64_t>(from.batch) * from.qHeads;
    p.sectionHeads = static_cast<int>(std::min(heads, kSectionHeads));
    const int64_t tiles = (shape.longest_q + row_.rows_per_block - 1) / row_.rows_per_block * heads;
    grid_ = static_cast<unsigned>(std::min<int64_t>(tiles, device_.sm_count()));
  }
  const int64_t q_tokens = std::max<int64_t>(1, shape.q_tokens);
  Maps maps;
  status = Encode(&maps.q, from.q, 3, {from.headDim, q_tokens, from.qHeads, 1},
                  {1, from.qTokenStride, from.qHeadStride, 0}, 64);
  if (status.ok()) {
    status = Encode(&maps.o, from.o, 3, {from.headDimV, q_tokens, from.qHeads, 1},
                    {1, from.oTokenStride, from.oHeadStride, 0}, 16);
  }
  const auto encode_kv = [&](CUtensorMap* map, const KvTensor& tensor, int columns, int box_rows) {
    // Contiguous KV is one block; its stride is never used but must be a multiple of 16 bytes.
    const int64_t block_stride = paged ? tensor.blockStride : tensor.tokenStride;
    return Encode(map, tensor.base, 4, {columns, shape.block_tokens, from.kvHeads, shape.blocks},
                  {1, tensor.tokenStride, tensor.headStride, block_stride}, box_rows);
  };
  if (status.ok()) status = encode_kv(&maps.k, from.k, from.headDim, params_.boxRows);
  if (status.ok()) status = encode_kv(&maps.v, from.v, from.headDimV, params_.boxRowsV);
  if (status.ok()) sets_.push_back(maps);
  return status;
}

Status HopperPrefill::Launch(size_t set) {
  if (grid_ == 0) return Status::Ok();  // no query at all
  Maps& maps = sets_[set];
  void* arguments[] = {&maps.q, &maps.k, &maps.v, &maps.o, &params_};
  return device_.Launch(function_, grid_, 1, 1, static_cast<unsigned>(row_.threads),
                        static_cast<unsigned>(row_.shared_bytes), arguments);
}

}  // namespace attn
