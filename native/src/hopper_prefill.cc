#include "hopper_prefill.h"

#include <algorithm>

#include "causal_order.h"

namespace attn {

Status HopperPrefill::AddSet(const AttentionParams& from, const HopperShape& shape) {
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
    p.counter = reinterpret_cast<unsigned*>(counter_.address());
    p.outTokenStride = from.oTokenStride;
    p.outHeadStride = from.oHeadStride;
    p.lseTokenStride = from.qHeads;
    p.lseHeadStride = 1;
    p.sinks = reinterpret_cast<const float*>(from.sinks);
    p.scaleLog2 = from.scaleLog2;
    p.softcapPre = from.softcapPre;
    p.softcapPost = from.softcapPost;
    p.headDimV = from.headDimV;
    p.batch = from.batch;
    p.qHeads = from.qHeads;
    p.kvHeads = from.kvHeads;
    p.qLenMax = static_cast<int>(shape.longest_q);
    p.causal = from.causal;
    p.window = from.window;
    p.pageTableStride = from.pageTableStride;
    p.pageShift = from.pageShift;
    p.pageCount = static_cast<int>(shape.blocks);
    p.boxRows = BoxRows(row_.k_stage_rows, from);
    p.boxRowsV = BoxRows(row_.v_stage_rows, from);
    const CausalOrder order = OrderCausalTiles(spec_, row_.rows_per_block, device_.l2_bytes());
    p.sectionHeads = order.section_heads;
    p.shortBlocks = order.short_blocks;
    const int64_t row_blocks = (shape.longest_q + row_.rows_per_block - 1) / row_.rows_per_block;
    const int64_t tiles = row_blocks * from.batch * from.qHeads;
    grid_ = static_cast<unsigned>(std::min<int64_t>(tiles, device_.sm_count()));
  }
  const int64_t q_tokens = std::max<int64_t>(1, shape.q_tokens);
  Maps maps;
  status = EncodeTensorMap(device_, &maps.q, from.q,
                           {{from.headDim, 1, BoxColumns(2)}, {q_tokens, from.qTokenStride, 64}, {from.qHeads, from.qHeadStride}},
                           L2Promotion::k256B);
  if (status.ok()) {
    status = EncodeTensorMap(device_, &maps.o, from.o,
                             {{from.headDimV, 1, BoxColumns(2)}, {q_tokens, from.oTokenStride, 16}, {from.qHeads, from.oHeadStride}},
                             L2Promotion::k256B);
  }
  if (status.ok()) {
    status = EncodeKvMap(device_, &maps.k, from.k, from.headDim, from, shape, params_.boxRows, L2Promotion::k256B);
  }
  if (status.ok()) {
    status = EncodeKvMap(device_, &maps.v, from.v, from.headDimV, from, shape, params_.boxRowsV, L2Promotion::k256B);
  }
  if (status.ok()) sets_.push_back(maps);
  return status;
}

Status HopperPrefill::Launch(size_t set, CUdeviceptr lse) {
  if (grid_ == 0) return Status::Ok();  // no query at all
  Maps& maps = sets_[set];
  params_.lse = reinterpret_cast<float*>(lse);
  void* arguments[] = {&maps.q, &maps.k, &maps.v, &maps.o, &params_};
  return device_.Launch(function_, grid_, 1, 1, static_cast<unsigned>(row_.threads),
                        static_cast<unsigned>(row_.shared_bytes), arguments);
}

}  // namespace attn
