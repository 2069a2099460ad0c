// How a decode launch is cut into equal runs of keys, one list of runs per block. Pure host code.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/common/params.h"
#include "session.h"

namespace attn {

struct DecodePlan {
  std::vector<DecodeSegment> segments;
  /// First segment of each block, `blocks + 1` numbers.
  std::vector<int> starts;
  int items = 0;
  int parts = 0;
  /// Largest number of parts of one item; 1 = nothing was split.
  int max_splits = 1;

  int blocks() const { return static_cast<int>(starts.size()) - 1; }
};

/// Plans a valid decode case.
/// @param key_groups runs of 16 keys a block consumes per step
/// @param slots blocks the GPU runs at the same time
DecodePlan PlanDecode(const AttentionCase& spec, int key_groups, int slots);

}  // namespace attn
