#include "decode_plan.h"

#include <algorithm>

#include "case_math.h"

namespace attn {
namespace {

constexpr int64_t kRowsPerTile = 16;
/// Items of about one length that fill this share of the blocks run unsplit: cutting them would cost more than idle blocks.
constexpr double kFullEnough = 0.85;
/// The longest of the items that run unsplit may exceed the mean by this factor.
constexpr double kEvenEnough = 1.1;

struct Item {
  DecodeSegment all; /* the item as one segment */
  int64_t steps;
};

std::vector<Item> ListItems(const AttentionCase& spec, const DecodeShape& shape) {
  std::vector<Item> items;
  const int64_t group = spec.q_heads / spec.kv_heads;
  const std::vector<int64_t> q_starts = PackedStarts(spec.q_lens, spec.batch);
  const std::vector<int64_t> kv_starts = PackedStarts(spec.kv_lens, spec.batch);
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t q_len = spec.q_lens.At(b);
    const int64_t kv_len = spec.kv_lens.At(b);
    for (int64_t head = 0; head < spec.kv_heads; head += shape.heads) {
      for (int64_t tile = 0; tile * kRowsPerTile < q_len * group; ++tile) {
        const int64_t last_row = std::min(q_len * group, (tile + 1) * kRowsPerTile) - 1;
        const int64_t first_visible = VisibleKeys(spec, q_len, kv_len, tile * kRowsPerTile / group).begin;
        const int64_t begin = first_visible / shape.key_alignment * shape.key_alignment;
        const int64_t end = std::min(kv_len, VisibleKeys(spec, q_len, kv_len, last_row / group).end);
        Item item{};
        item.all.sequence = static_cast<int>(b);
        item.all.kvHead = static_cast<int>(head);
        item.all.rowTile = static_cast<int>(tile);
        item.all.keyBegin = static_cast<int>(begin);
        item.all.keyEnd = static_cast<int>(std::max(begin, end));
        item.all.item = static_cast<int>(items.size());
        item.all.qBegin = static_cast<int>(q_starts[static_cast<size_t>(b)]);
        item.all.qLen = static_cast<int>(q_len);
        item.all.kvBegin = static_cast<int>(kv_starts[static_cast<size_t>(b)]);
        item.all.kvLen = static_cast<int>(kv_len);
        item.steps = (item.all.keyEnd - item.all.keyBegin + shape.step_keys - 1) / shape.step_keys;
        items.push_back(item);
      }
    }
  }
  return items;
}

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t WholeItemsPerBlock(int64_t items, int slots) {
  const int64_t per_block = CeilDivide(items, slots);
  return static_cast<double>(items) >= kFullEnough * static_cast<double>(per_block * slots) ? per_block : 0;
}

DecodePlan PlanDecode(const AttentionCase& spec, const DecodeShape& shape) {
  const std::vector<Item> items = ListItems(spec, shape);
  const int64_t min_steps = CeilDivide(shape.min_part_keys, shape.step_keys);
  int64_t total = 0;
  int64_t longest = 0;
  for (const Item& item : items) {
    total += std::max<int64_t>(1, item.steps);
    longest = std::max(longest, item.steps);
  }

  const bool even = static_cast<double>(longest) * static_cast<double>(items.size()) <= kEvenEnough * static_cast<double>(total);
  const int64_t per_block = even ? WholeItemsPerBlock(static_cast<int64_t>(items.size()), shape.slots) : 0;
  const bool whole = per_block > 0;

  DecodePlan plan;
  plan.items = static_cast<int>(items.size());
  plan.starts.push_back(0);
  int64_t done = 0; /* steps of all blocks */
  int64_t used = 0; /* steps of the current block */
  int64_t budget = 0; /* an equal share of what is left: slivers kept whole must not add up to one more block */
  const auto open_block = [&] {
    budget = std::max(min_steps, CeilDivide(total - done, std::max(1, shape.slots - plan.blocks())));
    used = 0;
  };
  const auto close_block = [&] {
    plan.starts.push_back(static_cast<int>(plan.segments.size()));
    open_block();
  };
  open_block();
  for (const Item& item : items) {
    const size_t first = plan.segments.size();
    int64_t step = 0;
    do {
      if (!whole && used > 0 && budget - used < min_steps) close_block();
      const int64_t left = item.steps - step;
      int64_t take = whole ? left : std::min(left, budget - used);
      if (left - take < min_steps) take = left; /* a sliver stays with its neighbour */
      DecodeSegment segment = item.all;
      segment.keyBegin = static_cast<int>(item.all.keyBegin + step * shape.step_keys);
      segment.keyEnd = static_cast<int>(std::min<int64_t>(item.all.keyEnd, item.all.keyBegin + (step + take) * shape.step_keys));
      plan.segments.push_back(segment);
      step += take;
      used += std::max<int64_t>(1, take);
      done += std::max<int64_t>(1, take);
      const bool full = whole ? static_cast<int64_t>(plan.segments.size()) - plan.starts.back() >= per_block : used >= budget;
      if (full) close_block();
    } while (step < item.steps);
    const int parts = static_cast<int>(plan.segments.size() - first);
    for (size_t s = first; s < plan.segments.size(); ++s) {
      plan.segments[s].part = parts == 1 ? -1 : plan.parts + static_cast<int>(s - first);
      plan.segments[s].firstPart = plan.parts;
      plan.segments[s].partCount = parts;
    }
    if (parts > 1) plan.parts += parts;
    plan.max_splits = std::max(plan.max_splits, parts);
  }
  if (plan.starts.back() != static_cast<int>(plan.segments.size())) close_block();
  return plan;
}

}  // namespace attn
