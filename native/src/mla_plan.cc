#include "mla_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "case_math.h"

namespace attn {
namespace {

constexpr int64_t kRows = 64; /* query rows of a tile */
constexpr int64_t kKeys = 64; /* keys of a step */
/// What a segment costs beside its steps (Q, the first keys' latency, the output), in steps.
constexpr int64_t kSegmentSteps = 3;
/// What writing and combining partial results costs, in steps.
constexpr int64_t kSplitSteps = 3;
/// Whole items may leave one part in this many of the blocks' time unused: memory-bound cases do not feel it.
constexpr int64_t kIdleShare = 32;
/// Parts shorter than this many steps are not worth it.
constexpr int64_t kMinSteps = 4;
/// Row tiles of a sequence that read its keys side by side at most.
constexpr int64_t kMaxTeam = 16;

/// Row tiles of one sequence that go through the same keys at the same time, each in a block of its own, so that all but
/// the first find the keys in the L2 cache.
struct Team {
  int64_t sequence;
  int64_t first_tile;
  int64_t tiles;
  int64_t steps; /* of the tile that sees most */
};

/// A team's steps `begin` … `end` - 1; `end` beyond the tile's own keys is cut down.
struct Piece {
  size_t team;
  int64_t begin;
  int64_t end;
};

int64_t TileCount(const AttentionCase& spec, int64_t sequence) {
  return (spec.q_lens.At(sequence) * spec.q_heads + kRows - 1) / kRows;
}

/// Keys that some row of the tile sees.
int64_t TileKeys(const AttentionCase& spec, int64_t sequence, int64_t tile) {
  const int64_t q_len = spec.q_lens.At(sequence);
  const int64_t last_row = std::min(q_len * spec.q_heads, (tile + 1) * kRows) - 1;
  const int64_t kv_len = spec.kv_lens.At(sequence);
  return std::min(kv_len, VisibleKeys(spec, q_len, kv_len, last_row / spec.q_heads).end);
}

/// Blocks that work side by side: all tiles of a sequence where every sequence has as many, else one.
int64_t TeamSize(const AttentionCase& spec, int64_t slots) {
  int64_t size = 0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t tiles = TileCount(spec, b);
    if (tiles == 0) continue;
    if (size != 0 && tiles != size) return 1;
    size = tiles;
  }
  return size <= std::min(kMaxTeam, slots) ? std::max<int64_t>(1, size) : 1;
}

std::vector<Team> ListTeams(const AttentionCase& spec, int64_t size) {
  std::vector<Team> teams;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t tiles = TileCount(spec, b);
    for (int64_t first = 0; first < tiles; first += size) {
      Team team{b, first, std::min(size, tiles - first), 0};
      for (int64_t t = 0; t < team.tiles; ++t) {
        team.steps = std::max(team.steps, (TileKeys(spec, b, first + t) + kKeys - 1) / kKeys);
      }
      teams.push_back(team);
    }
  }
  return teams;
}

/// Whole teams, longest first, each to the slot with the least to do.
std::vector<std::vector<Piece>> Whole(const std::vector<Team>& teams, int64_t slots, int64_t* longest) {
  std::vector<size_t> order(teams.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return teams[a].steps > teams[b].steps; });
  using Load = std::pair<int64_t, size_t>; /* steps so far, slot */
  std::vector<Load> loads;
  for (size_t slot = 0; slot < static_cast<size_t>(slots); ++slot) loads.push_back({0, slot});
  const auto later = [](const Load& a, const Load& b) { return a > b; };
  std::vector<std::vector<Piece>> lists(loads.size());
  *longest = 0;
  for (size_t team : order) { /* `loads` is a heap with the least load in front */
    std::pop_heap(loads.begin(), loads.end(), later);
    Load& least = loads.back();
    lists[least.second].push_back({team, 0, teams[team].steps});
    least.first += teams[team].steps + kSegmentSteps;
    *longest = std::max(*longest, least.first);
    std::push_heap(loads.begin(), loads.end(), later);
  }
  return lists;
}

/// All teams one after the other, cut into equal shares. A cut near a team's start or end moves there, and one that would
/// leave too short a piece falls away.
std::vector<std::vector<Piece>> Flat(const std::vector<Team>& teams, int64_t slots, int64_t total) {
  std::vector<std::vector<Piece>> lists(static_cast<size_t>(slots));
  int64_t before = kSegmentSteps; /* cost of everything before the team's steps */
  int64_t slot = 0;
  for (size_t i = 0; i < teams.size(); ++i) {
    const int64_t steps = teams[i].steps;
    const auto next_cut = [&] { /* in this team's steps */
      return slot + 1 < slots ? total * (slot + 1) / slots - before : steps;
    };
    int64_t begin = 0;
    do {
      while (slot + 1 < slots && next_cut() < begin + kMinSteps) ++slot;
      const int64_t end = next_cut() > steps - kMinSteps ? steps : next_cut();
      lists[static_cast<size_t>(slot)].push_back({i, begin, end});
      begin = end;
    } while (begin < steps);
    before += steps + kSegmentSteps;
  }
  return lists;
}

}  // namespace

MlaPlan PlanMla(const AttentionCase& spec, int slots) {
  const int64_t size = TeamSize(spec, slots);
  const std::vector<Team> teams = ListTeams(spec, size);
  const int64_t team_slots = slots / size;
  int64_t total = 0;
  for (const Team& team : teams) total += team.steps + kSegmentSteps;
  int64_t longest = 0;
  std::vector<std::vector<Piece>> lists = Whole(teams, team_slots, &longest);
  const int64_t share = total / team_slots;
  if (longest > share + share / kIdleShare + kSegmentSteps + kSplitSteps) lists = Flat(teams, team_slots, total);

  std::vector<int> piece_counts(teams.size(), 0);
  std::vector<int> first_items(teams.size(), 0);
  for (const auto& list : lists) {
    for (const Piece& piece : list) ++piece_counts[piece.team];
  }
  MlaPlan plan;
  std::vector<int> first_parts(teams.size(), 0); /* the tiles of a team follow one another */
  for (size_t i = 0; i < teams.size(); ++i) {
    const int tiles = static_cast<int>(teams[i].tiles);
    first_items[i] = plan.items;
    first_parts[i] = plan.parts;
    plan.items += tiles;
    if (piece_counts[i] > 1) plan.parts += tiles * piece_counts[i];
    plan.max_splits = std::max(plan.max_splits, piece_counts[i]);
  }

  const std::vector<int64_t> q_starts = PackedStarts(spec.q_lens, spec.batch);
  const std::vector<int64_t> kv_starts = PackedStarts(spec.kv_lens, spec.batch);
  std::vector<int> piece_numbers(teams.size(), 0);
  plan.starts.push_back(0);
  for (const auto& list : lists) {
    if (list.empty()) continue;
    for (int64_t member = 0; member < size; ++member) {
      for (const Piece& piece : list) {
        const Team& team = teams[piece.team];
        if (member >= team.tiles) continue;
        const int64_t b = team.sequence, tile = team.first_tile + member;
        const int64_t q_len = spec.q_lens.At(b), keys = TileKeys(spec, b, tile);
        const int count = piece_counts[piece.team];
        sm90::MlaSegment segment{};
        segment.sequence = static_cast<int>(b);
        segment.firstRow = static_cast<int>(tile * kRows);
        segment.qRow = static_cast<int>(q_starts[static_cast<size_t>(b)] * spec.q_heads + tile * kRows);
        segment.rows = static_cast<int>(std::min(kRows, q_len * spec.q_heads - tile * kRows));
        segment.firstLimit = static_cast<int>(spec.kv_lens.At(b) - q_len + 1);
        segment.kvRow = static_cast<int>(kv_starts[static_cast<size_t>(b)]);
        segment.keyBegin = static_cast<int>(piece.begin * kKeys);
        segment.keyEnd = static_cast<int>(std::max<int64_t>(segment.keyBegin, std::min(keys, piece.end * kKeys)));
        segment.item = first_items[piece.team] + static_cast<int>(member);
        segment.firstPart = first_parts[piece.team] + static_cast<int>(member) * count;
        segment.part = count == 1 ? -1 : segment.firstPart + piece_numbers[piece.team];
        segment.partCount = count;
        plan.segments.push_back(segment);
      }
      plan.starts.push_back(static_cast<int>(plan.segments.size()));
    }
    for (const Piece& piece : list) ++piece_numbers[piece.team];
  }
  return plan;
}

}  // namespace attn
