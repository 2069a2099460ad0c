#include "causal_order.h"

#include <algorithm>

#include "case_math.h"

namespace attn {
namespace {

/// Fewer heads leave too little to even out at the end of a section.
constexpr int64_t kFewestHeads = 4;
/// So many even themselves out, and more do not help.
constexpr int64_t kMostHeads = 32;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

/// A section's K and V should stay in the L2 cache beside what else passes through it: what is fetched again from memory costs
/// power, and power is the clock. Small sections do not end evenly, so the row blocks that see a quarter of the keys at most are
/// kept for last. Figures: kernels/sm90a/README.md.
CausalOrder OrderCausalTiles(const AttentionCase& spec, int64_t block_rows, int64_t l2_bytes) {
  int64_t longest_q = 0, longest_kv = 0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    longest_q = std::max(longest_q, spec.q_lens.At(b));
    longest_kv = std::max(longest_kv, spec.kv_lens.At(b));
  }
  const int64_t kv_heads = std::max<int64_t>(1, spec.batch * spec.kv_heads), group = spec.q_heads / spec.kv_heads;
  const int64_t kv_bytes = std::max<int64_t>(1, longest_kv * (spec.head_dim + spec.head_dim_v) * KvElementBytes(spec));
  const int64_t fitting = l2_bytes * 2 / 3 / kv_bytes;
  const int64_t wanted = std::max(CeilDiv(kFewestHeads, group), std::min(fitting, kMostHeads / group));
  const int64_t sections = CeilDiv(kv_heads, wanted);
  CausalOrder order;
  order.section_heads = static_cast<int>(CeilDiv(kv_heads, sections) * group);
  if (sections > 1 && order.section_heads < kMostHeads) {
    order.short_blocks = static_cast<int>(std::max<int64_t>(0, longest_q - longest_kv * 3 / 4) / block_rows);
  }
  return order;
}

}  // namespace attn
