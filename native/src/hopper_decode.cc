#include "hopper_decode.h"

#include <algorithm>

#include "case_math.h"

namespace attn {
namespace {

constexpr int64_t kRowsPerTile = 16;
/// From this head-dim tile on a kernel may keep Q in shared memory, with room for one tile of rows over all its heads.
constexpr int kSharedQTile = 256;
/// What should be read together. Memory delivers rows of 64 and 128 bytes that stand alone at 40 % and 90 % of its bandwidth,
/// and in NHD the rows of neighbouring heads are what makes them longer.
constexpr int64_t kEnoughRowBytes = 256;
/// More heads than that per block only make more parts.
constexpr int kMostHeadsForRows = 2;

int64_t PackedRows(const AttentionCase& spec, int64_t sequence) {
  return spec.q_lens.At(sequence) * (spec.q_heads / spec.kv_heads);
}

int64_t LongestRows(const AttentionCase& spec) {
  int64_t longest = 1;
  for (int64_t b = 0; b < spec.batch; ++b) longest = std::max(longest, PackedRows(spec, b));
  return std::min(kRowsPerTile, longest);
}

/// Work items when every KV head has its own.
int64_t CountItems(const AttentionCase& spec) {
  int64_t tiles = 0;
  for (int64_t b = 0; b < spec.batch; ++b) tiles += (PackedRows(spec, b) + kRowsPerTile - 1) / kRowsPerTile;
  return tiles * spec.kv_heads;
}

}  // namespace

DecodeShape HopperDecodeShape(const AttentionCase& spec, const KernelRow& row, int slots) {
  DecodeShape shape;
  shape.step_keys = shape.key_alignment = row.keys_per_step;
  shape.min_part_keys = 128;
  shape.slots = slots;
  const int64_t row_bytes = spec.head_dim * KvElementBytes(spec);
  const int64_t items = CountItems(spec);
  for (int heads = 1; heads <= row.slabs && spec.kv_heads % heads == 0; heads *= 2) {
    if (row.head_dim_tile >= kSharedQTile && heads * LongestRows(spec) > kRowsPerTile) break;
    const bool short_rows = spec.kv_layout == KvLayout::kNhd && (heads / 2) * row_bytes < kEnoughRowBytes;
    const bool whole = WholeItemsPerBlock(items / heads, slots) > 0; /* nothing is cut, nothing has to be combined */
    if (whole || (short_rows && heads <= kMostHeadsForRows)) shape.heads = heads;
  }
  return shape;
}

Status HopperDecode::SetPlan(const DecodePlan& plan, const DecodeShape& shape, const AttentionParams& params,
                             const HopperShape& tensors) {
  /* the first segment of every block, then all of them: a block's first look-up already tells it what to read */
  std::vector<DecodeSegment> segments;
  for (int block = 0; block < plan.blocks(); ++block) {
    const int start = plan.starts[static_cast<size_t>(block)];
    DecodeSegment first = plan.segments[static_cast<size_t>(start)];
    first.next = plan.blocks() + start + 1;
    first.count = plan.starts[static_cast<size_t>(block) + 1] - start;
    segments.push_back(first);
  }
  segments.insert(segments.end(), plan.segments.begin(), plan.segments.end());
  Status status;
  const size_t bytes = segments.size() * sizeof(DecodeSegment);
  segments_ = device_.Allocate(std::max<size_t>(1, bytes), &status);
  if (status.ok()) status = device_.Upload(segments_.address(), segments.data(), bytes);
  params_ = params;
  params_.segments = segments_.address();
  stream_.heads = shape.heads;
  stream_.boxRows = BoxRows(row_.k_stage_rows, params);
  stream_.zeroPage = static_cast<int>(tensors.blocks);
  stream_.qRows = static_cast<int>(std::min<int64_t>(kRowsPerTile, tensors.longest_q * params.group));
  grid_ = static_cast<unsigned>(plan.blocks());
  return status;
}

Status HopperDecode::AddSet(const AttentionParams& params, const HopperShape& tensors) {
  Maps maps;
  maps.q = params.q;
  Status status =
      EncodeKvMap(device_, &maps.k, params.k, params.headDim, params, tensors, stream_.boxRows, L2Promotion::k128B);
  if (status.ok()) {
    status = EncodeKvMap(device_, &maps.v, params.v, params.headDimV, params, tensors, stream_.boxRows, L2Promotion::k128B);
  }
  if (status.ok()) sets_.push_back(maps);
  return status;
}

Status HopperDecode::Launch(size_t set, CUdeviceptr lse) {
  if (grid_ == 0) return Status::Ok();  // no query at all
  Maps& maps = sets_[set];
  params_.q = maps.q;
  params_.lse = lse;
  void* arguments[] = {&maps.k, &maps.v, &params_, &stream_};
  return device_.Launch(function_, grid_, 1, 1, static_cast<unsigned>(row_.threads), static_cast<unsigned>(row_.shared_bytes),
                        arguments);
}

}  // namespace attn
