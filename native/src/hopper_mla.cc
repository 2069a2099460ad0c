#include "hopper_mla.h"

#include <algorithm>

namespace attn {
namespace {

constexpr int kTileRows = 64;
constexpr int kStripRows = 16; /* of Q, brought together */
constexpr int kGroupRows = 8;  /* of KV, that lie together in shared memory */
constexpr int kHalfChunks = 4; /* of 64 columns: what one warpgroup multiplies with P */
constexpr int kPageBoxRows = 32; /* of a larger page too: 1 % faster than boxes of 64 */

size_t AlignUp(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

HopperMla::Layout HopperMla::LayOut() const {
  const size_t part_rows = static_cast<size_t>(plan_.parts) * kTileRows;
  return {AlignUp(plan_.segments.size() * sizeof(sm90::MlaSegment)), AlignUp(plan_.starts.size() * 4),
          AlignUp(static_cast<size_t>(plan_.items) * 4), AlignUp(part_rows * 8),
          part_rows * static_cast<size_t>(row_.head_dim_v_tile) * 4};
}

size_t HopperMla::bytes() const {
  const Layout layout = LayOut();
  return layout.segments + layout.starts + layout.arrivals + layout.stats + layout.partials;
}

Status HopperMla::Upload(const AttentionParams& from, const HopperShape& shape) {
  const Layout layout = LayOut();
  Status status;
  memory_ = device_.Allocate(bytes(), &status);
  if (!status.ok()) return status;
  const CUdeviceptr starts = memory_.address() + layout.segments;
  const CUdeviceptr arrivals = starts + layout.starts;
  const CUdeviceptr stats = arrivals + layout.arrivals;
  status = device_.Upload(memory_.address(), plan_.segments.data(), plan_.segments.size() * sizeof(sm90::MlaSegment));
  if (status.ok()) status = device_.Upload(starts, plan_.starts.data(), plan_.starts.size() * 4);
  if (status.ok()) status = device_.Fill8(arrivals, 0, layout.arrivals);

  sm90::MlaParams& p = params_;
  p.segments = reinterpret_cast<const sm90::MlaSegment*>(memory_.address());
  p.segmentStart = reinterpret_cast<const int*>(starts);
  p.pageTable = reinterpret_cast<const int*>(from.pageTable);
  p.out = reinterpret_cast<void*>(from.o);
  p.partialO = reinterpret_cast<float*>(stats + layout.stats);
  p.partialStats = reinterpret_cast<float*>(stats);
  p.arrivals = reinterpret_cast<unsigned*>(arrivals);
  p.scaleLog2 = from.scaleLog2;
  p.heads = from.qHeads;
  p.causal = from.causal;
  p.pageTableStride = from.pageTableStride;
  p.pageShift = from.pageShift;
  p.pageCount = static_cast<int>(shape.blocks);
  p.boxRows = from.pageTable != 0 ? std::min(kPageBoxRows, 1 << from.pageShift) : kGroupRows;
  return status;
}

Status HopperMla::EncodeKv(CUtensorMap* map, const AttentionParams& params, const HopperShape& shape, int64_t box_chunks) {
  const int64_t row = params.k.tokenStride, columns = BoxColumns(2), chunks = params.headDim / columns;
  if (params.pageTable == 0) {
    return EncodeTensorMap(device_, map, params.k.base,
                           {{columns, 1, columns}, {shape.block_tokens, row, kGroupRows}, {chunks, columns, box_chunks}, {1, row}, {1, row}},
                           L2Promotion::k128B);
  }
  return EncodeTensorMap(device_, map, params.k.base,
                         {{columns, 1, columns},
                          {kGroupRows, row, kGroupRows},
                          {chunks, columns, box_chunks},
                          {shape.block_tokens / kGroupRows, kGroupRows * row, params_.boxRows / kGroupRows},
                          {shape.blocks, params.k.blockStride}},
                         L2Promotion::k128B);
}

Status HopperMla::AddSet(const AttentionParams& params, const HopperShape& shape) {
  Set set;
  const int64_t rows = shape.q_tokens * params.qHeads;
  Status status = EncodeTensorMap(device_, &set.q, params.q,
                                  {{params.headDim, 1, BoxColumns(2)}, {rows, params.qHeadStride, kStripRows}, {1, params.headDim}},
                                  L2Promotion::k256B);
  if (status.ok()) status = EncodeKv(&set.kv_half, params, shape, kHalfChunks);
  if (status.ok()) status = EncodeKv(&set.kv_rope, params, shape, 1);
  if (status.ok()) sets_.push_back(set);
  return status;
}

Status HopperMla::Launch(size_t set, CUdeviceptr lse) {
  if (plan_.blocks() == 0) return Status::Ok();  // no query at all
  params_.lse = reinterpret_cast<float*>(lse);
  void* arguments[] = {&sets_[set].q, &sets_[set].kv_half, &sets_[set].kv_rope, &params_};
  return device_.Launch(function_, static_cast<unsigned>(plan_.blocks()), 1, 1, static_cast<unsigned>(row_.threads),
                        static_cast<unsigned>(row_.shared_bytes), arguments);
}

}  // namespace attn
