/** Work distribution: the order of the tiles, and the small queue through which one thread hands them to all warps. */
#pragma once
#include "prefill_params.h"
#include "ptx.cuh"

namespace sm90 {

/** A ring position: one count of uses, which holds the stage and the parity of the phase it is in. */
template <int Stages>
struct RingPosition {
  static_assert((Stages & (Stages - 1)) == 0, "stages must be a power of two");
  u32 uses = 0;
  __device__ __forceinline__ int stage() const { return uses % Stages; }
  __device__ __forceinline__ u32 parity() const { return uses / Stages & 1; }
  __device__ __forceinline__ void advance() { ++uses; }
};

/** One unit of work: a block of query rows of one head of one sequence. */
struct Tile {
  int qBlock, head, sequence;
};

__device__ __forceinline__ int queryCount(const PrefillParams& params, const Tile& tile) {
  return params.qStarts[tile.sequence + 1] - params.qStarts[tile.sequence];
}

__device__ __forceinline__ int keyCount(const PrefillParams& params, const Tile& tile) {
  return params.kvEnds[tile.sequence] - params.kvStarts[tile.sequence];
}

/** Flags that a lambda can take as an argument: known when compiling, or not. */
template <bool Value>
struct Constant {
  static constexpr bool value = Value;
};
struct Flag {
  bool value;
};

template <int BlockM>
__device__ __forceinline__ int queryBlocks(const PrefillParams& params) {
  return (params.qLenMax + BlockM - 1) / BlockM;
}

/**
 * Tile number -> tile. Full attention: all row blocks of a head, then the next head, so that concurrent blocks share one
 * head's K and V in L2. Causal: longest row blocks first, within sections of heads for the same reason; the shortest blocks
 * of all heads come last, read little, and let all blocks of the grid finish together.
 */
template <int BlockM>
__device__ __forceinline__ Tile tileOf(const PrefillParams& params, int index) {
  const int blocks = queryBlocks<BlockM>(params);
  int block, headIndex;
  if (params.causal) {
    const int allHeads = params.batch * params.qHeads;
    const int inSections = allHeads * (blocks - params.shortBlocks);
    const bool isShort = index >= inSections;
    const int number = isShort ? index - inSections : index;
    const int begin = isShort ? 0 : params.shortBlocks, end = isShort ? params.shortBlocks : blocks;
    const int sectionHeads = isShort ? allHeads : params.sectionHeads;
    const int perSection = sectionHeads * (end - begin);
    const int firstHead = number / perSection * sectionHeads;
    const int heads = min(sectionHeads, allHeads - firstHead);
    const int rest = number % perSection;
    block = end - 1 - rest / heads;
    headIndex = firstHead + rest % heads;
  } else {
    block = index % blocks;
    headIndex = index / blocks;
  }
  return {block, headIndex % params.qHeads, headIndex / params.qHeads};
}

/** Key blocks `first` … `last`; none when last < first. */
struct BlockRange {
  int first, last;
  __device__ __forceinline__ bool empty() const { return last < first; }
};

/**
 * The key blocks that the tile's rows can see. `Options` here and below: whether the kernel knows windows, soft caps and
 * sinks. The plain kernels do not: what a window adds to their loop would cost registers that the largest plans lack.
 */
template <int BlockM, int BlockN, bool Options>
__device__ __forceinline__ BlockRange keyBlocks(const PrefillParams& params, const Tile& tile, int queries, int keys) {
  int visible = keys, hidden = 0;
  if (params.causal) visible = min(keys, min((tile.qBlock + 1) * BlockM, queries) + keys - queries);
  if (Options && params.window > 0) hidden = max(0, tile.qBlock * BlockM + 1 + keys - queries - params.window);
  return {hidden / BlockN, visible <= 0 ? -1 : (visible - 1) / BlockN};
}

/**
 * The last key block of the tile's that 64 rows from `firstRow` on can see. Never none: rows that see nothing or do not exist
 * take the tile's first, masked as it may be.
 */
template <int BlockN>
__device__ __forceinline__ int lastBlockSeen(const PrefillParams& params, BlockRange tile, int firstRow, int queries, int keys) {
  if (firstRow >= queries) return tile.first;
  if (!params.causal) return tile.last;
  const int visible = min(firstRow + 64, queries) + keys - queries;
  return max(tile.first, min(tile.last, (visible - 1) / BlockN));
}

/** The key blocks that 64 rows from `firstRow` on see whole. */
template <int BlockN, bool Options>
__device__ __forceinline__ BlockRange wholeBlocks(const PrefillParams& params, int firstRow, int queries, int keys) {
  const int firstSees = params.causal ? min(keys, firstRow + 1 + keys - queries) : keys;
  const int lastHides = Options && params.window > 0 ? max(0, firstRow + 64 + keys - queries - params.window) : 0;
  return {(lastHides + BlockN - 1) / BlockN, firstSees < BlockN ? -1 : firstSees / BlockN - 1};
}

/**
 * Walks key blocks `j` … range.first downwards with `step(masked)`: masked ones above `whole` and, with a window, below it. A soft
 * cap is part of the masked step, so with one all blocks are masked. The plain kernels have a copy of the step without a mask,
 * which is 1 … 3 % faster; the others ask at run time and save its room.
 */
template <bool Options, class Step>
__device__ __forceinline__ void walkBlocks(const PrefillParams& params, int& j, BlockRange range, BlockRange whole, Step step) {
  if constexpr (Options) {
    const int above = uniform(params.softcapPre != 0.f ? range.first - 1 : whole.last), below = uniform(whole.first);
    for (; j >= range.first; --j) step(Flag{j > above || j < below});
  } else {
    const int above = max(whole.last, range.first - 1);
    for (; j > above; --j) step(Constant<true>{});
    for (; j >= range.first; --j) step(Constant<false>{});
  }
}

/** Ring of announced tiles in shared memory: `Slots` times 16 bytes and a full and an empty barrier each (all readers arrive). */
template <int Slots>
struct TileQueue {
  u32 full, empty, slots;
  RingPosition<Slots> position;

  __device__ __forceinline__ void announce(const Tile& tile, bool live) {
    mbarrierWait(empty + 8 * position.stage(), position.parity() ^ 1);
    sharedStore16(slots + 16 * position.stage(), make_uint4(tile.qBlock, tile.head, tile.sequence, live));
    mbarrierArrive(full + 8 * position.stage());
  }

  /** Receives the next tile; false = no more work. Whole warp. */
  __device__ __forceinline__ bool receive(Tile& tile) {
    mbarrierWait(full + 8 * position.stage(), position.parity());
    const uint4 work = sharedLoad16(slots + 16 * position.stage());
    mbarrierArrive(empty + 8 * position.stage());
    position.advance();
    tile = {static_cast<int>(work.x), static_cast<int>(work.y), static_cast<int>(work.z)};
    return work.w != 0;
  }

  /**
   * Takes tile numbers from the launch's counter, announces each tile that has rows and calls `load(tile, use)` for it,
   * where `use` counts announced tiles. One thread of the block. The last request of the launch zeroes the counter.
   */
  template <int BlockM, class LoadQ>
  __device__ __forceinline__ void distribute(const PrefillParams& params, LoadQ load) {
    const int total = queryBlocks<BlockM>(params) * params.batch * params.qHeads;
    int next;
    for (int index = blockIdx.x; index < total; index = next) {
      const int taken = static_cast<int>(atomicAdd(params.counter, 1u));
      if (taken == total - 1) atomicExch(params.counter, 0u);
      next = taken + static_cast<int>(gridDim.x);
      const Tile tile = tileOf<BlockM>(params, index);
      if (tile.qBlock * BlockM >= queryCount(params, tile)) continue;
      announce(tile, true);
      load(tile, position.uses);
      position.advance();
    }
    announce(Tile{0, 0, 0}, false);
  }
};

}  // namespace sm90
