/**
 * Attention forward for head dims 257 … 512. O of 64 rows x 512 columns fills half of the register file, so two warpgroups
 * share it: the left one computes scores, softmax and columns 0-255, the right one columns 256-511 from the probabilities
 * that the left one leaves in shared memory. K and V stream through rings of 16 KB pieces. README.md here draws it.
 */
#pragma once
#include "epilogue.cuh"
#include "kv_stream.cuh"
#include "softmax.cuh"
#include "tiles.cuh"
#include "wgmma.gen.cuh"

namespace sm90 {

template <class Element, int BlockN, bool Options>
struct PrefillD512 {
  static_assert(BlockN == 64, "P is staged as one 64-wide chunk, and more keys do not fit beside Q");
  static constexpr int BlockM = 64, Threads = 384;
  static constexpr int ProducerRegisters = 40, ConsumerRegisters = 232;
  static constexpr int QChunk = 64 * 128, Chunks = 8;
  static constexpr int KPieces = 4, KChunk = BlockN * 128, KPiece = 2 * KChunk;  // 64 keys x 128 columns
  static constexpr int VRows = 32, VPieces = BlockN / VRows, VChunk = VRows * 128, VPiece = 4 * VChunk;  // 32 keys x 256 columns
  static constexpr int PSlots = 2, PSlot = BlockM * 128;

  static constexpr int KOffset = Chunks * QChunk;
  static constexpr int VOffset = KOffset + KPieces * KPiece;  // left ring, then right ring
  static constexpr int POffset = VOffset + 2 * VPieces * VPiece;
  static constexpr int FactorOffset = POffset + PSlots * PSlot;  // per slot: 64 row factors, 4 warp flags
  static constexpr int FactorSlot = 64 * 4 + 16;
  static constexpr int BarrierOffset = FactorOffset + PSlots * FactorSlot;
  static constexpr int TileSlots = 2;
  static constexpr int BarrierCount = 2 + 2 * KPieces + 4 * VPieces + 2 * PSlots + 2 * TileSlots;
  static constexpr int SlotOffset = (BarrierOffset + BarrierCount * 8 + 15) / 16 * 16;
  static constexpr int SharedBytes = SlotOffset + TileSlots * 16;
  static_assert(SharedBytes <= 232448, "more shared memory than a Hopper block may have");

  u32 shared;
  const PrefillParams& params;

  __device__ __forceinline__ u32 barrier(int index) const { return shared + BarrierOffset + 8 * index; }
  __device__ __forceinline__ u32 qFull() const { return barrier(0); }
  __device__ __forceinline__ u32 qEmpty() const { return barrier(1); }
  __device__ __forceinline__ u32 kFull() const { return barrier(2); }
  __device__ __forceinline__ u32 kEmpty() const { return barrier(2 + KPieces); }
  __device__ __forceinline__ u32 vFull(int side) const { return barrier(2 + 2 * KPieces + 2 * VPieces * side); }
  __device__ __forceinline__ u32 vEmpty(int side) const { return vFull(side) + 8 * VPieces; }
  __device__ __forceinline__ u32 pFull() const { return barrier(2 + 2 * KPieces + 4 * VPieces); }
  __device__ __forceinline__ u32 pEmpty() const { return pFull() + 8 * PSlots; }
  __device__ __forceinline__ TileQueue<TileSlots> tileQueue() const {
    const u32 first = pFull() + 16 * PSlots;
    return {first, first + 8 * TileSlots, shared + SlotOffset, {}};
  }

  __device__ __forceinline__ void initBarriers() const {
    mbarrierInit(qFull(), 1);
    mbarrierInit(qEmpty(), 8);
    for (int i = 0; i < KPieces; ++i) {
      mbarrierInit(kFull() + 8 * i, 1);
      mbarrierInit(kEmpty() + 8 * i, 4);
    }
    for (int side = 0; side < 2; ++side)
      for (int i = 0; i < VPieces; ++i) {
        mbarrierInit(vFull(side) + 8 * i, 1);
        mbarrierInit(vEmpty(side) + 8 * i, 4);
      }
    for (int i = 0; i < PSlots; ++i) {
      mbarrierInit(pFull() + 8 * i, 128);
      mbarrierInit(pEmpty() + 8 * i, 128);
    }
    const TileQueue<TileSlots> queue = tileQueue();
    for (int i = 0; i < TileSlots; ++i) {
      mbarrierInit(queue.full + 8 * i, 1);
      mbarrierInit(queue.empty + 8 * i, 32 * (8 + 3));  // consumer warps and the three streaming warps
    }
    fenceMbarrierInit();
  }

  __device__ __forceinline__ void loadQ(const TensorMap& map, const Tile& tile, u32 use) const {
    mbarrierWait(qEmpty(), (use & 1) ^ 1);
    mbarrierArriveExpect(qFull(), Chunks * QChunk);
    const int token = params.qStarts[tile.sequence] + tile.qBlock * BlockM;
    for (int c = 0; c < Chunks; ++c) tmaLoad3d(shared + c * QChunk, &map, qFull(), 64 * c, token, tile.head);
  }

  /** One producer warp: K, or one side of V, of every tile. */
  template <int RowPieces, int ColumnPieces, int ChunkCount, int Stages>
  __device__ __forceinline__ void stream(const TensorMap& map, int boxRows, int firstChunk, u32 ring, u32 full, u32 empty) const {
    TileQueue<TileSlots> queue = tileQueue();
    RingPosition<Stages> position;
    Tile tile;
    while (queue.receive(tile)) {
      const KvSource source(params, tile);
      const BlockRange range = keyBlocks<BlockM, BlockN, Options>(params, tile, queryCount(params, tile), source.keys);
      streamBlocks<BlockN, RowPieces, ColumnPieces, ChunkCount>(map, source, range, boxRows, firstChunk, ring, full, empty,
                                                                position);
    }
  }

  static __device__ __forceinline__ void release(u32 barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrierArrive(barrier);
  }

  /** S = Q K^T of one block, piece by piece as K arrives; each piece is given back as soon as its multiplies are done. */
  __device__ __forceinline__ void issueScores(float (&s)[BlockN / 2], u64 q, u64 k, u32& kPhase) const {
#pragma unroll
    for (int piece = 0; piece < KPieces; ++piece) {
      const u64 qPiece = opaque(q), kPiece = opaque(k);
      mbarrierWait(kFull() + 8 * piece, kPhase);
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 8; ++step) {
        const int chunk = step / 4, inside = 32 * (step % 4);
        Wgmma<Element, BlockN>::template sharedA<0>(s, qPiece + (((2 * piece + chunk) * QChunk + inside) >> 4),
                                                    kPiece + ((piece * KPiece + chunk * KChunk + inside) >> 4), piece + step > 0);
      }
      wgmmaCommit();
      if (piece > 0) {
        wgmmaWait<1>();
        release(kEmpty() + 8 * (piece - 1));
      }
    }
    kPhase ^= 1;
  }

  /** O(left) += P V(left), P from registers. */
  __device__ __forceinline__ void issueLeft(float (&o)[128], const u32 (&p)[BlockN / 4], u64 v, u32 phase) const {
#pragma unroll
    for (int piece = 0; piece < VPieces; ++piece) {
      mbarrierWait(vFull(0) + 8 * piece, phase);
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const int a = 4 * (2 * piece + step);
        Wgmma<Element, 256>::template registerA<1>(o, p[a], p[a + 1], p[a + 2], p[a + 3],
                                                   v + ((piece * VPiece + step * 2048) >> 4), 1);
      }
    }
    wgmmaCommit();
  }

  /** Zeroes V rows beyond the sequence in the block that is about to be used. */
  __device__ __forceinline__ void zeroTail(int side, u32 phase, int validRows) const {
    for (int piece = 0; piece < VPieces; ++piece) {
      mbarrierWait(vFull(side) + 8 * piece, phase);
      zeroRows(shared + VOffset + (side * VPieces + piece) * VPiece, 4, validRows - piece * VRows, VRows, threadIdx.x % 128, 128,
               8 + side);
    }
  }

  __device__ __forceinline__ void consumeLeft(const TensorMap& oMap) const {
    const int lane = threadIdx.x % 32;
    const int warp = (threadIdx.x / 32) % 4;
    const u64 qDescriptor = matrixDescriptor(shared, 16);
    const u64 kDescriptor = matrixDescriptor(shared + KOffset, 16);
    const u64 vDescriptor = matrixDescriptor(shared + VOffset, VChunk);
    u32 kPhase = 0, vPhase = 0, qPhase = 0;
    RingPosition<PSlots> slot;
    TileQueue<TileSlots> queue = tileQueue();
    Tile tile;
    // Hands P (or, with an empty P, the final factors) and the rows' factors to the right warpgroup.
    auto publish = [&](const u32 (&p)[BlockN / 4], bool withP, bool scale, const float (&factor)[2]) {
      mbarrierWait(pEmpty() + 8 * slot.stage(), slot.parity() ^ 1);
      const u32 factors = shared + FactorOffset + slot.stage() * FactorSlot;
      if (withP) {
        const int row = lane % 8 + 8 * ((lane / 8) % 2);
        const u32 strip = shared + POffset + slot.stage() * PSlot + warp * 2048 + row * 128;
#pragma unroll
        for (int i = 0; i < 4; ++i)
          storeMatrix4(strip + (((2 * i + lane / 16) ^ (row % 8)) << 4), p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]);
        fenceProxyAsync();
      }
      if (scale && lane % 4 == 0) {
        sharedStoreFloat(factors + 4 * (warp * 16 + lane / 4), factor[0]);
        sharedStoreFloat(factors + 4 * (warp * 16 + lane / 4 + 8), factor[1]);
      }
      if (lane == 0) sharedStoreFloat(factors + 256 + 4 * warp, scale ? 1.f : 0.f);
      mbarrierArrive(pFull() + 8 * slot.stage());
      slot.advance();
    };
    while (queue.receive(tile)) {
      const int queries = queryCount(params, tile);
      const int keys = keyCount(params, tile);
      const BlockRange range = keyBlocks<BlockM, BlockN, Options>(params, tile, queries, keys);
      const int firstRow = tile.qBlock * BlockM;
      const int threadRow = firstRow + warp * 16 + lane / 4;
      const BlockRange whole = wholeBlocks<BlockN, Options>(params, firstRow, queries, keys);
      const int column = 2 * (lane % 4);
      const int upperLimit = (params.causal ? min(keys, threadRow + 1 + keys - queries) : keys) - column;
      const int lowerLimit = (params.causal ? min(keys, threadRow + 9 + keys - queries) : keys) - column;
      float o[128];
#pragma unroll
      for (int i = 0; i < 128; ++i) o[i] = 0.f;
      RowState rows;
      u32 p[BlockN / 4];
      mbarrierWait(qFull(), qPhase);
      qPhase ^= 1;
      if (!range.empty()) {
        float s[BlockN / 2];
        float alpha[2];
        int j = range.last;
        if ((j + 1) * BlockN > keys) zeroTail(0, vPhase, keys - j * BlockN);
        issueScores(s, qDescriptor, kDescriptor, kPhase);
        wgmmaWait<0>();
        pinRegisters(s);
        release(kEmpty() + 8 * (KPieces - 1));
        maskBlock<Options>(s, params, j * BlockN, upperLimit, lowerLimit);
        softmaxStep(s, rows, params.scaleLog2, alpha);
        packRows<Element>(p, s);
        publish(p, true, false, alpha);
        --j;
        auto step = [&](auto masked) {
          issueScores(s, qDescriptor, kDescriptor, kPhase);
          issueLeft(o, p, vDescriptor, vPhase);
          vPhase ^= 1;
          wgmmaWait<1>();
          pinRegisters(s);
          release(kEmpty() + 8 * (KPieces - 1));
          if (masked.value) maskBlock<Options>(s, params, j * BlockN, upperLimit, lowerLimit);
          const bool rescale = softmaxStep(s, rows, params.scaleLog2, alpha);
          if (j > range.first && !knownNegative(rows)) mbarrierWait(kFull(), kPhase);  // the next block's first keys
          wgmmaWait<0>();
          pinRegisters(o);
          __syncwarp();
          if (lane < VPieces) mbarrierArrive(vEmpty(0) + 8 * lane);
          if (rescale) scaleRows(o, alpha);
          packRows<Element>(p, s);
          publish(p, true, rescale, alpha);
        };
        walkBlocks<Options>(params, j, range, whole, step);
        issueLeft(o, p, vDescriptor, vPhase);
        vPhase ^= 1;
        wgmmaWait<0>();
        pinRegisters(o);
        __syncwarp();
        if (lane < VPieces) mbarrierArrive(vEmpty(0) + 8 * lane);
      }
      float inverse[2];
      finishRows<Options>(params, rows, tile, threadRow, queries, inverse);
      scaleRows(o, inverse);
      publish(p, false, true, inverse);
      namedBarrierSync(8, 128);  // all four warps are done with the Q rows that O now overwrites
      writeStrip<Element, 256>(oMap, params, o, tile, queries, threadRow - lane / 4, 0, shared + warp * 2048);
      if (lane == 0) {
        bulkWaitRead();
        mbarrierArrive(qEmpty());
      }
    }
    if (lane == 0) bulkWait();
  }

  __device__ __forceinline__ void consumeRight(const TensorMap& oMap) const {
    const int lane = threadIdx.x % 32;
    const int warp = (threadIdx.x / 32) % 4;
    const u64 pDescriptor = matrixDescriptor(shared + POffset, 16);
    const u64 vDescriptor = matrixDescriptor(shared + VOffset + VPieces * VPiece, VChunk);
    u32 vPhase = 0;
    RingPosition<PSlots> slot;
    TileQueue<TileSlots> queue = tileQueue();
    Tile tile;
    float o[128];
    // Waits for the left warpgroup's next message and applies the factors that come with it.
    auto receiveFactors = [&] {
      mbarrierWait(pFull() + 8 * slot.stage(), slot.parity());
      const u32 factors = shared + FactorOffset + slot.stage() * FactorSlot;
      if (sharedLoadFloat(factors + 256 + 4 * warp) != 0.f) {
        const float factor[2] = {sharedLoadFloat(factors + 4 * (warp * 16 + lane / 4)),
                                 sharedLoadFloat(factors + 4 * (warp * 16 + lane / 4 + 8))};
        scaleRows(o, factor);
      }
    };
    while (queue.receive(tile)) {
      const int queries = queryCount(params, tile);
      const int keys = keyCount(params, tile);
      const BlockRange range = keyBlocks<BlockM, BlockN, Options>(params, tile, queries, keys);
#pragma unroll
      for (int i = 0; i < 128; ++i) o[i] = 0.f;
      if (!range.empty() && (range.last + 1) * BlockN > keys) zeroTail(1, vPhase, keys - range.last * BlockN);
      for (int j = range.last; j >= range.first; --j) {
        receiveFactors();
        const u64 p = pDescriptor + ((slot.stage() * PSlot) >> 4);
#pragma unroll
        for (int piece = 0; piece < VPieces; ++piece) {
          mbarrierWait(vFull(1) + 8 * piece, vPhase);
          wgmmaFence();
#pragma unroll
          for (int step = 0; step < 2; ++step)
            Wgmma<Element, 256>::template sharedA<1>(o, p + ((32 * (2 * piece + step)) >> 4),
                                                     vDescriptor + ((piece * VPiece + step * 2048) >> 4), 1);
        }
        wgmmaCommit();
        vPhase ^= 1;
        wgmmaWait<0>();
        pinRegisters(o);
        __syncwarp();
        if (lane < VPieces) mbarrierArrive(vEmpty(1) + 8 * lane);
        mbarrierArrive(pEmpty() + 8 * slot.stage());
        slot.advance();
      }
      receiveFactors();
      mbarrierArrive(pEmpty() + 8 * slot.stage());
      slot.advance();
      const int warpRow = tile.qBlock * BlockM + warp * 16;
      // The final factors came from all four left warps after their last use of Q: its memory is free for O.
      writeStrip<Element, 256>(oMap, params, o, tile, queries, warpRow, 256, shared + 4 * QChunk + warp * 2048);
      if (lane == 0) {
        bulkWaitRead();
        mbarrierArrive(qEmpty());
      }
    }
    if (lane == 0) bulkWait();
  }

  static __device__ __forceinline__ void run(const TensorMap& qMap, const TensorMap& kMap, const TensorMap& vMap,
                                             const TensorMap& oMap, const PrefillParams& params) {
    extern __shared__ __align__(1024) unsigned char sharedMemory[];
    const PrefillD512 self{sharedAddress(sharedMemory), params};
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
      registersDecrease<ProducerRegisters>();
      const int warp = threadIdx.x / 32;
      if (threadIdx.x == 0)
        self.tileQueue().template distribute<BlockM>(params, [&](const Tile& tile, u32 use) { self.loadQ(qMap, tile, use); });
      if (warp == 1)
        self.template stream<1, KPieces, 2, KPieces>(kMap, params.boxRows, 0, self.shared + KOffset, self.kFull(), self.kEmpty());
      if (warp >= 2)
        self.template stream<VPieces, 1, 4, VPieces>(vMap, params.boxRowsV, 4 * (warp - 2),
                                                     self.shared + VOffset + (warp - 2) * VPieces * VPiece,
                                                     self.vFull(warp - 2), self.vEmpty(warp - 2));
    } else {
      registersIncrease<ConsumerRegisters>();
      if (threadIdx.x < 256)
        self.consumeLeft(oMap);
      else
        self.consumeRight(oMap);
    }
  }
};

/** Declares the kernel `name` for an element type, the keys per step, and whether it knows windows, soft caps and sinks. */
#define SM90_PREFILL_D512_KERNEL(name, ...)                                                                             \
  extern "C" __global__ void __launch_bounds__(384, 1)                                                                  \
      name(const __grid_constant__ sm90::TensorMap q, const __grid_constant__ sm90::TensorMap k,                        \
           const __grid_constant__ sm90::TensorMap v, const __grid_constant__ sm90::TensorMap o,                        \
           const __grid_constant__ sm90::PrefillParams params) {                                                        \
    sm90::PrefillD512<__VA_ARGS__>::run(q, k, v, o, params);                                                            \
  }

}  // namespace sm90
