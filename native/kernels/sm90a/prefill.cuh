/**
 * Attention forward for head dims up to 256: one producer warp feeds K and V blocks by TMA, two or three consumer
 * warpgroups of 64 query rows each multiply with wgmma. README.md here draws the data flow.
 */
#pragma once
#include "prefill_params.h"
#include "softmax.cuh"
#include "wgmma.gen.cuh"

namespace sm90 {

/**
 * Tile plan of one instantiation.
 * `BlockN` keys per step, `Groups` consumer warpgroups, `Overlap`: softmax of block j runs while P·V of block j+1 multiplies,
 * `PingPong`: the warpgroups take turns in issuing, so that one's softmax meets the other's multiplies,
 * `OwnO`: O leaves through shared memory of its own, so that the next tile's Q can arrive meanwhile.
 */
template <class Element_, int D_, int DV_, int BlockN_, int Groups_, bool Overlap_, bool PingPong_, bool OwnO_>
struct PrefillPlan {
  using Element = Element_;
  static constexpr int D = D_, DV = DV_, BlockN = BlockN_, Groups = Groups_;
  static constexpr bool Overlap = Overlap_, PingPong = PingPong_, OwnO = OwnO_;
  static constexpr int Stages = 2;
  static constexpr int Threads = 128 * (1 + Groups);
  static constexpr int ConsumerRegisters = Groups == 3 ? 160 : 232;
  static constexpr int ProducerRegisters = Groups == 3 ? 32 : 40;
  static constexpr int Chunks = (D + 63) / 64, ChunksV = (DV + 63) / 64;
  static constexpr int BlockM = 64 * Groups;

  // Shared memory, in bytes. A tile is `Chunks` column chunks of rows x 128 B, 128-byte swizzled.
  static constexpr int QChunk = 64 * 128;
  static constexpr int QSlab = Chunks * QChunk;  // the 64 query rows of one warpgroup
  static constexpr int KVChunk = BlockN * 128;
  static constexpr int KStage = Chunks * KVChunk, VStage = ChunksV * KVChunk;
  static constexpr int OSlab = ChunksV * QChunk;
  static constexpr int KOffset = Groups * QSlab;
  static constexpr int VOffset = KOffset + Stages * KStage;
  static constexpr int OOffset = OwnO ? VOffset + Stages * VStage : 0;
  static constexpr int BarrierOffset = VOffset + Stages * VStage + (OwnO ? Groups * OSlab : 0);
  static constexpr int TileSlots = 2;
  // Barriers: per Q slab full/empty, per K and V stage full/empty, per tile slot full/empty; then the slots.
  static constexpr int BarrierCount = 2 * Groups + 4 * Stages + 2 * TileSlots;
  static constexpr int SlotOffset = (BarrierOffset + BarrierCount * 8 + 15) / 16 * 16;
  static constexpr int SharedBytes = SlotOffset + TileSlots * 16;
  static_assert(SharedBytes <= 232448, "more shared memory than a Hopper block may have");
};

/** A ring position: one count of uses, which holds the stage and the parity of the phase it is in. */
template <int Stages>
struct RingPosition {
  static_assert((Stages & (Stages - 1)) == 0, "stages must be a power of two");
  u32 uses = 0;
  __device__ __forceinline__ int stage() const { return uses % Stages; }
  __device__ __forceinline__ u32 parity() const { return uses / Stages & 1; }
  __device__ __forceinline__ void advance() { ++uses; }
};

/** One unit of work: `BlockM` query rows of one head of one sequence. */
struct Tile {
  int qBlock, head, sequence;
};

template <class Plan>
struct Prefill {
  using Element = typename Plan::Element;
  static constexpr int BlockN = Plan::BlockN, BlockM = Plan::BlockM, Stages = Plan::Stages;

  u32 shared;
  const PrefillParams& params;

  __device__ __forceinline__ u32 barrier(int index) const { return shared + Plan::BarrierOffset + 8 * index; }
  __device__ __forceinline__ u32 qFull(int group) const { return barrier(group); }
  __device__ __forceinline__ u32 qEmpty(int group) const { return barrier(Plan::Groups + group); }
  __device__ __forceinline__ u32 kFull(int stage) const { return barrier(2 * Plan::Groups + stage); }
  __device__ __forceinline__ u32 kEmpty(int stage) const { return barrier(2 * Plan::Groups + Stages + stage); }
  __device__ __forceinline__ u32 vFull(int stage) const { return barrier(2 * Plan::Groups + 2 * Stages + stage); }
  __device__ __forceinline__ u32 vEmpty(int stage) const { return barrier(2 * Plan::Groups + 3 * Stages + stage); }
  __device__ __forceinline__ u32 tileFull(int slot) const { return barrier(2 * Plan::Groups + 4 * Stages + slot); }
  __device__ __forceinline__ u32 tileEmpty(int slot) const {
    return barrier(2 * Plan::Groups + 4 * Stages + Plan::TileSlots + slot);
  }
  __device__ __forceinline__ u32 tileSlot(int slot) const { return shared + Plan::SlotOffset + 16 * slot; }

  __device__ __forceinline__ void initBarriers() const {
    for (int g = 0; g < Plan::Groups; ++g) {
      mbarrierInit(qFull(g), 1);
      mbarrierInit(qEmpty(g), 4);
    }
    for (int s = 0; s < Stages; ++s) {
      mbarrierInit(kFull(s), 1);
      mbarrierInit(vFull(s), 1);
      mbarrierInit(kEmpty(s), 4 * Plan::Groups);
      mbarrierInit(vEmpty(s), 4 * Plan::Groups);
    }
    for (int s = 0; s < Plan::TileSlots; ++s) {
      mbarrierInit(tileFull(s), 1);
      mbarrierInit(tileEmpty(s), 4 * Plan::Groups + 2);
    }
    fenceMbarrierInit();
  }

  // ---- order of the work --------------------------------------------------------------------------------------------

  __device__ __forceinline__ int qBlocks() const { return (params.qLenMax + BlockM - 1) / BlockM; }

  /**
   * Tile number -> tile. Full attention: all row blocks of a head, then the next head, so that concurrent blocks share one
   * head's K and V in L2. Causal: longest row blocks first (they finish together), within sections of heads that fit L2.
   */
  __device__ __forceinline__ Tile tileOf(int index) const {
    const int blocks = qBlocks();
    int block, headIndex;
    if (params.causal) {
      const int perSection = params.sectionHeads * blocks;
      const int section = index / perSection;
      const int firstHead = section * params.sectionHeads;
      const int heads = min(params.sectionHeads, params.batch * params.qHeads - firstHead);
      const int rest = index - section * perSection;
      block = blocks - 1 - rest / heads;
      headIndex = firstHead + rest % heads;
    } else {
      block = index % blocks;
      headIndex = index / blocks;
    }
    return {block, headIndex % params.qHeads, headIndex / params.qHeads};
  }

  __device__ __forceinline__ int qLen(const Tile& tile) const {
    return params.qStarts[tile.sequence + 1] - params.qStarts[tile.sequence];
  }

  /** Number of key blocks that the tile's rows can see. */
  __device__ __forceinline__ int keyBlocks(const Tile& tile, int queries, int keys) const {
    int visible = keys;
    if (params.causal) visible = min(keys, min((tile.qBlock + 1) * BlockM, queries) + keys - queries);
    return visible <= 0 ? 0 : (visible + BlockN - 1) / BlockN;
  }

  // ---- producer warps: one hands out tiles and loads Q, one streams K, one streams V ----------------------------------

  /** Takes tile numbers from the launch's counter, announces tiles to the other warps and loads their Q. One thread. */
  __device__ __forceinline__ void schedule(const TensorMap& qMap) const {
    const int total = qBlocks() * params.batch * params.qHeads;
    RingPosition<Plan::TileSlots> slot;
    int next;
    for (int index = blockIdx.x; index < total; index = next) {
      const int taken = static_cast<int>(atomicAdd(params.counter, 1u));
      if (taken == total - 1) atomicExch(params.counter, 0u);  // the last request of this launch
      next = taken + static_cast<int>(gridDim.x);
      const Tile tile = tileOf(index);
      if (tile.qBlock * BlockM >= qLen(tile)) continue;
      announce(slot, make_uint4(tile.qBlock, tile.head, tile.sequence, 1));
      // A Q slab turns over once per tile, as the slots' count does.
      const u32 parity = slot.uses & 1;
      const int token = params.qStarts[tile.sequence] + tile.qBlock * BlockM;
      for (int g = 0; g < Plan::Groups; ++g) {
        mbarrierWait(qEmpty(g), parity ^ 1);
        mbarrierArriveExpect(qFull(g), Plan::QSlab);
#pragma unroll
        for (int c = 0; c < Plan::Chunks; ++c)
          tmaLoad3d(shared + g * Plan::QSlab + c * Plan::QChunk, &qMap, qFull(g), 64 * c, token + 64 * g, tile.head);
      }
      slot.advance();
    }
    announce(slot, make_uint4(0, 0, 0, 0));
  }

  __device__ __forceinline__ void announce(const RingPosition<Plan::TileSlots>& slot, uint4 work) const {
    mbarrierWait(tileEmpty(slot.stage()), slot.parity() ^ 1);
    sharedStore16(tileSlot(slot.stage()), work);
    mbarrierArrive(tileFull(slot.stage()));
  }

  /** Receives the next tile; false = no more work. Whole warp. */
  __device__ __forceinline__ bool receive(RingPosition<Plan::TileSlots>& slot, Tile& tile) const {
    mbarrierWait(tileFull(slot.stage()), slot.parity());
    const uint4 work = sharedLoad16(tileSlot(slot.stage()));
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrierArrive(tileEmpty(slot.stage()));
    slot.advance();
    tile = {static_cast<int>(work.x), static_cast<int>(work.y), static_cast<int>(work.z)};
    return work.w != 0;
  }

  /** Page (or batch coordinate) of this lane's box of key block `block`; beyond the keys, the page that reads as zeros. */
  __device__ __forceinline__ int pageOf(const Tile& tile, int block, int keys, int laneRow) const {
    if (!params.pageTable) return tile.sequence * params.kvBatchStep;
    const int token = block * BlockN + laneRow;
    if (block < 0 || laneRow >= BlockN || token >= keys) return params.pageCount;
    return params.pageTable[static_cast<long long>(tile.sequence) * params.pageTableStride + (token >> params.pageShift)];
  }

  /**
   * Streams the K or the V blocks of every tile, last block first. Lane i of the warp brings box i (rows from i * boxRows)
   * of every column chunk; with contiguous KV one box is the whole block. Page numbers are read one block ahead of their
   * use: the look-up's latency would otherwise delay every load.
   */
  template <int ChunkCount, int StageBytes>
  __device__ __forceinline__ void stream(const TensorMap& map, u32 ring, u32 full, u32 empty) const {
    const int laneRow = threadIdx.x % 32 * params.boxRows;
    RingPosition<Stages> position;
    RingPosition<Plan::TileSlots> slot;
    Tile tile;
    while (receive(slot, tile)) {
      const int keys = params.kvLens[tile.sequence];
      const int kvHead = tile.head / (params.qHeads / params.kvHeads);
      const int firstRow = params.pageTable ? 0 : params.kvStarts[tile.sequence];
      const int rowMask = params.pageTable ? (1 << params.pageShift) - 1 : -1;
      int block = keyBlocks(tile, qLen(tile), keys) - 1;
      int page = pageOf(tile, block, keys, laneRow);
      for (; block >= 0; --block) {
        const int nextPage = pageOf(tile, block - 1, keys, laneRow);
        const int stage = position.stage();
        mbarrierWait(empty + 8 * stage, position.parity() ^ 1);
        if (laneRow == 0) mbarrierArriveExpect(full + 8 * stage, ChunkCount * Plan::KVChunk);
        __syncwarp();
        if (laneRow < BlockN) {
          const int row = firstRow + ((block * BlockN + laneRow) & rowMask);
#pragma unroll
          for (int c = 0; c < ChunkCount; ++c)
            tmaLoad4d(ring + stage * StageBytes + c * Plan::KVChunk + laneRow * 128, &map, full + 8 * stage, 64 * c, row, kvHead,
                      page);
        }
        __syncwarp();
        position.advance();
        page = nextPage;
      }
    }
  }

  // ---- consumers ----------------------------------------------------------------------------------------------------

  using Scores = float[BlockN / 2];
  using Output = float[Plan::DV / 2];
  using Packed = u32[BlockN / 4];

  static __device__ __forceinline__ void issueScores(Scores& s, u64 q, u64 k) {
    wgmmaFence();
#pragma unroll
    for (int step = 0; step < Plan::D / 16; ++step) {
      const int chunk = step / 4, inside = 32 * (step % 4);
      Wgmma<Element, BlockN>::template sharedA<0>(s, q + ((chunk * Plan::QChunk + inside) >> 4),
                                                  k + ((chunk * Plan::KVChunk + inside) >> 4), step > 0);
    }
    wgmmaCommit();
  }

  static __device__ __forceinline__ void issueOutput(Output& o, const Packed& p, u64 v) {
    wgmmaFence();
#pragma unroll
    for (int step = 0; step < BlockN / 16; ++step)
      Wgmma<Element, Plan::DV>::template registerA<1>(o, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3],
                                                      v + ((step * 2048) >> 4), 1);
    wgmmaCommit();
  }

  /** Zeroes the rows of a V block that lie beyond the sequence: what is there may be NaN, and 0 * NaN is NaN. */
  __device__ __forceinline__ void zeroTail(u32 stage, int firstRow, int group) const {
    const int thread = threadIdx.x % 128;
    for (int c = 0; c < Plan::ChunksV; ++c)
      for (int i = firstRow * 8 + thread; i < BlockN * 8; i += 128)
        sharedStore16(stage + c * Plan::KVChunk + i * 16, make_uint4(0, 0, 0, 0));
    fenceProxyAsync();
    namedBarrierSync(8 + group, 128);
  }

  __device__ __forceinline__ void consume(const TensorMap& oMap) const {
    const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128 - 1, 0);
    const int lane = threadIdx.x % 32;
    const int warpInGroup = (threadIdx.x / 32) % 4;
    const u32 slab = shared + group * Plan::QSlab;
    const u64 qDescriptor = matrixDescriptor(slab, 16);
    const u64 kDescriptor = matrixDescriptor(shared + Plan::KOffset, 16);
    const u64 vDescriptor = matrixDescriptor(shared + Plan::VOffset, Plan::KVChunk);
    RingPosition<Stages> k, v;
    RingPosition<Plan::TileSlots> slot;
    u32 qParity = 0;
    if (Plan::PingPong && group == Plan::Groups - 1) namedBarrierArrive(1, 256);

    Tile tile;
    while (receive(slot, tile)) {
      const int queries = qLen(tile);
      const int keys = params.kvLens[tile.sequence];
      const int blocks = keyBlocks(tile, queries, keys);
      const int firstRow = tile.qBlock * BlockM + group * 64;                    // of this warpgroup
      const int threadRow = firstRow + warpInGroup * 16 + lane / 4;
      const int visibleFirst = params.causal ? min(keys, firstRow + 1 + keys - queries) : keys;
      const int fullBlocks = visibleFirst <= 0 ? 0 : visibleFirst / BlockN;      // blocks all 64 rows see whole
      // Limits of this thread's rows, relative to its first column of block 0.
      const int column = 2 * (lane % 4);
      const int upperLimit = (params.causal ? min(keys, threadRow + 1 + keys - queries) : keys) - column;
      const int lowerLimit = (params.causal ? min(keys, threadRow + 9 + keys - queries) : keys) - column;

      Output o;
#pragma unroll
      for (int i = 0; i < Plan::DV / 2; ++i) o[i] = 0.f;
      RowState rows;

      mbarrierWait(qFull(group), qParity);
      qParity ^= 1;
      if (blocks > 0) {
        Scores s;
        Packed p;
        float alpha[2];
        int j = blocks - 1;
        if (blocks * BlockN > keys) {
          mbarrierWait(vFull(v.stage()), v.parity());
          zeroTail(shared + Plan::VOffset + v.stage() * Plan::VStage, keys - j * BlockN, group);
        }
        if constexpr (Plan::Overlap) {
          mbarrierWait(kFull(k.stage()), k.parity());
          issueScores(s, qDescriptor, kDescriptor + ((k.stage() * Plan::KStage) >> 4));
          wgmmaWait<0>();
          pinRegisters(s);
          __syncwarp();
          if (lane == 0) mbarrierArrive(kEmpty(k.stage()));
          k.advance();
          maskColumns(s, upperLimit - j * BlockN, lowerLimit - j * BlockN);
          softmaxStep(s, rows, params.scaleLog2, alpha);
          packRows<Element>(p, s);
          --j;
          auto step = [&](auto masked) {
            mbarrierWait(kFull(k.stage()), k.parity());
            if (Plan::PingPong) namedBarrierSync(1 + group, 256);
            issueScores(s, qDescriptor, kDescriptor + ((k.stage() * Plan::KStage) >> 4));
            mbarrierWait(vFull(v.stage()), v.parity());
            issueOutput(o, p, vDescriptor + ((v.stage() * Plan::VStage) >> 4));
            if (Plan::PingPong) namedBarrierArrive(1 + (group + 1) % Plan::Groups, 256);
            wgmmaWait<1>();
            pinRegisters(s);
            __syncwarp();
            if (lane == 0) mbarrierArrive(kEmpty(k.stage()));
            k.advance();
            if (masked.value) maskColumns(s, upperLimit - j * BlockN, lowerLimit - j * BlockN);
            const bool rescale = softmaxStep(s, rows, params.scaleLog2, alpha);
            wgmmaWait<0>();
            pinRegisters(o);
            __syncwarp();
            if (lane == 0) mbarrierArrive(vEmpty(v.stage()));
            v.advance();
            if (rescale) scaleRows(o, alpha);
            packRows<Element>(p, s);
          };
          for (; j >= fullBlocks; --j) step(Constant<true>{});
          for (; j >= 0; --j) step(Constant<false>{});
          if (Plan::OwnO && lane == 0) mbarrierArrive(qEmpty(group));
          mbarrierWait(vFull(v.stage()), v.parity());
          issueOutput(o, p, vDescriptor + ((v.stage() * Plan::VStage) >> 4));
          wgmmaWait<0>();
          pinRegisters(o);
          __syncwarp();
          if (lane == 0) mbarrierArrive(vEmpty(v.stage()));
          v.advance();
        } else {
          auto step = [&](auto masked) {
            mbarrierWait(kFull(k.stage()), k.parity());
            issueScores(s, qDescriptor, kDescriptor + ((k.stage() * Plan::KStage) >> 4));
            wgmmaWait<0>();
            pinRegisters(s);
            __syncwarp();
            if (lane == 0) mbarrierArrive(kEmpty(k.stage()));
            k.advance();
            if (masked.value) maskColumns(s, upperLimit - j * BlockN, lowerLimit - j * BlockN);
            const bool rescale = softmaxStep(s, rows, params.scaleLog2, alpha);
            if (rescale) scaleRows(o, alpha);
            packRows<Element>(p, s);
            mbarrierWait(vFull(v.stage()), v.parity());
            issueOutput(o, p, vDescriptor + ((v.stage() * Plan::VStage) >> 4));
            wgmmaWait<0>();
            pinRegisters(o);
            __syncwarp();
            if (lane == 0) mbarrierArrive(vEmpty(v.stage()));
            v.advance();
          };
          for (; j >= fullBlocks; --j) step(Constant<true>{});
          for (; j >= 0; --j) step(Constant<false>{});
          if (Plan::OwnO && lane == 0) mbarrierArrive(qEmpty(group));
        }
      } else if (Plan::OwnO && lane == 0) {
        mbarrierArrive(qEmpty(group));
      }
      writeTile(oMap, o, rows, tile, queries, group, warpInGroup, lane, threadRow);
      if (!Plan::OwnO && lane == 0) {
        bulkWaitRead();
        mbarrierArrive(qEmpty(group));
      }
    }
    if (lane == 0) bulkWait();
  }

  template <bool Value>
  struct Constant {
    static constexpr bool value = Value;
  };

  /** Normalises, stages 16 rows per warp in shared memory and stores them: by TMA when all 16 exist, else row by row. */
  __device__ __forceinline__ void writeTile(const TensorMap& oMap, Output& o, const RowState& rows, const Tile& tile, int queries,
                                            int group, int warpInGroup, int lane, int threadRow) const {
    float inverse[2];
    const long long token0 = params.qStarts[tile.sequence];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quadSum(rows.sum[r]);
      inverse[r] = sum > 0.f ? 1.f / sum : 0.f;
      const int row = threadRow + 8 * r;
      if (params.lse && lane % 4 == 0 && row < queries)
        params.lse[(token0 + row) * params.lseTokenStride + tile.head * params.lseHeadStride] =
            sum > 0.f ? (rows.max[r] + __log2f(sum)) * 0.69314718056f : minusInfinity();
    }
    scaleRows(o, inverse);

    const u32 staging = shared + Plan::OOffset + group * (Plan::OwnO ? Plan::OSlab : Plan::QSlab) + warpInGroup * 2048;
    if constexpr (Plan::OwnO) {
      if (lane == 0) bulkWaitRead();  // this warp's previous tile has left
      __syncwarp();
    } else {
      namedBarrierSync(8 + group, 128);  // all four warps are done with the Q rows this overwrites
    }
    const int row = lane % 8 + 8 * ((lane / 8) % 2);
#pragma unroll
    for (int i = 0; i < Plan::DV / 16; ++i) {
      const int chunk = i / 4, column16 = (i % 4) * 2 + lane / 16;
      storeMatrix4(staging + chunk * Plan::QChunk + row * 128 + ((column16 ^ (row % 8)) << 4),
                   Element::pack(o[8 * i], o[8 * i + 1]), Element::pack(o[8 * i + 2], o[8 * i + 3]),
                   Element::pack(o[8 * i + 4], o[8 * i + 5]), Element::pack(o[8 * i + 6], o[8 * i + 7]));
    }
    const int warpRow = threadRow - lane / 4;
    if (warpRow + 16 <= queries) {
      fenceProxyAsync();
      __syncwarp();
      if (lane == 0) {
#pragma unroll
        for (int c = 0; c < Plan::ChunksV; ++c)
          tmaStore3d(&oMap, staging + c * Plan::QChunk, 64 * c, static_cast<int>(token0) + warpRow, tile.head);
        bulkCommit();
      }
    } else {
      __syncwarp();
      char* out = static_cast<char*>(params.out);
      constexpr int Vectors = Plan::ChunksV * 8;
      for (int i = lane; i < 16 * Vectors; i += 32) {
        const int r = i / Vectors, vector = i % Vectors;
        if (warpRow + r < queries && vector * 8 < params.headDimV) {
          const uint4 value = sharedLoad16(staging + (vector / 8) * Plan::QChunk + r * 128 + (((vector % 8) ^ (r % 8)) << 4));
          const long long element =
              (token0 + warpRow + r) * params.outTokenStride + tile.head * params.outHeadStride + vector * 8;
          *reinterpret_cast<uint4*>(out + element * 2) = value;
        }
      }
      fenceProxyAsync();  // the next user of this memory may be TMA
      __syncwarp();
    }
  }

  static __device__ __forceinline__ void run(const TensorMap& qMap, const TensorMap& kMap, const TensorMap& vMap,
                                             const TensorMap& oMap, const PrefillParams& params) {
    extern __shared__ __align__(1024) unsigned char sharedMemory[];
    const Prefill self{sharedAddress(sharedMemory), params};
    if (self.shared % 1024) __trap();
    if (threadIdx.x == 0) {
      prefetchTensorMap(&qMap);
      prefetchTensorMap(&kMap);
      prefetchTensorMap(&vMap);
      prefetchTensorMap(&oMap);
      self.initBarriers();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
      registersDecrease<Plan::ProducerRegisters>();
      const int warp = threadIdx.x / 32;
      if (threadIdx.x == 0) self.schedule(qMap);
      if (warp == 1)
        self.template stream<Plan::Chunks, Plan::KStage>(kMap, self.shared + Plan::KOffset, self.kFull(0), self.kEmpty(0));
      if (warp == 2)
        self.template stream<Plan::ChunksV, Plan::VStage>(vMap, self.shared + Plan::VOffset, self.vFull(0), self.vEmpty(0));
    } else {
      registersIncrease<Plan::ConsumerRegisters>();
      self.consume(oMap);
    }
  }
};

/** Declares the kernel `name` for a plan. */
#define SM90_PREFILL_KERNEL(name, ...)                                                                                  \
  extern "C" __global__ void __launch_bounds__(sm90::PrefillPlan<__VA_ARGS__>::Threads, 1)                              \
      name(const __grid_constant__ sm90::TensorMap q, const __grid_constant__ sm90::TensorMap k,                        \
           const __grid_constant__ sm90::TensorMap v, const __grid_constant__ sm90::TensorMap o,                        \
           const __grid_constant__ sm90::PrefillParams params) {                                                        \
    sm90::Prefill<sm90::PrefillPlan<__VA_ARGS__>>::run(q, k, v, o, params);                                             \
  }

}  // namespace sm90
