/**
 * Decode of multi-head latent attention: one KV head of 576 columns, whose first 512 are also V. A block keeps 64 query rows
 * and two blocks of 64 keys in shared memory, each key block being K and V at once. Two warpgroups share O by columns and
 * take turns with the scores: the left one those of even key blocks, the right one those of odd ones. README.md draws it.
 */
#pragma once
#include "epilogue.cuh"
#include "kv_stream.cuh"
#include "mla_combine.cuh"
#include "wgmma.gen.cuh"

namespace sm90 {

/** `Ahead`: key blocks that are asked into the L2 cache before their turn to be loaded. */
template <class Element, int Ahead>
struct MlaDecode {
  static constexpr int Rows = kMlaRows, Keys = 64, Chunks = 9, RopeChunk = 8, Stages = 2;
  static constexpr int ProducerRegisters = 40, ConsumerRegisters = 232;
  static constexpr int Chunk = 64 * 128, Stage = Chunks * Chunk;
  static constexpr int RowBytes = Chunks * 128;
  static constexpr int Half = 4;  // chunks of one warpgroup's half of V

  static constexpr int KvOffset = Chunks * Chunk;
  static constexpr int MaxOffset = KvOffset + Stages * Stage;  // running maxima after each stage's block
  static constexpr int SumOffset = MaxOffset + Stages * Rows * 4;  // per segment parity and side
  static constexpr int BarrierOffset = SumOffset + 2 * 2 * Rows * 4;
  static constexpr int BarrierCount = 2 + Stages * (Chunks + 2 + 1);
  static constexpr int SharedBytes = BarrierOffset + BarrierCount * 8;
  static_assert(SharedBytes <= 232448, "more shared memory than a Hopper block may have");

  u32 shared;
  const MlaParams& params;

  __device__ __forceinline__ u32 barrier(int index) const { return shared + BarrierOffset + 8 * index; }
  __device__ __forceinline__ u32 qFull() const { return barrier(0); }
  __device__ __forceinline__ u32 qEmpty() const { return barrier(1); }
  __device__ __forceinline__ u32 kvFull(int stage, int chunk) const { return barrier(2 + stage * Chunks + chunk); }
  /** The half of a stage that warpgroup `side` reads last. */
  __device__ __forceinline__ u32 kvEmpty(int stage, int side) const { return barrier(2 + Stages * Chunks + 2 * stage + side); }
  /** P of a stage's block lies over the block's rope columns, which nobody needs once its scores are done. */
  __device__ __forceinline__ u32 pFull(int stage) const { return barrier(2 + Stages * (Chunks + 2) + stage); }
  __device__ __forceinline__ u32 stageAddress(int stage) const { return shared + KvOffset + stage * Stage; }
  __device__ __forceinline__ u32 pAddress(int stage) const { return stageAddress(stage) + RopeChunk * Chunk; }

  __device__ __forceinline__ void initBarriers() const {
    mbarrierInit(qFull(), 1);
    mbarrierInit(qEmpty(), 8);
    for (int stage = 0; stage < Stages; ++stage) {
      for (int c = 0; c < Chunks; ++c) mbarrierInit(kvFull(stage, c), 1);
      for (int side = 0; side < 2; ++side) mbarrierInit(kvEmpty(stage, side), 4);
      mbarrierInit(pFull(stage), 128);
    }
    fenceMbarrierInit();
  }

  /** Calls `body(segment)` for each of this block's segments. */
  template <class Body>
  __device__ __forceinline__ void forSegments(Body body) const {
    const int end = params.segmentStart[blockIdx.x + 1];
    for (int i = params.segmentStart[blockIdx.x]; i < end; ++i) body(params.segments[i]);
  }

  static __device__ __forceinline__ int keyBlocks(const MlaSegment& segment) {
    return (segment.keyEnd - segment.keyBegin + Keys - 1) / Keys;
  }

  /** Column chunk that the scores of a stage read in place `i`: first the half that is freed, and so loaded, first. */
  static __device__ __forceinline__ int chunkInOrder(int stage, int i) {
    return i == RopeChunk || stage == 0 ? i : i ^ Half;
  }

  __device__ __forceinline__ void loadQ(const TensorMap& map) const {
    u32 phase = 0;
    forSegments([&](const MlaSegment& segment) {
      mbarrierWait(qEmpty(), phase ^ 1);
      phase ^= 1;
      mbarrierArriveExpect(qFull(), Chunks * Chunk);
      for (int c = 0; c < Chunks; ++c) tmaLoad3d(shared + c * Chunk, &map, qFull(), 64 * c, segment.qRow, 0);
    });
  }

  /** One producer warp: the key blocks of every segment, last one first. Lane i brings box i of every column chunk. */
  __device__ __forceinline__ void streamKv(const TensorMap& map) const {
    const int boxRows = params.boxRows;
    const int laneRow = threadIdx.x % 32 * boxRows;
    const bool active = laneRow < Keys;
    u32 phases = 0;  // bit per stage
    forSegments([&](const MlaSegment& segment) {
      const int* pages =
          params.pageTable ? params.pageTable + static_cast<long long>(segment.sequence) * params.pageTableStride : nullptr;
      const KvSource source(pages, params.pageShift, params.pageCount, segment.keyEnd, segment.kvRow);
      const int blocks = keyBlocks(segment);
      int key = segment.keyBegin + (blocks - 1) * Keys + laneRow;
      int page = active ? source.pageOf(key) : 0;
      int aheadPage = active ? source.pageOf(key - Ahead * Keys) : 0;
      for (int block = blocks - 1; block >= 0; --block) {
        const int stage = (blocks - 1 - block) % Stages;
        const int nextPage = active ? source.pageOf(key - Keys) : 0;
        const int nextAheadPage = active ? source.pageOf(key - (Ahead + 1) * Keys) : 0;
        const u32 base = stageAddress(stage) + laneRow * 128;
        const u32 parity = (phases >> stage & 1) ^ 1;
        phases ^= 1u << stage;
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          mbarrierWait(kvEmpty(stage, stage ^ part), parity);
#pragma unroll
          for (int i = Half * part; i < (part ? Chunks : Half); ++i) {
            const int chunk = chunkInOrder(stage, i);
            if (laneRow == 0) mbarrierArriveExpect(kvFull(stage, chunk), Chunk);
            __syncwarp();
            if (active)
              tmaLoad4d(base + chunk * Chunk, &map, kvFull(stage, chunk), 64 * chunk, source.rowOf(key), 0, page);
          }
        }
        if (Ahead > 0 && active && block >= Ahead) {
          const int aheadKey = key - Ahead * Keys;
          prefetchL2(params.kv + aheadPage * params.kvPageBytes + static_cast<long long>(source.rowOf(aheadKey)) * RowBytes,
                     boxRows * RowBytes);
        }
        key -= Keys;
        page = nextPage;
        aheadPage = nextAheadPage;
      }
    });
  }

  static __device__ __forceinline__ void release(u32 barrier) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrierArrive(barrier);
  }

  /** One of the two consumer warpgroups: columns 256 * Side … of O, scores of the key blocks in stage Side. */
  template <int Side>
  struct Consumer {
    const MlaDecode& block;
    int lane, warp, row;  // row: this thread's upper row of the tile
    u64 qDescriptor, kvDescriptor, ownValues, otherValues, otherP;
    u32 phases = 0;  // bit per stage
    float o[128];
    RowState rows;

    __device__ __forceinline__ Consumer(const MlaDecode& owner)
        : block(owner),
          lane(threadIdx.x % 32),
          warp(threadIdx.x / 32 % 4),
          row(warp * 16 + lane / 4),
          qDescriptor(matrixDescriptor(owner.shared, 16)),
          kvDescriptor(matrixDescriptor(owner.stageAddress(Side), 16)),
          ownValues(matrixDescriptor(owner.stageAddress(Side) + Side * Half * Chunk, Chunk)),
          otherValues(matrixDescriptor(owner.stageAddress(1 - Side) + Side * Half * Chunk, Chunk)),
          otherP(matrixDescriptor(owner.pAddress(1 - Side), 16)) {}

    __device__ __forceinline__ u32 parity(int stage) const { return phases >> stage & 1; }
    __device__ __forceinline__ u32 maxima(int stage) const { return block.shared + MaxOffset + (stage * Rows + row) * 4; }

    /** S = Q K^T of the block in the own stage, chunk by chunk as it arrives. */
    __device__ __forceinline__ void issueScores(float (&s)[Keys / 2]) const {
#pragma unroll
      for (int i = 0; i < Chunks; ++i) {
        const int chunk = chunkInOrder(Side, i);
        const u64 q = opaque(qDescriptor), k = opaque(kvDescriptor);
        mbarrierWait(block.kvFull(Side, chunk), parity(Side));
        wgmmaFence();
#pragma unroll
        for (int step = 0; step < 4; ++step)
          Wgmma<Element, Keys>::template sharedA<0>(s, q + ((chunk * Chunk + 32 * step) >> 4),
                                                    k + ((chunk * Chunk + 32 * step) >> 4), i + step > 0);
      }
      wgmmaCommit();
    }

    /** O += P V of the own stage, P from registers. */
    __device__ __forceinline__ void issueOwn(const u32 (&p)[Keys / 4]) {
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        Wgmma<Element, 256>::template registerA<1>(o, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3],
                                                   ownValues + ((step * 2048) >> 4), 1);
      wgmmaCommit();
    }

    /** O += P V of the other stage, P from shared memory. */
    __device__ __forceinline__ void issueOther() {
#pragma unroll
      for (int c = 0; c < Half; ++c) mbarrierWait(block.kvFull(1 - Side, Side * Half + c), parity(1 - Side));
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        Wgmma<Element, 256>::template sharedA<1>(o, otherP + ((32 * step) >> 4), otherValues + ((step * 2048) >> 4), 1);
      wgmmaCommit();
    }

    /** Waits for the last multiply with `stage` and gives this side's half of it back. */
    __device__ __forceinline__ void finish(int stage) {
      wgmmaWait<0>();
      pinRegisters(o);
      release(block.kvEmpty(stage, Side));
      phases ^= 1u << stage;
    }

    /** Leaves P and the running maxima of the own stage's block for the other warpgroup. */
    __device__ __forceinline__ void publish(const u32 (&p)[Keys / 4]) const {
      namedBarrierSync(8 + Side, 128);  // all four warps have their scores: P may overwrite the rope columns
      const int strip = lane % 8 + 8 * ((lane / 8) % 2);
      const u32 target = block.pAddress(Side) + warp * 2048 + strip * 128;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        storeMatrix4(target + (((2 * i + lane / 16) ^ (strip % 8)) << 4), p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]);
      fenceProxyAsync();
      if (lane % 4 == 0) {
        sharedStoreFloat(maxima(Side), rows.max[0]);
        sharedStoreFloat(maxima(Side) + 32, rows.max[1]);
      }
      mbarrierArrive(block.pFull(Side));
    }

    /** Waits for P of the other stage's block and goes over to its running maxima. */
    __device__ __forceinline__ void adopt() {
      mbarrierWait(block.pFull(1 - Side), parity(1 - Side));
      const float next[2] = {sharedLoadFloat(maxima(1 - Side)), sharedLoadFloat(maxima(1 - Side) + 32)};
      if (__any_sync(0xffffffffu, next[0] != rows.max[0] || next[1] != rows.max[1])) {
        wgmmaWait<0>();  // scores under way: rare, and the compiler would put a wait here
        pinRegisters(o);
        float factor[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          factor[r] = next[r] == rows.max[r] ? 1.f : exp2Approx(rows.max[r] - next[r]);
          rows.sum[r] *= factor[r];
          rows.max[r] = next[r];
        }
        scaleRows(o, factor);
      }
    }

    /** Zeroes this side's columns of keys beyond the sequence in stage 0: there may be NaN, and 0 * NaN is NaN. */
    __device__ __forceinline__ void zeroTail(int validKeys) const {
      for (int c = 0; c < Half; ++c) mbarrierWait(block.kvFull(0, Side * Half + c), parity(0));
      zeroRows(block.stageAddress(0) + Side * Half * Chunk, Half, validKeys, Keys, threadIdx.x % 128, 128, 8 + Side);
    }

    /** All key blocks of a segment; `rows` and `o` are its result, not normalised, with equal maxima on both sides. */
    __device__ __forceinline__ void multiply(const MlaSegment& segment) {
      const MlaParams& params = block.params;
      const int blocks = keyBlocks(segment);
      const auto limit = [&](int r) {
        return params.causal ? min(segment.keyEnd, segment.firstLimit + (segment.firstRow + r) / params.heads) : segment.keyEnd;
      };
      const int column = segment.keyBegin + 2 * (lane % 4);
      const int upperLimit = limit(row) - column, lowerLimit = limit(row + 8) - column;
      const int fullEnd = limit(0) - segment.keyBegin;
      const int tail = (segment.keyEnd - segment.keyBegin) % Keys;
#pragma unroll
      for (int i = 0; i < 128; ++i) o[i] = 0.f;
      rows = RowState{};
      float s[Keys / 2];
      float alpha[2];
      u32 p[Keys / 4];
      const auto softmax = [&](int j) {
        if ((j + 1) * Keys > fullEnd) maskColumns(s, upperLimit - j * Keys, lowerLimit - j * Keys);
        const bool rescale = softmaxStep(s, rows, params.scaleLog2, alpha);
        packRows<Element>(p, s);
        publish(p);
        return rescale;
      };
      if (tail) zeroTail(tail);
      if (Side == 0) {
        const auto even = [&](int j) {
          issueScores(s);
          wgmmaWait<0>();
          pinRegisters(s);
          if (softmax(j)) scaleRows(o, alpha);
          issueOwn(p);
          finish(0);
        };
        int j = blocks - 1;
        for (; j > 0; j -= 2) {
          even(j);
          adopt();
          issueOther();
          finish(1);
        }
        if (j == 0) even(0);
      } else {
        int j = blocks - 2;
        for (; j >= 0; j -= 2) {
          issueScores(s);
          adopt();
          issueOther();
          wgmmaWait<1>();
          pinRegisters(s);
          const bool rescale = softmax(j);
          finish(0);
          if (rescale) scaleRows(o, alpha);
          issueOwn(p);
          finish(1);
        }
        if (j == -1) {
          adopt();
          issueOther();
          finish(0);
        }
      }
    }

    __device__ __forceinline__ void storeOutput(const MlaSegment& segment, const float (&sum)[2]) {
      const MlaParams& params = block.params;
      const float inverse[2] = {sum[0] > 0.f ? 1.f / sum[0] : 0.f, sum[1] > 0.f ? 1.f / sum[1] : 0.f};
      scaleRows(o, inverse);
      if (Side == 0 && params.lse && lane % 4 == 0) {
#pragma unroll
        for (int r = 0; r < 2; ++r)
          if (row + 8 * r < segment.rows) params.lse[segment.qRow + row + 8 * r] = logSumExp(rows.max[r], sum[r]);
      }
      // Over Q, whose last reads both warpgroups have behind them.
      const u32 staging = block.shared + Side * Half * Chunk + warp * 2048;
      stageStrip<Element, 256>(o, staging);
      __syncwarp();
      char* out = static_cast<char*>(params.out) + (static_cast<long long>(segment.qRow + warp * 16) * kMlaColumns + 256 * Side) * 2;
      for (int r = 0; r < min(16, segment.rows - warp * 16); ++r)
        *reinterpret_cast<uint4*>(out + r * kMlaColumns * 2 + 16 * lane) = stagedVector(staging, r, lane);
      fenceProxyAsync();  // TMA writes the next Q here
      release(block.qEmpty());
    }

    __device__ __forceinline__ void storePart(const MlaSegment& segment, const float (&sum)[2]) {
      release(block.qEmpty());
      const MlaParams& params = block.params;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (row + 8 * r >= segment.rows) continue;
        const long long partRow = static_cast<long long>(segment.part) * Rows + row + 8 * r;
        float* target = params.partialO + partRow * kMlaColumns + 256 * Side + 2 * (lane % 4);
#pragma unroll
        for (int i = 0; i < 32; ++i)
          *reinterpret_cast<float2*>(target + 8 * i) = make_float2(o[4 * i + 2 * r], o[4 * i + 2 * r + 1]);
        if (Side == 0 && lane % 4 == 0)
          *reinterpret_cast<float2*>(params.partialStats + 2 * partRow) = make_float2(rows.max[r], sum[r]);
      }
      announcePart(params, segment, threadIdx.x - 128);
    }

    __device__ __forceinline__ void run() {
      u32 segments = 0;
      block.forSegments([&](const MlaSegment& segment) {
        mbarrierWait(block.qFull(), segments & 1);
        multiply(segment);
        const u32 sums = block.shared + SumOffset + (segments & 1) * 2 * Rows * 4;
        ++segments;
        float sum[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float own = quadSum(rows.sum[r]);
          if (lane % 4 == 0) sharedStoreFloat(sums + (Side * Rows + row + 8 * r) * 4, own);
        }
        namedBarrierSync(7, kMlaConsumers);
#pragma unroll
        for (int r = 0; r < 2; ++r)
          sum[r] = sharedLoadFloat(sums + (row + 8 * r) * 4) + sharedLoadFloat(sums + (Rows + row + 8 * r) * 4);
        if (segment.part < 0)
          storeOutput(segment, sum);
        else
          storePart(segment, sum);
      });
      block.forSegments([&](const MlaSegment& segment) {
        if (segment.part >= 0) combineParts<Element>(block.params, segment, block.shared + KvOffset, threadIdx.x - 128);
      });
    }
  };

  static __device__ __forceinline__ void run(const TensorMap& qMap, const TensorMap& kvMap, const MlaParams& params) {
    extern __shared__ __align__(1024) unsigned char sharedMemory[];
    const MlaDecode self{sharedAddress(sharedMemory), params};
    if (self.shared % 1024) __trap();
    if (threadIdx.x == 0) {
      prefetchTensorMap(&qMap);
      prefetchTensorMap(&kvMap);
      self.initBarriers();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
      registersDecrease<ProducerRegisters>();
      const int warp = threadIdx.x / 32;
      if (warp == 0) self.streamKv(kvMap);
      if (threadIdx.x == 32) self.loadQ(qMap);
    } else {
      registersIncrease<ConsumerRegisters>();
      if (threadIdx.x < 256) {
        Consumer<0> left(self);
        left.run();
      } else {
        Consumer<1> right(self);
        right.run();
      }
    }
  }
};

/** Declares the kernel `name` with its table row's shared bytes, for an element type and a prefetch distance. */
#define SM90_MLA_KERNEL(name, sharedBytes, ...)                                                      \
  static_assert(sm90::MlaDecode<__VA_ARGS__>::SharedBytes == sharedBytes, "table row " #name);       \
  extern "C" __global__ void __launch_bounds__(384, 1)                                               \
      name(const __grid_constant__ sm90::TensorMap q, const __grid_constant__ sm90::TensorMap kv,    \
           const __grid_constant__ sm90::MlaParams params) {                                         \
    sm90::MlaDecode<__VA_ARGS__>::run(q, kv, params);                                                \
  }

}  // namespace sm90
