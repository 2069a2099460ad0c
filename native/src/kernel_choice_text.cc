#include "kernel_choice_text.h"

namespace attn {
namespace {

std::string Dims(int64_t head_dim, int64_t head_dim_v) {
  std::string text = std::to_string(head_dim);
  if (head_dim_v != head_dim) text += "/" + std::to_string(head_dim_v);
  return text;
}

}  // namespace

std::string WhyThisKernel(const KernelRow& row, const AttentionCase& spec, const GpuLimits& gpu) {
  const std::string tile = Dims(row.head_dim_tile, row.head_dim_v_tile);
  const std::string asked = Dims(spec.head_dim, spec.head_dim_v);
  std::string text = tile == asked ? "Has a tile of head size " + asked
                                   : "Smallest tile (" + tile + ") that holds head size " + asked;
  text += row.tensor_maps() ? "; Hopper's own instructions (TMA)" : "; portable instructions (mma.sync, cp.async)";
  if (row.min_longest_q > 0) text += "; plan for queries of " + std::to_string(row.min_longest_q) + " tokens and more";
  for (const KernelRow& other : KernelTable()) {
    if (&other == &row) break;
    const bool rival = other.tensor_maps() == row.tensor_maps() && other.op == row.op && other.dtype == row.dtype &&
                       other.fp8_kv == row.fp8_kv && other.head_dim_tile == row.head_dim_tile &&
                       other.head_dim_v_tile == row.head_dim_v_tile;
    if (rival && other.shared_bytes > gpu.shared_bytes_per_block) {
      text += "; fits the " + std::to_string(gpu.shared_bytes_per_block / 1024) + " KB of shared memory a block may have here";
      break;
    }
  }
  return text + ".";
}

}  // namespace attn
