// How an MLA decode launch is spread over the blocks of a GPU. Pure host code.
#pragma once

#include <vector>

#include "../kernels/sm90a/mla_params.h"
#include "session.h"

namespace attn {

struct MlaPlan {
  std::vector<sm90::MlaSegment> segments;
  /// First segment of each block, `blocks + 1` numbers.
  std::vector<int> starts;
  int items = 0;
  int parts = 0;
  /// Largest number of parts of one item; 1 = nothing was split.
  int max_splits = 1;

  int blocks() const { return static_cast<int>(starts.size()) - 1; }
};

/// Plans a valid MLA decode case for at most `slots` blocks, which the GPU must run at the same time.
MlaPlan PlanMla(const AttentionCase& spec, int slots);

}  // namespace attn
