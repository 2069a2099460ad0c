/**
 * Attention forward for head dims up to 256: producer warps feed K and V blocks by TMA, two or three consumer
 * warpgroups of 64 query rows each multiply with wgmma. README.md here draws the data flow.
 */
#pragma once
#include "epilogue.cuh"
#include "kv_stream.cuh"
#include "softmax.cuh"
#include "tiles.cuh"
#include "wgmma.gen.cuh"

namespace sm90 {

/**
 * Tile plan of one instantiation.
 * `BlockN` keys per step, `Groups` consumer warpgroups,
 * `PingPong`: the warpgroups take turns in issuing, so that one's softmax meets the others' multiplies,
 * `OwnO`: O leaves through shared memory of its own, so that the next tile's Q can arrive meanwhile,
 * `Options`: knows windows, soft caps and sinks.
 */
template <class Element_, int D_, int DV_, int BlockN_, int Groups_, bool PingPong_, bool OwnO_, bool Options_>
struct PrefillPlan {
  using Element = Element_;
  static constexpr int D = D_, DV = DV_, BlockN = BlockN_, Groups = Groups_;
  static constexpr bool PingPong = PingPong_, OwnO = OwnO_, Options = Options_;
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
  __device__ __forceinline__ TileQueue<Plan::TileSlots> tileQueue() const {
    const int first = 2 * Plan::Groups + 4 * Stages;
    return {barrier(first), barrier(first + Plan::TileSlots), shared + Plan::SlotOffset, {}};
  }

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
    const TileQueue<Plan::TileSlots> queue = tileQueue();
    for (int s = 0; s < Plan::TileSlots; ++s) {
      mbarrierInit(queue.full + 8 * s, 1);
      mbarrierInit(queue.empty + 8 * s, 32 * (4 * Plan::Groups + 2));  // consumer warps and the two streaming warps
    }
    fenceMbarrierInit();
  }

  // ---- producer warps: one hands out tiles and loads Q, one streams K, one streams V ----------------------------------

  __device__ __forceinline__ void loadQ(const TensorMap& map, const Tile& tile, u32 use) const {
    const int token = params.qStarts[tile.sequence] + tile.qBlock * BlockM;
    for (int g = 0; g < Plan::Groups; ++g) {
      mbarrierWait(qEmpty(g), (use & 1) ^ 1);
      mbarrierArriveExpect(qFull(g), Plan::QSlab);
#pragma unroll
      for (int c = 0; c < Plan::Chunks; ++c)
        tmaLoad3d(shared + g * Plan::QSlab + c * Plan::QChunk, &map, qFull(g), 64 * c, token + 64 * g, tile.head);
    }
  }

  /** Streams K or V, every tile's blocks from the last to the first. One warp. */
  template <int ChunkCount>
  __device__ __forceinline__ void stream(const TensorMap& map, int boxRows, u32 ring, u32 full, u32 empty) const {
    TileQueue<Plan::TileSlots> queue = tileQueue();
    RingPosition<Stages> position;
    Tile tile;
    while (queue.receive(tile)) {
      const KvSource source(params, tile);
      const BlockRange range = keyBlocks<BlockM, BlockN, Plan::Options>(params, tile, queryCount(params, tile), source.keys);
      streamBlocks<BlockN, 1, 1, ChunkCount>(map, source, range, boxRows, 0, ring, full, empty, position);
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
      Wgmma<Element, BlockN>::template sharedA<0>(s, advanced(q, chunk * Plan::QChunk + inside),
                                                  advanced(k, chunk * Plan::KVChunk + inside), step > 0);
    }
    wgmmaCommit();
  }

  static __device__ __forceinline__ void issueOutput(Output& o, const Packed& p, u64 v) {
    wgmmaFence();
#pragma unroll
    for (int step = 0; step < BlockN / 16; ++step)
      Wgmma<Element, Plan::DV>::template registerA<1>(o, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3],
                                                      advanced(v, step * 2048), 1);
    wgmmaCommit();
  }

  /** One arrival for the warp, once all its lanes are done with what the barrier guards. */
  static __device__ __forceinline__ void arriveForWarp(u32 barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrierArrive(barrier);
  }
  /** Hands Q's memory back where O does not need it first. */
  __device__ __forceinline__ void releaseQ(int group) const {
    if (Plan::OwnO) arriveForWarp(qEmpty(group));
  }

  /** The warpgroups' turns to issue. */
  static __device__ __forceinline__ void awaitTurn(int group) {
    if (Plan::PingPong) namedBarrierSync(1 + group, 256);
  }
  static __device__ __forceinline__ void passTurn(int group) {
    if (Plan::PingPong) namedBarrierArrive(1 + (group + 1) % Plan::Groups, 256);
  }

  /**
   * Lets blocks go by, with their turns, that only other warpgroups of the tile see. A group that handed a stage back before
   * its data came would be counted in an earlier phase of the barrier, so it waits for the data.
   */
  __device__ __forceinline__ void passOver(int group, int blocks, RingPosition<Stages> k, RingPosition<Stages> v) const {
    for (int i = 0; i < blocks; ++i) {
      mbarrierWait(kFull(k.stage()), k.parity());
      arriveForWarp(kEmpty(k.stage()));
      k.advance();
      mbarrierWait(vFull(v.stage()), v.parity());
      arriveForWarp(vEmpty(v.stage()));
      v.advance();
      awaitTurn(group);
      passTurn(group);
    }
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
    TileQueue<Plan::TileSlots> queue = tileQueue();
    u32 qParity = 0;
    if (Plan::PingPong && group == Plan::Groups - 1) namedBarrierArrive(1, 256);

    Tile tile;
    while (queue.receive(tile)) {
      const int queries = queryCount(params, tile);
      const int keys = keyCount(params, tile);
      const BlockRange range = keyBlocks<BlockM, BlockN, Plan::Options>(params, tile, queries, keys);
      const int firstRow = tile.qBlock * BlockM + group * 64;  // of this warpgroup
      const int threadRow = firstRow + warpInGroup * 16 + lane / 4;
      const BlockRange whole = wholeBlocks<BlockN, Plan::Options>(params, firstRow, queries, keys);
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
      if (!range.empty()) {
        Scores s;
        Packed p;
        float alpha[2];
        int j = range.last;
        if ((j + 1) * BlockN > keys) {
          mbarrierWait(vFull(v.stage()), v.parity());
          zeroRows(shared + Plan::VOffset + v.stage() * Plan::VStage, Plan::ChunksV, keys - j * BlockN, BlockN,
                   threadIdx.x - 128, 128 * Plan::Groups, 7);
        }
        const int unseen = uniform(j - lastBlockSeen<BlockN>(params, range, firstRow, queries, keys));
        passOver(group, unseen, k, v);
        k.uses += unseen, v.uses += unseen, j -= unseen;
        mbarrierWait(kFull(k.stage()), k.parity());
        issueScores(s, qDescriptor, advanced(kDescriptor, k.stage() * Plan::KStage));
        wgmmaWait<0>();
        pinRegisters(s);
        arriveForWarp(kEmpty(k.stage()));
        k.advance();
        maskBlock<Plan::Options>(s, params, j * BlockN, upperLimit, lowerLimit);
        softmaxStep(s, rows, params.scaleLog2, alpha);
        packRows<Element>(p, s);
        --j;
        auto step = [&](auto masked) {
          mbarrierWait(kFull(k.stage()), k.parity());
          awaitTurn(group);
          issueScores(s, qDescriptor, advanced(kDescriptor, k.stage() * Plan::KStage));
          mbarrierWait(vFull(v.stage()), v.parity());
          issueOutput(o, p, advanced(vDescriptor, v.stage() * Plan::VStage));
          passTurn(group);
          wgmmaWait<1>();
          pinRegisters(s);
          arriveForWarp(kEmpty(k.stage()));
          k.advance();
          if (masked.value) maskBlock<Plan::Options>(s, params, j * BlockN, upperLimit, lowerLimit);
          const bool rescale = outgrown(s, rows);
          if (rescale) raiseMaxima(s, rows, params.scaleLog2, alpha);
          wgmmaWait<0>();
          pinRegisters(o);
          arriveForWarp(vEmpty(v.stage()));
          v.advance();
          if (rescale) scaleRows(o, alpha);
          exponentiate(s, rows, params.scaleLog2);
          packRows<Element>(p, s);
        };
        walkBlocks<Plan::Options>(params, j, range, whole, step);
        releaseQ(group);
        mbarrierWait(vFull(v.stage()), v.parity());
        issueOutput(o, p, advanced(vDescriptor, v.stage() * Plan::VStage));
        wgmmaWait<0>();
        pinRegisters(o);
        arriveForWarp(vEmpty(v.stage()));
        v.advance();
      } else {
        releaseQ(group);
      }
      float inverse[2];
      finishRows<Plan::Options>(params, rows, tile, threadRow, queries, inverse);
      scaleRows(o, inverse);
      if constexpr (Plan::OwnO) {
        if (lane == 0) bulkWaitRead();  // this warp's previous tile has left
        __syncwarp();
      } else {
        namedBarrierSync(8 + group, 128);  // all four warps are done with the Q rows that O now overwrites
      }
      const u32 staging = Plan::OwnO ? shared + Plan::OOffset + group * Plan::OSlab : slab;
      writeStrip<Element, Plan::DV>(oMap, params, o, tile, queries, threadRow - lane / 4, 0, staging + warpInGroup * 2048);
      if (!Plan::OwnO && lane == 0) {
        bulkWaitRead();
        mbarrierArrive(qEmpty(group));
      }
    }
    if (lane == 0) bulkWait();
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
      if (threadIdx.x == 0)
        self.tileQueue().template distribute<BlockM>(params, [&](const Tile& tile, u32 use) { self.loadQ(qMap, tile, use); });
      if (warp == 1) self.template stream<Plan::Chunks>(kMap, params.boxRows, self.shared + Plan::KOffset, self.kFull(0), self.kEmpty(0));
      if (warp == 2) self.template stream<Plan::ChunksV>(vMap, params.boxRowsV, self.shared + Plan::VOffset, self.vFull(0), self.vEmpty(0));
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
