// How a decode launch is cut into equal runs of keys, one list of runs per block. Pure host code.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/common/params.h"
#include "session.h"

namespace attn {

/// What the kernel wants of a plan.
struct DecodeShape {
  /// Keys of the step in which a block's share is measured, and what every segment begins at a multiple of.
  int step_keys = 16;
  int key_alignment = 16;
  /// A part shorter than this is not worth its merge.
  int min_part_keys = 64;
  /// KV heads of one segment; divides the case's KV heads.
  int heads = 1;
  /// Blocks the GPU runs at the same time.
  int slots = 1;
};

struct DecodePlan {
  std::vector<DecodeSegment> segments;
  /// First segment of each block, `blocks() + 1` numbers.
  std::vector<int> starts;
  /// Work items with a ticket each: one per sequence, `heads` KV heads and tile of query rows.
  int items = 0;
  int parts = 0;
  /// Largest number of parts of one item; 1 = nothing was split.
  int max_splits = 1;

  int blocks() const { return static_cast<int>(starts.size()) - 1; }
};

/// Items per block with which `items` of one length nearly fill `slots` blocks, so that none of them need be cut; 0 = they
/// would leave too many blocks idle.
int64_t WholeItemsPerBlock(int64_t items, int slots);

/// Plans a valid decode case.
DecodePlan PlanDecode(const AttentionCase& spec, const DecodeShape& shape);

}  // namespace attn
