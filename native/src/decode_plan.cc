#include "decode_plan.h"

#include <algorithm>

#include "case_math.h"

namespace attn {
namespace {

constexpr int64_t kRowsPerTile = 16;
/// A run of keys never crosses a page, and pages hold a multiple of this.
constexpr int64_t kKeyRun = 16;
/// Items that fill this share of the slots run unsplit: cutting them would cost more than the idle blocks.
constexpr double kFullEnough = 0.85;
/// Parts shorter than this many steps are not worth their merge.
constexpr int64_t kMinSteps = 4;

struct Item {
  int sequence;
  int kv_head;
  int row_tile;
  int64_t begin;
  int64_t end;
  int64_t steps;
};

std::vector<Item> ListItems(const AttentionCase& spec, int64_t step_keys) {
  std::vector<Item> items;
  const int64_t group = spec.q_heads / spec.kv_heads;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t q_len = spec.q_lens.At(b);
    const int64_t kv_len = spec.kv_lens.At(b);
    for (int64_t head = 0; head < spec.kv_heads; ++head) {
      for (int64_t tile = 0; tile * kRowsPerTile < q_len * group; ++tile) {
        const int64_t last_row = std::min(q_len * group, (tile + 1) * kRowsPerTile) - 1;
        const int64_t begin = VisibleKeys(spec, q_len, kv_len, tile * kRowsPerTile / group).begin;
        const int64_t end = std::min(kv_len, VisibleKeys(spec, q_len, kv_len, last_row / group).end);
        Item item{static_cast<int>(b), static_cast<int>(head), static_cast<int>(tile), begin / kKeyRun * kKeyRun, end, 0};
        item.steps = std::max<int64_t>(0, (item.end - item.begin + step_keys - 1) / step_keys);
        items.push_back(item);
      }
    }
  }
  return items;
}

}  // namespace

DecodePlan PlanDecode(const AttentionCase& spec, int key_groups, int slots) {
  const int64_t step_keys = kKeyRun * key_groups;
  const std::vector<Item> items = ListItems(spec, step_keys);
  int64_t total = 0;
  for (const Item& item : items) total += std::max<int64_t>(1, item.steps);

  const double fill = static_cast<double>(items.size()) / slots;
  const bool whole = fill >= kFullEnough && fill <= 1.0;
  const int64_t budget = std::max(kMinSteps, (total + slots - 1) / slots);

  DecodePlan plan;
  plan.items = static_cast<int>(items.size());
  plan.starts.push_back(0);
  int64_t used = 0; /* steps of the current block */
  const auto close_block = [&] {
    plan.starts.push_back(static_cast<int>(plan.segments.size()));
    used = 0;
  };
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const size_t first = plan.segments.size();
    int64_t step = 0;
    do {
      if (!whole && used > 0 && budget - used < kMinSteps) close_block();
      const int64_t left = item.steps - step;
      int64_t take = whole ? left : std::min(left, budget - used);
      if (left - take < kMinSteps) take = left; /* a sliver stays with its neighbour */
      DecodeSegment segment{};
      segment.sequence = item.sequence;
      segment.kvHead = item.kv_head;
      segment.rowTile = item.row_tile;
      segment.keyBegin = static_cast<int>(item.begin + step * step_keys);
      segment.keyEnd = static_cast<int>(std::max<int64_t>(segment.keyBegin, std::min(item.end, item.begin + (step + take) * step_keys)));
      segment.item = static_cast<int>(i);
      plan.segments.push_back(segment);
      step += take;
      used += std::max<int64_t>(1, take);
      if (whole || used >= budget) close_block();
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
