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

template <class Element>
struct MlaDecode {
  static constexpr int Rows = kMlaRows, Keys = 64, Chunks = 9, RopeChunk = 8, Stages = 2;
  static constexpr int ProducerRegisters = 56, ConsumerRegisters = 224;
  static constexpr int Chunk = 64 * 128, Strip = 16 * 128;
  static constexpr int Half = 4;  // chunks of one warpgroup's half of V

  // A stage is the two halves and the rope columns. In a half, every 8 keys lie together, chunk beside chunk, so that one TMA
  // box brings all four chunks of as many keys as a page holds, and the groups of 8 are equally far apart at any page size.
  static constexpr int Group = 8 * 128, HalfGroup = Half * Group, HalfBytes = Half * Chunk, Stage = Chunks * Chunk;
  static constexpr int RopePart = 2;  // the third part of a stage

  static constexpr int KvOffset = Chunks * Chunk;
  static constexpr int MaxOffset = KvOffset + Stages * Stage;  // running maxima after each stage's block
  static constexpr int RaisedOffset = MaxOffset + Stages * Rows * 4;  // per stage, whether each of four warps raised a maximum
  static constexpr int SumOffset = RaisedOffset + Stages * 16;  // per segment parity and side
  static constexpr int BarrierOffset = SumOffset + 2 * 2 * Rows * 4;
  static constexpr int BarrierCount = 3 + Stages * (3 + 2 + 1);
  static constexpr int SharedBytes = BarrierOffset + BarrierCount * 8;
  static_assert(SharedBytes <= 232448, "more shared memory than a Hopper block may have");

  u32 shared;
  const MlaParams& params;

  __device__ __forceinline__ u32 barrier(int index) const { return shared + BarrierOffset + 8 * index; }
  __device__ __forceinline__ u32 qFull() const { return barrier(0); }
  __device__ __forceinline__ u32 qEmpty() const { return barrier(1); }
  __device__ __forceinline__ u32 meetingBarrier() const { return barrier(2); }
  /** `part`: a half or RopePart. */
  __device__ __forceinline__ u32 kvFull(int stage, int part) const { return barrier(3 + stage * 3 + part); }
  /** The half of a stage that warpgroup `side` reads last. */
  __device__ __forceinline__ u32 kvEmpty(int stage, int side) const { return barrier(3 + Stages * 3 + 2 * stage + side); }
  /** P of a stage's block lies over the block's rope columns, which nobody needs once its scores are done. */
  __device__ __forceinline__ u32 pFull(int stage) const { return barrier(3 + Stages * (3 + 2) + stage); }
  __device__ __forceinline__ u32 stageAddress(int stage) const { return shared + KvOffset + stage * Stage; }
  __device__ __forceinline__ u32 pAddress(int stage) const { return stageAddress(stage) + RopePart * HalfBytes; }

  __device__ __forceinline__ void initBarriers() const {
    mbarrierInit(qFull(), 1);
    mbarrierInit(qEmpty(), 8);
    mbarrierInit(meetingBarrier(), kMlaConsumers);
    for (int stage = 0; stage < Stages; ++stage) {
      for (int part = 0; part < 3; ++part) mbarrierInit(kvFull(stage, part), 1);
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

  /** Strips of 16 rows, one warp's share, of which at least one row exists. */
  static __device__ __forceinline__ int strips(const MlaSegment& segment) { return (segment.rows + 15) / 16; }

  /** One producer warp: Q of every segment, as many strips as exist; lane c brings column chunk c. */
  __device__ __forceinline__ void loadQ(const TensorMap& map) const {
    const int chunk = threadIdx.x % 32;
    u32 phase = 0;
    forSegments([&](const MlaSegment& segment) {
      mbarrierWait(qEmpty(), phase ^ 1);
      phase ^= 1;
      if (chunk == 0) mbarrierArriveExpect(qFull(), strips(segment) * Chunks * Strip);
      __syncwarp();
      if (chunk < Chunks)
        for (int i = 0; i < strips(segment); ++i)
          tmaLoad3d(shared + chunk * Chunk + i * Strip, &map, qFull(), 64 * chunk, segment.qRow + 16 * i, 0);
    });
  }

  /**
   * Zeroes the strips of Q that the first segment does not load. Nobody reads what they give, but with fewer than 64 rows the
   * multiplies would spend much of the power budget, and so of the clock, on leftovers.
   */
  __device__ __forceinline__ void zeroMissingQ() const {
    const int first = strips(params.segments[params.segmentStart[blockIdx.x]]) * 16;
    for (int c = 0; c < Chunks; ++c)
      for (int i = first * 8 + threadIdx.x; i < Rows * 8; i += blockDim.x)
        sharedStore16(shared + c * Chunk + i * 16, make_uint4(0, 0, 0, 0));
    fenceProxyAsync();
  }

  /**
   * One producer warp: the key blocks of every segment, last one first, of each block first the half that is freed first.
   * Lanes 0 … 7 bring the boxes of a half, lanes 8 … 15 those of the rope columns; a lane looks its box's page up itself.
   */
  __device__ __forceinline__ void streamKv(const TensorMap& halfMap, const TensorMap& ropeMap) const {
    const int lane = threadIdx.x % 32, boxRow = lane % 8 * params.boxRows;
    const bool loads = lane < 16 && boxRow < Keys, rope = lane >= 8;
    u32 phases = 0;  // bit per stage
    forSegments([&](const MlaSegment& segment) {
      const int* pages =
          params.pageTable ? params.pageTable + static_cast<long long>(segment.sequence) * params.pageTableStride : nullptr;
      const KvSource source(pages, params.pageShift, params.pageCount, segment.keyEnd, segment.kvRow);
      const int blocks = keyBlocks(segment);
      const auto pageOfBlock = [&](int block) { return loads ? source.pageOf(segment.keyBegin + block * Keys + boxRow) : 0; };
      int page = pageOfBlock(blocks - 1);
      for (int block = blocks - 1; block >= 0; --block) {
        const int stage = (blocks - 1 - block) % Stages;
        const int nextPage = pageOfBlock(block - 1);  // a look-up's latency would otherwise delay every load
        const int row = source.rowOf(segment.keyBegin + block * Keys + boxRow);
        // A page's rows are groups of 8; contiguous rows start anywhere.
        const int rowInGroup = pages ? 0 : row, group = pages ? row / 8 : 0;
        const u32 parity = (phases >> stage & 1) ^ 1;
        phases ^= 1u << stage;
#pragma unroll 1  // registers are few here
        for (int i = 0; i < 2; ++i) {
          const int half = stage ^ i;
          mbarrierWait(kvEmpty(stage, half), parity);
          if (lane == 0) mbarrierArriveExpect(kvFull(stage, half), HalfBytes);
          if (lane == 8 && i == 1) mbarrierArriveExpect(kvFull(stage, RopePart), Chunk);
          __syncwarp();
          if (loads && !rope)
            tmaLoad5dOnce(stageAddress(stage) + half * HalfBytes + boxRow / 8 * HalfGroup, &halfMap, kvFull(stage, half), 0,
                          rowInGroup, half * Half, group, page);
          if (loads && rope && i == 1)
            tmaLoad5dOnce(stageAddress(stage) + RopePart * HalfBytes + boxRow / 8 * Group, &ropeMap, kvFull(stage, RopePart), 0,
                          rowInGroup, RopeChunk, group, page);
        }
        page = nextPage;
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
    Meeting& meeting;  // of both warpgroups
    int lane, warp, row;  // row: this thread's upper row of the tile
    u64 qDescriptor, kDescriptor, ropeDescriptor, ownValues, otherValues, otherP;
    u32 phases = 0;  // bit per stage
    float o[128];
    RowState rows;

    __device__ __forceinline__ Consumer(const MlaDecode& owner, Meeting& both)
        : block(owner),
          meeting(both),
          lane(threadIdx.x % 32),
          warp(threadIdx.x / 32 % 4),
          row(warp * 16 + lane / 4),
          qDescriptor(matrixDescriptor(owner.shared, 16)),
          kDescriptor(matrixDescriptor(owner.stageAddress(Side), 16, HalfGroup)),
          ropeDescriptor(matrixDescriptor(owner.pAddress(Side), 16)),
          ownValues(matrixDescriptor(owner.stageAddress(Side) + Side * HalfBytes, Group, HalfGroup)),
          otherValues(matrixDescriptor(owner.stageAddress(1 - Side) + Side * HalfBytes, Group, HalfGroup)),
          otherP(matrixDescriptor(owner.pAddress(1 - Side), 16)) {}

    __device__ __forceinline__ u32 parity(int stage) const { return phases >> stage & 1; }
    __device__ __forceinline__ u32 maxima(int stage) const { return block.shared + MaxOffset + (stage * Rows + row) * 4; }
    __device__ __forceinline__ u32 raised(int stage) const { return block.shared + RaisedOffset + stage * 16; }

    /** S = Q K^T of the block in the own stage, part by part as it arrives. */
    __device__ __forceinline__ void issueScores(float (&s)[Keys / 2]) const {
#pragma unroll
      for (int i = 0; i < 3; ++i) {
        const int part = i == RopePart ? i : i ^ Side;
        const u64 q = opaque(qDescriptor), k = opaque(part == RopePart ? ropeDescriptor : kDescriptor);
        mbarrierWait(block.kvFull(Side, part), parity(Side));
        wgmmaFence();
#pragma unroll
        for (int step = 0; step < (part == RopePart ? 4 : 4 * Half); ++step) {
          const int chunk = step / 4, inside = 32 * (step % 4), kPart = part == RopePart ? 0 : part * HalfBytes;
          Wgmma<Element, Keys>::template sharedA<0>(s, q + (((part * Half + chunk) * Chunk + inside) >> 4),
                                                    k + ((kPart + chunk * Group + inside) >> 4), i + step > 0);
        }
      }
      wgmmaCommit();
    }

    /** O += P V of the own stage, P from registers. */
    __device__ __forceinline__ void issueOwn(const u32 (&p)[Keys / 4]) {
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        Wgmma<Element, 256>::template registerA<1>(o, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3],
                                                   ownValues + ((step * 2 * HalfGroup) >> 4), 1);
      wgmmaCommit();
    }

    /** O += P V of the other stage, P from shared memory. */
    __device__ __forceinline__ void issueOther() {
      mbarrierWait(block.kvFull(1 - Side, Side), parity(1 - Side));
      wgmmaFence();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        Wgmma<Element, 256>::template sharedA<1>(o, otherP + ((32 * step) >> 4), otherValues + ((step * 2 * HalfGroup) >> 4), 1);
      wgmmaCommit();
    }

    /** Waits for the last multiply with `stage` and gives this side's half of it back. */
    __device__ __forceinline__ void finish(int stage) {
      wgmmaWait<0>();
      pinRegisters(o);
      release(block.kvEmpty(stage, Side));
      phases ^= 1u << stage;
    }

    /** Leaves P and the running maxima of the own stage's block, and whether this warp `raisedAny`, for the other warpgroup. */
    __device__ __forceinline__ void publish(const u32 (&p)[Keys / 4], bool raisedAny) const {
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
      if (lane == 0) sharedStore4(raised(Side) + 4 * warp, raisedAny);
      mbarrierArrive(block.pFull(Side));
    }

    /**
     * Waits for P of the other stage's block and goes over to its running maxima. All four warps do so when one of them must: a
     * warpgroup waits for its multiplies together. (9.7.15.7.3)
     */
    __device__ __forceinline__ void adopt() {
      mbarrierWait(block.pFull(1 - Side), parity(1 - Side));
      const uint4 any = sharedLoad16(raised(1 - Side));
      if (any.x | any.y | any.z | any.w) {
        wgmmaWait<0>();  // scores under way: rare, and the compiler would put a wait here
        pinRegisters(o);
        float factor[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float next = sharedLoadFloat(maxima(1 - Side) + 32 * r);
          factor[r] = exp2Approx(rows.max[r] - next);
          rows.sum[r] *= factor[r];
          if (next != rows.max[r]) rows.raise(r, next, block.params.scaleLog2);
        }
        scaleRows(o, factor);
      }
    }

    /** Zeroes this side's columns of keys beyond the sequence in stage 0: there may be NaN, and 0 * NaN is NaN. */
    __device__ __forceinline__ void zeroTail(int validKeys) const {
      mbarrierWait(block.kvFull(0, Side), parity(0));
      const u32 half = block.stageAddress(0) + Side * HalfBytes, vector = threadIdx.x % 32;  // of a key's 4 x 8 vectors
      for (int key = validKeys + warp; key < Keys; key += 4)
        sharedStore16(half + key / 8 * HalfGroup + vector / 8 * Group + key % 8 * 128 + vector % 8 * 16, make_uint4(0, 0, 0, 0));
      fenceProxyAsync();
      namedBarrierSync(8 + Side, 128);
    }

    /** All key blocks of a segment; `rows` and `o` are its result, not normalised, with equal maxima on both sides. */
    __device__ __forceinline__ void multiply(const MlaSegment& segment) {
      const MlaParams& params = block.params;
      const int blocks = keyBlocks(segment);
      const auto limit = [&](int r) {
        return params.causal ? min(segment.keyEnd, segment.firstLimit + (segment.firstRow + r) / params.heads) : segment.keyEnd;
      };
      const int column = segment.keyBegin + 2 * (lane % 4);
      const bool live = warp * 16 < segment.rows;  // a warp without rows sees no key: its P is zero, as are its rows of Q
      const int upperLimit = live ? limit(row) - column : 0, lowerLimit = live ? limit(row + 8) - column : 0;
      const int fullEnd = live ? limit(0) - segment.keyBegin : 0;
      const int tail = (segment.keyEnd - segment.keyBegin) % Keys;
#pragma unroll
      for (int i = 0; i < 128; ++i) o[i] = 0.f;
      rows = RowState{};
      if (!live) rows.limit[0] = rows.limit[1] = kNeverOutgrown;
      float s[Keys / 2];
      float alpha[2];
      u32 p[Keys / 4];
      const auto softmax = [&](int j) {
        namedBarrierSync(8 + Side, 128);  // all four warps have their scores: P may overwrite the rope columns
        if ((j + 1) * Keys > fullEnd) maskColumns(s, upperLimit - j * Keys, lowerLimit - j * Keys);
        const bool rescale = softmaxStep(s, rows, params.scaleLog2, alpha);
        packRows<Element>(p, s);
        publish(p, rescale);
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
      announcePart(params, segment, threadIdx.x - 128, meeting);
    }

    __device__ __forceinline__ void run() {
      u32 segments = 0;
      block.forSegments([&](const MlaSegment& segment) {
        mbarrierWait(block.qFull(), segments & 1);
        multiply(segment);
        const u32 sums = block.shared + SumOffset + (segments++ & 1) * 2 * Rows * 4;
        float sum[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float own = quadSum(rows.sum[r]);
          if (lane % 4 == 0) sharedStoreFloat(sums + (Side * Rows + row + 8 * r) * 4, own);
        }
        meeting();
#pragma unroll
        for (int r = 0; r < 2; ++r)
          sum[r] = sharedLoadFloat(sums + (row + 8 * r) * 4) + sharedLoadFloat(sums + (Rows + row + 8 * r) * 4);
        if (segment.part < 0)
          storeOutput(segment, sum);
        else
          storePart(segment, sum);
      });
    }
  };

  static __device__ __forceinline__ void run(const TensorMap& qMap, const TensorMap& halfMap, const TensorMap& ropeMap,
                                             const MlaParams& params) {
    extern __shared__ __align__(1024) unsigned char sharedMemory[];
    const MlaDecode self{sharedAddress(sharedMemory), params};
    if (self.shared % 1024) __trap();
    if (threadIdx.x == 0) {
      prefetchTensorMap(&qMap);
      prefetchTensorMap(&halfMap);
      prefetchTensorMap(&ropeMap);
      self.initBarriers();
    }
    self.zeroMissingQ();
    __syncthreads();
    if (threadIdx.x < 128) {
      registersDecrease<ProducerRegisters>();
      const int warp = threadIdx.x / 32;
      if (warp == 0) self.streamKv(halfMap, ropeMap);
      if (warp == 1) self.loadQ(qMap);
    } else {
      registersIncrease<ConsumerRegisters>();
      Meeting meeting{self.meetingBarrier()};
      if (threadIdx.x < 256) {
        Consumer<0> left(self, meeting);
        left.run();
      } else {
        Consumer<1> right(self, meeting);
        right.run();
      }
      self.forSegments([&](const MlaSegment& segment) {
        if (segment.part >= 0) combineParts<Element>(params, segment, self.shared + KvOffset, threadIdx.x - 128, meeting);
      });
    }
  }
};

/** Declares the kernel `name` with its table row's shared bytes, for an element type. */
#define SM90_MLA_KERNEL(name, sharedBytes, element)                                                  \
  static_assert(sm90::MlaDecode<element>::SharedBytes == sharedBytes, "table row " #name);           \
  extern "C" __global__ void __launch_bounds__(384, 1)                                               \
      name(const __grid_constant__ sm90::TensorMap q, const __grid_constant__ sm90::TensorMap kvHalf, \
           const __grid_constant__ sm90::TensorMap kvRope, const __grid_constant__ sm90::MlaParams params) { \
    sm90::MlaDecode<element>::run(q, kvHalf, kvRope, params);                                        \
  }

}  // namespace sm90
