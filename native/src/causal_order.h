// In which order a Hopper prefill kernel goes through the tiles of a causal launch. Pure.
#pragma once

#include <cstdint>

#include "session.h"

namespace attn {

/// Sections of heads one after the other, the longest row blocks of a section first; then the shortest row blocks of all heads.
struct CausalOrder {
  /// Query heads of a section, counted through all sequences; a multiple of the heads that share a KV head.
  int section_heads = 1;
  /// Row blocks of every head that come after all sections; 0 = none.
  int short_blocks = 0;
};

/// @param block_rows query rows of a tile
/// @param l2_bytes size of the GPU's L2 cache
CausalOrder OrderCausalTiles(const AttentionCase& spec, int64_t block_rows, int64_t l2_bytes);

}  // namespace attn
