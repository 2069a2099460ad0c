// Unit tests of what decides on the host which kernel runs and how decode work is cut. Prints one line per failed check
// and exits with 1 when there was one.
#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "case_math.h"
#include "causal_order.h"
#include "decode_plan.h"
#include "kernel_choice_text.h"
#include "kernel_registry.h"
#include "mla_plan.h"

using attn::AttentionCase;
using attn::DecodePlan;
using attn::DecodeSegment;
using attn::DecodeShape;
using attn::GpuLimits;

namespace {

int checks = 0;
int failures = 0;

void Check(bool condition, const std::string& what, int line) {
  ++checks;
  if (condition) return;
  ++failures;
  std::printf("line %d: %s\n", line, what.c_str());
}

#define CHECK(condition, what) Check((condition), std::string(#condition) + " for " + (what), __LINE__)

AttentionCase DecodeCase(std::vector<int64_t> q_lens, std::vector<int64_t> kv_lens, int64_t q_heads, int64_t kv_heads) {
  AttentionCase spec;
  spec.op = attn::Op::kDecode;
  spec.head_dim = spec.head_dim_v = 128;
  spec.q_heads = q_heads;
  spec.kv_heads = kv_heads;
  spec.batch = static_cast<int64_t>(kv_lens.size());
  spec.q_lens = {std::move(q_lens), false};
  spec.kv_lens = {std::move(kv_lens), false};
  spec.causal = true;
  return spec;
}

DecodeShape Shape(int step_keys, int slots, int heads = 1) {
  DecodeShape shape;
  shape.step_keys = step_keys;
  shape.key_alignment = heads > 1 ? step_keys : 16;
  shape.min_part_keys = 4 * step_keys;
  shape.heads = heads;
  shape.slots = slots;
  return shape;
}

/// Every visible key of every item belongs to exactly one segment, segments of an item are consecutive parts that begin at
/// aligned keys, every segment belongs to exactly one block, and no two items share a ticket.
void CheckPlan(const AttentionCase& spec, const DecodeShape& shape, const std::string& name) {
  const DecodePlan plan = attn::PlanDecode(spec, shape);
  CHECK(plan.starts.front() == 0, name);
  CHECK(plan.starts.back() == static_cast<int>(plan.segments.size()), name);
  for (size_t i = 1; i < plan.starts.size(); ++i) CHECK(plan.starts[i] >= plan.starts[i - 1], name);

  std::set<std::tuple<int, int, int>> seen;
  std::set<int> parts;
  int64_t q_begin = 0;
  int64_t kv_begin = 0;
  int sequence = 0;
  for (size_t i = 0; i < plan.segments.size();) {
    const DecodeSegment& first = plan.segments[i];
    for (; sequence < first.sequence; ++sequence) {
      q_begin += spec.q_lens.At(sequence);
      kv_begin += spec.kv_lens.At(sequence);
    }
    CHECK(seen.insert({first.sequence, first.kvHead, first.rowTile}).second, name);
    CHECK(first.kvHead % shape.heads == 0 && first.item == static_cast<int>(seen.size() - 1), name);
    const int64_t q_len = spec.q_lens.At(first.sequence);
    const int64_t kv_len = spec.kv_lens.At(first.sequence);
    CHECK(first.qBegin == q_begin && first.qLen == q_len && first.kvBegin == kv_begin && first.kvLen == kv_len, name);
    const int64_t group = spec.q_heads / spec.kv_heads;
    const int64_t last_row = std::min<int64_t>(q_len * group, (first.rowTile + 1) * 16) - 1;
    const int64_t begin = attn::VisibleKeys(spec, q_len, kv_len, first.rowTile * 16 / group).begin;
    const int64_t end = attn::VisibleKeys(spec, q_len, kv_len, last_row / group).end;
    CHECK(first.keyBegin <= begin || end <= begin, name);
    int expected = first.keyBegin;
    int count = 0;
    for (; i < plan.segments.size() && plan.segments[i].item == first.item; ++i, ++count) {
      const DecodeSegment& segment = plan.segments[i];
      CHECK(segment.keyBegin == expected, name);
      CHECK(segment.keyBegin % shape.key_alignment == 0, name);
      CHECK(segment.keyEnd >= segment.keyBegin, name);
      CHECK(segment.part < 0 || segment.part == segment.firstPart + count, name);
      if (segment.part >= 0) CHECK(parts.insert(segment.part).second, name);
      expected = segment.keyEnd;
    }
    CHECK(expected == std::max<int64_t>(end, first.keyBegin), name);
    CHECK(first.partCount == count, name);
    CHECK((count == 1) == (first.part < 0), name);
    CHECK(count <= plan.max_splits, name);
  }
  size_t items = 0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    items += static_cast<size_t>((spec.q_lens.At(b) * spec.q_heads / spec.kv_heads + 15) / 16 * spec.kv_heads);
  }
  CHECK(seen.size() * static_cast<size_t>(shape.heads) == items, name);
  CHECK(plan.items == static_cast<int>(seen.size()), name);
  CHECK(plan.parts == static_cast<int>(parts.size()), name);
  CHECK(plan.blocks() <= std::max<int>(shape.slots, static_cast<int>(items)), name);
}

void TestPlans() {
  for (int step_keys : {16, 32, 64}) {
    for (int slots : {1, 7, 132, 264}) {
      for (int heads : {1, 2}) {
        const DecodeShape shape = Shape(step_keys, slots, heads);
        const std::string name =
            std::to_string(step_keys) + " keys, " + std::to_string(slots) + " slots, " + std::to_string(heads) + " heads";
        CheckPlan(DecodeCase({1}, {131072}, 32, 8), shape, "one long sequence, " + name);
        CheckPlan(DecodeCase({1, 1, 1, 1}, {0, 1, 15, 16}, 8, 8), shape, "short sequences, " + name);
        if (heads == 1) CheckPlan(DecodeCase({1, 1, 1}, {8192, 17, 3000}, 17, 1), shape, "ragged, " + name);
        CheckPlan(DecodeCase({2, 5, 9, 0}, {1, 64, 1025, 40}, 8, 2), shape, "short queries, " + name);
        AttentionCase windowed = DecodeCase({1, 3}, {5000, 700}, 8, 2);
        windowed.window = 70;
        CheckPlan(windowed, shape, "window, " + name);
      }
    }
  }
  /* work spread over all slots: a lone long sequence must not leave most of the GPU idle */
  const DecodePlan spread = attn::PlanDecode(DecodeCase({1}, {131072}, 32, 8), Shape(64, 264));
  CHECK(spread.blocks() >= 240 && spread.blocks() <= 264, std::to_string(spread.blocks()) + " blocks");
  /* items that nearly fill the GPU are not cut */
  const DecodePlan whole =
      attn::PlanDecode(DecodeCase(std::vector<int64_t>(32, 1), std::vector<int64_t>(32, 8192), 32, 8), Shape(64, 264));
  CHECK(whole.max_splits == 1 && whole.blocks() == 256, std::to_string(whole.blocks()) + " blocks");
  const DecodePlan twice =
      attn::PlanDecode(DecodeCase(std::vector<int64_t>(32, 1), std::vector<int64_t>(32, 8192), 32, 8), Shape(64, 132));
  CHECK(twice.max_splits == 1 && twice.blocks() == 128, std::to_string(twice.blocks()) + " blocks");
  /* but one long sequence among short ones is */
  std::vector<int64_t> lengths(32, 64);
  lengths[7] = 100000;
  const DecodePlan uneven = attn::PlanDecode(DecodeCase(std::vector<int64_t>(32, 1), lengths, 32, 8), Shape(64, 264));
  CHECK(uneven.max_splits > 10, std::to_string(uneven.max_splits) + " splits");
}

/// Every row tile is an item, its segments are parts in key order that cover its visible keys, cuts are at multiples of 64
/// keys, and there are never more blocks than slots: blocks wait for one another.
void CheckMlaPlan(const AttentionCase& spec, int slots, const std::string& name) {
  const attn::MlaPlan plan = attn::PlanMla(spec, slots);
  CHECK(plan.starts.front() == 0, name);
  CHECK(plan.starts.back() == static_cast<int>(plan.segments.size()), name);
  CHECK(plan.blocks() <= slots, name);
  for (size_t i = 1; i < plan.starts.size(); ++i) CHECK(plan.starts[i] > plan.starts[i - 1], name);
  std::vector<sm90::MlaSegment> segments = plan.segments;
  std::sort(segments.begin(), segments.end(),
            [](const auto& a, const auto& b) { return std::tie(a.item, a.part) < std::tie(b.item, b.part); });
  std::set<int> parts;
  std::set<std::pair<int, int>> tiles;
  for (size_t i = 0; i < segments.size();) {
    const sm90::MlaSegment first = segments[i];
    CHECK(tiles.insert({first.sequence, first.firstRow}).second, name);
    const int64_t q_len = spec.q_lens.At(first.sequence);
    const int64_t kv_len = spec.kv_lens.At(first.sequence);
    CHECK(first.rows == std::min<int64_t>(64, q_len * spec.q_heads - first.firstRow), name);
    const int64_t end = attn::VisibleKeys(spec, q_len, kv_len, (first.firstRow + first.rows - 1) / spec.q_heads).end;
    int expected = 0, count = 0;
    for (; i < segments.size() && segments[i].item == first.item; ++i, ++count) {
      const sm90::MlaSegment& segment = segments[i];
      CHECK(segment.keyBegin % 64 == 0, name);
      CHECK(segment.keyBegin == expected || segment.keyBegin == segment.keyEnd, name);
      CHECK(segment.keyEnd >= segment.keyBegin, name);
      CHECK(segment.part < 0 || segment.part == segment.firstPart + count, name);
      if (segment.part >= 0) CHECK(parts.insert(segment.part).second, name);
      expected = std::max(expected, segment.keyEnd == segment.keyBegin ? expected : segment.keyEnd);
    }
    CHECK(expected == std::max<int64_t>(0, end), name);
    CHECK(first.partCount == count, name);
    CHECK((count == 1) == (first.part < 0), name);
    CHECK(count <= plan.max_splits, name);
  }
  size_t items = 0;
  for (int64_t b = 0; b < spec.batch; ++b) items += static_cast<size_t>((spec.q_lens.At(b) * spec.q_heads + 63) / 64);
  CHECK(tiles.size() == items, name);
  CHECK(plan.items == static_cast<int>(items), name);
  CHECK(plan.parts == static_cast<int>(parts.size()), name);
}

AttentionCase MlaCase(std::vector<int64_t> q_lens, std::vector<int64_t> kv_lens, int64_t q_heads) {
  AttentionCase spec = DecodeCase(std::move(q_lens), std::move(kv_lens), q_heads, 1);
  spec.op = attn::Op::kMlaDecode;
  spec.head_dim = 576, spec.head_dim_v = 512;
  return spec;
}

void TestMlaPlans() {
  const auto uniform = [](int64_t batch, int64_t keys, int64_t heads) {
    const size_t n = static_cast<size_t>(batch);
    return MlaCase(std::vector<int64_t>(n, 1), std::vector<int64_t>(n, keys), heads);
  };
  for (int slots : {1, 2, 7, 132}) {
    const std::string name = std::to_string(slots) + " slots";
    CheckMlaPlan(uniform(1, 131072, 128), slots, "one long sequence, " + name);
    CheckMlaPlan(uniform(100, 4096, 128), slots, "100 sequences, " + name);
    CheckMlaPlan(uniform(300, 17, 64), slots, "300 short sequences, " + name);
    CheckMlaPlan(MlaCase({1, 1, 1, 1, 1}, {0, 1, 63, 64, 65}, 16), slots, "short sequences, " + name);
    CheckMlaPlan(MlaCase({3, 3, 3, 3}, {1000, 63, 1, 20000}, 96), slots, "more queries than keys, " + name);
    CheckMlaPlan(MlaCase({1, 5, 0, 9, 64}, {5000, 700, 40, 0, 3000}, 128), slots, "ragged, " + name);
  }
  /* the two row tiles of a sequence go through its keys in neighbouring blocks */
  const attn::MlaPlan pairs = attn::PlanMla(uniform(1, 131072, 128), 132);
  CHECK(pairs.blocks() == 132 && pairs.max_splits == 66, std::to_string(pairs.max_splits) + " splits");
  CHECK(pairs.segments[0].keyEnd == pairs.segments[1].keyEnd && pairs.segments[1].firstRow == 64, "neighbours");
  /* items that nearly fill the GPU are not cut */
  CHECK(attn::PlanMla(uniform(128, 4096, 16), 132).max_splits == 1, "128 sequences of 16 heads");
}

GpuLimits Gpu(int major, int minor, int shared_bytes) {
  GpuLimits gpu;
  gpu.major = major;
  gpu.minor = minor;
  gpu.shared_bytes_per_block = shared_bytes;
  gpu.target = attn::TargetFor(major);
  gpu.tensor_maps = major >= 9;
  return gpu;
}

/// Every released family finds a kernel that fits for every head dim, op and dtype; Turing says why not.
void TestChoice() {
  const GpuLimits gpus[] = {Gpu(8, 0, 166912), Gpu(8, 6, 101376), Gpu(8, 9, 101376), Gpu(9, 0, 232448),
                            Gpu(10, 0, 232448), Gpu(11, 0, 232448), Gpu(12, 0, 101376)};
  for (const GpuLimits& gpu : gpus) {
    for (attn::Op op : {attn::Op::kPrefill, attn::Op::kDecode}) {
      for (attn::DType dtype : {attn::DType::kBf16, attn::DType::kFp16}) {
        for (int64_t dim = 8; dim <= 512; dim += 8) {
          AttentionCase spec = DecodeCase({1}, {100}, 4, 2);
          spec.op = op;
          spec.dtype = dtype;
          spec.head_dim = spec.head_dim_v = dim;
          const attn::KernelChoice choice = attn::ChooseKernel(spec, gpu);
          const std::string name = "head dim " + std::to_string(dim) + " on " + std::to_string(gpu.major) + "." +
                                   std::to_string(gpu.minor);
          CHECK(choice.row != nullptr, name);
          if (choice.row == nullptr) continue;
          CHECK(choice.row->op == op && choice.row->dtype == dtype, name);
          CHECK(choice.row->head_dim_tile >= dim, name);
          CHECK(choice.row->shared_bytes <= gpu.shared_bytes_per_block, name);
        }
      }
    }
  }
  const auto code = [](const AttentionCase& spec, const GpuLimits& gpu) {
    const attn::KernelChoice choice = attn::ChooseKernel(spec, gpu);
    return choice.unsupported.has_value() ? choice.unsupported->code : std::string("supported");
  };
  AttentionCase spec = DecodeCase({1}, {100}, 4, 2);
  CHECK(code(spec, Gpu(7, 5, 65536)) == "noBf16Mma", "Turing");
  CHECK(code(spec, Gpu(8, 0, 49152)) == "sharedMemory", "48 KB");
  spec.kv_dtype = attn::KvDType::kFp8E4m3;
  CHECK(code(spec, Gpu(8, 0, 166912)) == "noKernelFp8Kv", "fp8 KV on 8.0");
  spec = DecodeCase({1}, {100}, 4, 1);
  spec.op = attn::Op::kMlaDecode;
  CHECK(code(spec, Gpu(8, 0, 166912)) == "noKernelMlaDecode", "MLA on 8.0");
  spec.head_dim = 576, spec.head_dim_v = 512;
  CHECK(code(spec, Gpu(12, 0, 101376)) == "noKernelMlaDecode", "MLA on 12.0");
  GpuLimits hopper = Gpu(9, 0, 232448);
  CHECK(code(spec, hopper) == "supported", "MLA on 9.0");
  spec.sinks = true;
  CHECK(code(spec, hopper) == "noKernelMlaDecode", "MLA with sinks on 9.0");
  hopper.tensor_maps = false;
  CHECK(code(spec, hopper) == "noTensorMaps", "an old driver on 9.0");
  spec = DecodeCase({1}, {100}, 4, 2);
  spec.head_dim_v = 64;
  CHECK(code(spec, Gpu(8, 0, 166912)) == "supported", "headDimV below headDim");
  spec.head_dim_v = 192;
  CHECK(std::string(attn::ChooseKernel(spec, Gpu(8, 0, 166912)).row->name) == "decode_mma_bf16_d192", "headDimV above headDim");
}

void TestWhy() {
  AttentionCase spec = DecodeCase({1}, {100}, 4, 2);
  spec.head_dim = spec.head_dim_v = 80;
  const auto why = [&](const GpuLimits& gpu) { return attn::WhyThisKernel(*attn::ChooseKernel(spec, gpu).row, spec, gpu); };
  CHECK(why(Gpu(8, 0, 166912)) == "Smallest tile (96) that holds head size 80; portable instructions (mma.sync, cp.async).",
        why(Gpu(8, 0, 166912)));
  CHECK(why(Gpu(8, 9, 101376)) == "Smallest tile (96) that holds head size 80; portable instructions (mma.sync, cp.async); "
                                  "fits the 99 KB of shared memory a block may have here.",
        why(Gpu(8, 9, 101376)));
  CHECK(why(Gpu(9, 0, 232448)) == "Smallest tile (96) that holds head size 80; Hopper's own instructions (TMA).",
        why(Gpu(9, 0, 232448)));
}

/// What a causal launch is told keeps to its ranges, and the row blocks it keeps for last are short.
void CheckCausalOrder(const AttentionCase& spec, int64_t block_rows, int64_t l2_bytes, const std::string& name) {
  const attn::CausalOrder order = attn::OrderCausalTiles(spec, block_rows, l2_bytes);
  const int64_t group = spec.q_heads / spec.kv_heads, heads = spec.batch * spec.q_heads;
  const int64_t longest_q = *std::max_element(spec.q_lens.values.begin(), spec.q_lens.values.end());
  const int64_t longest_kv = *std::max_element(spec.kv_lens.values.begin(), spec.kv_lens.values.end());
  const int64_t blocks = (longest_q + block_rows - 1) / block_rows;
  CHECK(order.section_heads >= 1 && order.section_heads <= heads, name);
  CHECK(order.section_heads % group == 0, name);
  CHECK(order.section_heads >= std::min<int64_t>(heads, 2), name);
  CHECK(order.section_heads <= std::max<int64_t>(32, group), name);
  CHECK(order.short_blocks >= 0 && (blocks == 0 || order.short_blocks < blocks), name);
  /* the last row of a block kept for last sees a quarter of the keys at most */
  if (order.short_blocks > 0) {
    CHECK(order.short_blocks * block_rows + longest_kv - longest_q <= (longest_kv + 3) / 4, name);
    CHECK(order.section_heads < heads, name);
  }
}

void TestCausalOrder() {
  constexpr int64_t kL2 = int64_t{60} << 20;
  const auto prefill = [](int64_t head_dim, int64_t head_dim_v, int64_t q_heads, int64_t kv_heads, int64_t batch, int64_t q, int64_t kv) {
    AttentionCase spec = DecodeCase(std::vector<int64_t>(static_cast<size_t>(batch), q),
                                    std::vector<int64_t>(static_cast<size_t>(batch), kv), q_heads, kv_heads);
    spec.op = attn::Op::kPrefill;
    spec.head_dim = head_dim;
    spec.head_dim_v = head_dim_v;
    return spec;
  };
  for (int64_t kv_heads : {1, 3, 8, 31}) {
    for (int64_t group : {1, 5, 8, 48}) {
      for (int64_t batch : {1, 7}) {
        for (int64_t kv : {1, 700, 16384, 1000000}) {
          for (int64_t q : {int64_t{0}, kv / 3, kv}) {
            for (int64_t rows : {64, 128, 192}) {
              CheckCausalOrder(prefill(128, 128, kv_heads * group, kv_heads, batch, q, kv), rows, kL2,
                               std::to_string(kv_heads) + " KV heads of " + std::to_string(group) + ", batch " + std::to_string(batch) +
                                   ", q " + std::to_string(q) + ", kv " + std::to_string(kv) + ", rows " + std::to_string(rows));
            }
          }
        }
      }
    }
  }
  /* as measured: heads with K and V of their own in sections that fit, the short quarter last; what fits anyway, 32 at a time */
  const attn::CausalOrder own = attn::OrderCausalTiles(prefill(192, 128, 32, 32, 1, 16384, 16384), 192, kL2);
  CHECK(own.section_heads == 4 && own.short_blocks == 21, "192/128, 32 heads, 16k");
  const attn::CausalOrder shared = attn::OrderCausalTiles(prefill(128, 128, 64, 8, 1, 16384, 16384), 192, kL2);
  CHECK(shared.section_heads == 32 && shared.short_blocks == 0, "128, 64/8 heads, 16k");
  const attn::CausalOrder chunk = attn::OrderCausalTiles(prefill(192, 128, 32, 32, 1, 4096, 65536), 192, kL2);
  CHECK(chunk.short_blocks == 0, "the last 4096 of 65536 tokens: no row block is short");
}

void TestModuleList() {
  CHECK(attn::ReadModuleList("").status.code == "kernelsMissing", "no folder");
  CHECK(attn::ReadModuleList("/nonexistent").status.code == "kernelsMissing", "missing folder");
}

}  // namespace

int main() {
  TestPlans();
  TestMlaPlans();
  TestChoice();
  TestWhy();
  TestCausalOrder();
  TestModuleList();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
