/**
 * Split-KV decode by TMA: one block per SM, which works through a list of segments. A few warps stream K and V of all of them
 * through one deep ring; the others multiply with mma.sync. Decode is bound by reading K and V once, so everything here serves
 * one aim: never let the ring run dry, not at the end of a segment either.
 */
#pragma once
#include "../common/decode_rows.cuh"
#include "decode_params.h"
#include "ptx.cuh"

namespace sm90 {

/** A type chosen at compile time. */
template <bool First, class A, class B>
struct Choice {
  using type = A;
};
template <class A, class B>
struct Choice<false, A, B> {
  using type = B;
};

/** Two e4m3 numbers, the low 16 bits of `pair`, as two fp16 numbers; exact. (9.7.9.22 cvt) */
__device__ __forceinline__ u32 halvesOf(u32 pair) {
  u32 halves;
  asm("{\n\t.reg .b16 low, high;\n\tmov.b32 {low, high}, %1;\n\tcvt.rn.f16x2.e4m3x2 %0, low;\n\t}" : "=r"(halves) : "r"(pair));
  return halves;
}
/** The same for the high 16 bits. */
__device__ __forceinline__ u32 halvesOfHigh(u32 pair) {
  u32 halves;
  asm("{\n\t.reg .b16 low, high;\n\tmov.b32 {low, high}, %1;\n\tcvt.rn.f16x2.e4m3x2 %0, high;\n\t}" : "=r"(halves) : "r"(pair));
  return halves;
}
/** Two bf16 numbers as two fp16 numbers, rounded to nearest. */
__device__ __forceinline__ u32 halvesOfBf16(u32 pair) {
  return attn::pack2<attn::Fp16>(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u));
}

/**
 * Shapes and shared memory of one instantiation. A *unit* is `Keys` keys of K and V of one KV head, one stage of the ring and
 * the work of one key group: one warp, or `Split` warps with a share of the output columns each.
 */
template <class ElementType, bool Fp8Kv, int HeadDim, int UnitKeys, int KeyGroups, int SplitWarps, int RingStages>
struct DecodeSetup {
  using Element = ElementType;
  static constexpr bool Fp8 = Fp8Kv;
  /** What the tensor cores multiply: fp16 holds every e4m3 number exactly. */
  using Math = typename Choice<Fp8, attn::Fp16, ElementType>::type;
  static constexpr int D = HeadDim, Keys = UnitKeys, Groups = KeyGroups, Split = SplitWarps, Stages = RingStages;
  static constexpr int Warps = Groups * Split, Consumers = Warps * 32, Threads = Consumers + 128;
  static constexpr int KvBytes = Fp8 ? 1 : 2;
  static constexpr int Chunks = (D * KvBytes + 127) / 128, ChunkBytes = Keys * 128;
  static constexpr int TileBytes = Chunks * ChunkBytes, UnitBytes = 2 * TileBytes;
  static constexpr int Width = D / Split;
  /** Where Q and the output are too much for the registers, Q is kept in shared memory, 16 rows of it in all. */
  static constexpr bool QInRegisters = D / 4 + Width / 2 <= 144;
  static constexpr int QueueSlots = 4;
  /**
   * A barrier tells two phases apart, no more. Who waits for a use of a stage must therefore have seen the use before it
   * through: the same key group, and the same producer. Loads complete out of order, so being further on is not enough.
   */
  static constexpr int Producers = Stages % 4 == 0 ? 4 : 2;
  static_assert(Stages % Producers == 0, "a stage always belongs to the same producer");
  /** After the roles have parted: 64512 registers = 128 x 56 + 256 x 224. Smaller blocks have all they can use from the start. */
  static constexpr bool MoveRegisters = Consumers == 256;
  static constexpr int MergePitch = 64 + 8;  // floats; padded against bank conflicts

  static constexpr int QOffset = Stages * UnitBytes;
  static constexpr int MergeOffset = QOffset + (QInRegisters ? 0 : 16 * D * 2);
  static constexpr int StatsOffset = MergeOffset + Warps * 8 * MergePitch * 4;
  static constexpr int RowsOffset = StatsOffset + Groups * 16 * 8;
  static constexpr int QueueOffset = RowsOffset + Groups * 16 * 4;
  static constexpr int FlagOffset = QueueOffset + QueueSlots * 64;
  static constexpr int BarrierOffset = FlagOffset + 8;
  static constexpr int Bytes = (BarrierOffset + (2 * Stages + 2 * QueueSlots) * 8 + 15) / 16 * 16;
  static_assert(!Fp8 || Keys == 32, "the fp8 step takes 32 keys");
  static_assert(Chunks * 2 * (Keys / 16) <= 32, "one lane per TMA box");
  /** Within a segment; between segments the merge lets nobody go on before all stages are used up. */
  static_assert(Stages % Groups == 0, "a stage always belongs to the same key group");
  static_assert(Warps * 8 * MergePitch >= 256 + 4 * Consumers, "the merge buffer is also the combine's scratch");
  static_assert(sizeof(attn::DecodeSegment) == 64, "a queue slot holds one segment");
};

template <class Setup>
struct Decode {
  static constexpr int D = Setup::D, Keys = Setup::Keys, Groups = Setup::Groups, Stages = Setup::Stages;
  static constexpr int Chunks = Setup::Chunks, Width = Setup::Width;
  static constexpr int ConsumerBarrier = 1;
  static constexpr int Producers = Setup::Producers;

  unsigned char* memory;
  u32 shared;
  const attn::AttentionParams& params;
  const DecodeStream& stream;

  __device__ __forceinline__ u32 full(int stage) const { return shared + Setup::BarrierOffset + 8 * stage; }
  __device__ __forceinline__ u32 empty(int stage) const { return full(Stages + stage); }
  __device__ __forceinline__ u32 slotFull(int slot) const { return full(2 * Stages + slot); }
  __device__ __forceinline__ u32 slotEmpty(int slot) const { return full(2 * Stages + Setup::QueueSlots + slot); }
  __device__ __forceinline__ int* slot(int index) const {
    return reinterpret_cast<int*>(memory + Setup::QueueOffset + index * 64);
  }

  __device__ __forceinline__ void initBarriers() const {
    for (int i = 0; i < Stages; ++i) {
      mbarrierInit(full(i), 1);
      mbarrierInit(empty(i), Setup::Split);
    }
    for (int i = 0; i < Setup::QueueSlots; ++i) {
      mbarrierInit(slotFull(i), 32);
      mbarrierInit(slotEmpty(i), 32 * (Setup::Warps + Producers));
    }
    fenceMbarrierInit();
  }

  static __device__ __forceinline__ int runsOf(const attn::DecodeSegment& segment) {
    return (max(segment.keyEnd - segment.keyBegin, 0) + Keys - 1) / Keys;
  }

  /** One word of segment `index` per lane, for the first half of a warp. */
  __device__ __forceinline__ int segmentWord(int index) const {
    const int lane = threadIdx.x % 32;
    return lane < 16 ? __ldg(reinterpret_cast<const int*>(params.segments) + index * 16 + lane) : 0;
  }

  /** Puts the words of a segment (-1: there are no more) into the queue as its number `number`; all lanes of one warp. */
  __device__ __forceinline__ void handOut(int word, int number) const {
    const int lane = threadIdx.x % 32, slotIndex = number % Setup::QueueSlots;
    mbarrierWait(slotEmpty(slotIndex), (number / Setup::QueueSlots & 1) ^ 1);
    if (lane < 16) slot(slotIndex)[lane] = word;
    mbarrierArrive(slotFull(slotIndex));
  }

  /**
   * A producer warp: streams its share of the units of the block's segments (issuing a box takes about a hundred cycles, so one
   * warp could not feed small pages). The first of them hands the segments out.
   */
  __device__ __forceinline__ void produce(const TensorMap& kMap, const TensorMap& vMap) const {
    const int lane = threadIdx.x % 32;
    const int producer = threadIdx.x / 32 - Setup::Warps;
    const bool paged = params.pageTable != 0;
    const int boxes = Keys / stream.boxRows;
    const int boxLanes = boxes * Chunks;
    const bool isV = lane >= boxLanes;
    const int box = lane % boxLanes / Chunks;
    const int chunk = lane % Chunks;
    const bool loads = lane < 2 * boxLanes;
    const TensorMap* map = isV ? &vMap : &kMap;
    const u32 offset = (isV ? Setup::TileBytes : 0) + chunk * Setup::ChunkBytes + box * stream.boxRows * 128;
    const int pageMask = (1 << params.pageShift) - 1;
    const int headShift = 31 - __clz(stream.heads);

    int word = 0, secondSegment = 0, segmentCount = 0;
    if (producer == 0) {
      word = segmentWord(blockIdx.x);
      secondSegment = __shfl_sync(0xFFFFFFFFu, word, 13);
      segmentCount = __shfl_sync(0xFFFFFFFFu, word, 14);
    }
    u32 used = 0;  // units of earlier segments
    for (int taken = 0;; ++taken) {
      if (producer == 0) {
        handOut(taken < segmentCount ? word : -1, taken);
        if (taken + 1 < segmentCount) word = segmentWord(secondSegment + taken);
      }
      const int slotIndex = taken % Setup::QueueSlots;
      mbarrierWait(slotFull(slotIndex), taken / Setup::QueueSlots & 1);
      const attn::DecodeSegment& segment = *reinterpret_cast<const attn::DecodeSegment*>(slot(slotIndex));
      if (segment.sequence < 0) return;
      const int kvHead = segment.kvHead, segmentBegin = segment.keyBegin, segmentEnd = segment.keyEnd, kvBegin = segment.kvBegin;
      const int lastPage = (segment.kvLen - 1) >> params.pageShift;
      const int* pageRow = reinterpret_cast<const int*>(params.pageTable) +
                           static_cast<long long>(segment.sequence) * params.pageTableStride;
      const int units = runsOf(segment) << headShift;
      mbarrierArrive(slotEmpty(slotIndex));

      /* pages of the next 32 boxes live one per lane, those after them are on their way */
      const auto pageOfBox = [&](int number) {
        const int key = segmentBegin + number * stream.boxRows;
        if (!paged) return 0;
        return key < segmentEnd ? __ldg(attn::page_entry(pageRow, key >> params.pageShift, lastPage)) : stream.zeroPage;
      };
      int pageBase = 0;
      int pagesNow = pageOfBox(lane), pagesNext = pageOfBox(32 + lane);
      /* the first unit whose number in the block is this producer's */
      for (int unit = (producer - used) & (Producers - 1); unit < units; unit += Producers) {
        const int run = unit >> headShift, head = unit & (stream.heads - 1);
        const int number = run * boxes;
        if (number >= pageBase + 32) {
          pageBase += 32;
          pagesNow = pagesNext;
          pagesNext = pageOfBox(pageBase + 32 + lane);
        }
        const int page = __shfl_sync(0xFFFFFFFFu, pagesNow, (number + box) % 32);
        const int key = segmentBegin + run * Keys + box * stream.boxRows;
        const int row = paged ? key & pageMask : kvBegin + key;
        const u32 use = used + unit, stage = use % Stages;
        mbarrierWait(empty(stage), (use / Stages & 1) ^ 1);
        if (lane == 0) mbarrierArriveExpect(full(stage), Setup::UnitBytes);
        __syncwarp();
        if (loads)
          tmaLoad4d(shared + stage * Setup::UnitBytes + offset, map, full(stage), chunk * (128 / Setup::KvBytes), row,
                    kvHead + head, page);
      }
      used += units;
    }
  }

  /** What one warp keeps of its rows while it works through a segment. */
  struct State {
    float out[Width / 8][4];
    float max[2];  // raw scores
    float sum[2];  // this thread's share
    u32 q[Setup::QInRegisters ? D / 16 : 1][4];
  };

  /**
   * Q of the rows as mma A fragments, straight from global memory; missing rows repeat the last, missing columns are zero.
   * For fp8 the columns of a step are permuted as its K fragments are: a thread has four neighbours instead of two pairs.
   */
  __device__ __forceinline__ void loadQFragments(const attn::DecodeSegment& segment, int rowCount, int kvHead,
                                                 State& state) const {
    const int lane = threadIdx.x % 32;
    const unsigned short* source[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const attn::RowPlace place(params, segment, kvHead, min(lane / 4 + 8 * h, rowCount - 1));
      source[h] = reinterpret_cast<const unsigned short*>(params.q) + place.token * params.qTokenStride +
                  place.qHead * params.qHeadStride + lane % 4 * (Setup::Fp8 ? 4 : 2);
    }
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = k * 16 + (i / 2) * (Setup::Fp8 ? 2 : 8);
        const bool exists = column + (Setup::Fp8 ? lane % 4 * 4 : 0) < params.headDim;
        u32 pair = exists ? __ldg(reinterpret_cast<const u32*>(source[i % 2] + column)) : 0;
        if (Setup::Fp8 && params.isBf16) pair = halvesOfBf16(pair);
        state.q[k][i] = pair;
      }
    }
  }

  /**
   * The same rows of all heads of a segment into shared memory, swizzled like a K tile whose rows are D wide, 16 columns at a
   * time: their words are permuted for fp8 as in loadQFragments.
   */
  __device__ __forceinline__ void stageQ(const attn::DecodeSegment& segment, int rowCount) const {
    constexpr int Steps = D / 16;
    for (int i = threadIdx.x; i < stream.heads * rowCount * Steps; i += Setup::Consumers) {
      const int step = i % Steps, row = i / Steps % rowCount, head = i / Steps / rowCount;
      const attn::RowPlace place(params, segment, segment.kvHead + head, row);
      const unsigned short* source = reinterpret_cast<const unsigned short*>(params.q) + place.token * params.qTokenStride +
                                     place.qHead * params.qHeadStride + step * 16;
      uint4 low = make_uint4(0, 0, 0, 0), high = low;
      if (step * 16 < params.headDim) low = __ldg(reinterpret_cast<const uint4*>(source));
      if (step * 16 + 8 < params.headDim) high = __ldg(reinterpret_cast<const uint4*>(source + 8));
      if constexpr (Setup::Fp8) {
        const uint4 even = make_uint4(low.x, low.z, high.x, high.z), odd = make_uint4(low.y, low.w, high.y, high.w);
        low = mathPairs(even), high = mathPairs(odd);
      }
      const int staged = head * stream.qRows + row;
      const u32 target = shared + Setup::QOffset + staged * D * 2 + (step / 4) * 128;
      sharedStore16(target + ((step % 4 * 2 ^ staged % 8) << 4), low);
      sharedStore16(target + ((step % 4 * 2 + 1 ^ staged % 8) << 4), high);
    }
  }

  __device__ __forceinline__ uint4 mathPairs(uint4 v) const {
    if (params.isBf16)
      return make_uint4(halvesOfBf16(v.x), halvesOfBf16(v.y), halvesOfBf16(v.z), halvesOfBf16(v.w));
    return v;
  }

  /** The A fragment of step `k`. */
  __device__ __forceinline__ void queryFragment(const State& state, u32 qRow, int k, u32 (&a)[4]) const {
    if constexpr (Setup::QInRegisters) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = state.q[k][i];
    } else {
      attn::ldmatrix4(a, (qRow & ~7u) + (k / 4) * 128 + (((k % 4) * 2 + threadIdx.x % 32 / 16 ^ (qRow & 7)) << 4));
    }
  }

  /**
   * One unit: scores, softmax, output columns of this warp. `tile` holds K, then V, both [chunk][key][128 bytes]; the first
   * `valid` keys exist, and when the unit is `open`, all rows see all of them.
   */
  __device__ __forceinline__ void compute(const attn::DecodeSegment& segment, bool open, int keyBegin, int valid, u32 tile,
                                          u32 qRow, int half, State& state) const {
    constexpr int NT = Keys / 8;
    constexpr int Chains = NT < 4 ? 2 : 1;  // dependent mma: two accumulators per tile where there are few tiles
    const int lane = threadIdx.x % 32;
    const int seven = lane % 8;
    float parts[Chains][NT][4];
#pragma unroll
    for (int i = 0; i < Chains * NT * 4; ++i) parts[i / (NT * 4)][i / 4 % NT][i % 4] = 0.0f;
    if constexpr (Setup::Fp8) {
      /* a row of 16 bytes is one step of 16 columns; a thread holds columns 4q ... 4q + 3 of it */
#pragma unroll
      for (int k = 0; k < D / 16; ++k) {
        u32 a[4], b[4];
        queryFragment(state, qRow, k, a);
        attn::ldmatrix4(b, tile + lane * 128 + (k / 8) * Setup::ChunkBytes + ((k % 8 ^ seven) << 4));
#pragma unroll
        for (int n = 0; n < NT; ++n)
          attn::mma16816<typename Setup::Math>(parts[k % Chains][n], a, halvesOf(b[n]), halvesOfHigh(b[n]));
      }
    } else {
      const u32 kRow = tile + ((lane & 7) + (lane >> 4) * 8) * 128;
#pragma unroll
      for (int k = 0; k < D / 16; ++k) {
        u32 a[4];
        queryFragment(state, qRow, k, a);
        const u32 column = (k / 4) * Setup::ChunkBytes + (((k % 4) * 2 + (lane >> 3 & 1) ^ seven) << 4);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
          u32 b[4];
          attn::ldmatrix4(b, kRow + n * 8 * 128 + column);
          attn::mma16816<typename Setup::Math>(parts[k % Chains][n], a, b[0], b[1]);
          attn::mma16816<typename Setup::Math>(parts[k % Chains][n + 1], a, b[2], b[3]);
        }
      }
    }
    float s[NT][4];
#pragma unroll
    for (int n = 0; n < NT; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) s[n][i] = Chains == 2 ? parts[0][n][i] + parts[Chains - 1][n][i] : parts[0][n][i];
    }

    if (!open) attn::mask_scores(params, attn::PackedRows(params, segment), keyBegin, lane, s);
    attn::softmax_step(s, state.max, state.sum, state.out, params.scaleLog2);

    const u32 v = tile + Setup::TileBytes + half * (Width * Setup::KvBytes / 128) * Setup::ChunkBytes;
    if (valid < Keys) zeroTail(v, valid);
#pragma unroll
    for (int j = 0; j < Keys / 16; ++j) {
      u32 a[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        a[i] = attn::pack2<typename Setup::Math>(s[2 * j + (i >> 1)][(i & 1) * 2], s[2 * j + (i >> 1)][(i & 1) * 2 + 1]);
      const u32 vRow = v + (j * 16 + lane % 16) * 128;
      if constexpr (Setup::Fp8) {
        /* transposed in pairs of columns: an even and an odd column of two keys each, so `out` takes turns between them */
#pragma unroll
        for (int n = 0; n < Width / 8; n += 4) {
          u32 b[4];
          attn::ldmatrix4_trans(b, vRow + (n / 16) * Setup::ChunkBytes + ((n / 2 % 8 + lane / 16 ^ seven) << 4));
#pragma unroll
          for (int i = 0; i < 4; ++i) b[i] = __byte_perm(b[i], 0, 0x3120);
#pragma unroll
          for (int i = 0; i < 4; i += 2) {
            attn::mma16816<attn::Fp16>(state.out[n + i], a, halvesOf(b[i]), halvesOf(b[i + 1]));
            attn::mma16816<attn::Fp16>(state.out[n + i + 1], a, halvesOfHigh(b[i]), halvesOfHigh(b[i + 1]));
          }
        }
      } else {
#pragma unroll
        for (int n = 0; n < Width / 8; n += 2) {
          u32 b[4];
          attn::ldmatrix4_trans(b, vRow + (n / 8) * Setup::ChunkBytes + ((n % 8 + lane / 16 ^ seven) << 4));
          attn::mma16816<typename Setup::Math>(state.out[n], a, b[0], b[1]);
          attn::mma16816<typename Setup::Math>(state.out[n + 1], a, b[2], b[3]);
        }
      }
    }
  }

  /** Zeroes this warp's columns of V beyond the last key: there may be NaN, and 0 * NaN is NaN. */
  __device__ __forceinline__ void zeroTail(u32 v, int valid) const {
    const int lane = threadIdx.x % 32;
    constexpr int WarpChunks = (Width * Setup::KvBytes + 127) / 128;
    for (int i = lane; i < (Keys - valid) * 8 * WarpChunks; i += 32) {
      const int chunk = i / ((Keys - valid) * 8), rest = i % ((Keys - valid) * 8);
      sharedStore16(v + chunk * Setup::ChunkBytes + valid * 128 + rest * 16, make_uint4(0, 0, 0, 0));
    }
    fenceProxyAsync();  // TMA writes here next
    __syncwarp();
  }

  __device__ __forceinline__ void consumerSync() const { namedBarrierSync(ConsumerBarrier, Setup::Consumers); }

  /**
   * End of a segment: the key groups of a head are added through shared memory, 8 rows x 64 columns of every warp at a time,
   * and leave as finished rows or as a part.
   */
  __device__ __forceinline__ void merge(const attn::DecodeSegment& segment, State& state) const {
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int group = warp / Setup::Split, half = warp % Setup::Split;
    const int heads = stream.heads, head = group % heads;
    float2* stats = reinterpret_cast<float2*>(memory + Setup::StatsOffset);
    float* factors = reinterpret_cast<float*>(memory + Setup::RowsOffset);
    float* buffer = reinterpret_cast<float*>(memory + Setup::MergeOffset);
    const bool whole = segment.part < 0;
    const int rowCount = attn::PackedRows(params, segment).count;

#pragma unroll
    for (int h = 0; h < 2; ++h) {
      state.sum[h] = attn::quad_sum(state.sum[h]);
      if (state.max[h] != attn::negative_infinity()) state.max[h] *= params.scaleLog2;
      if (half == 0 && lane % 4 == 0) stats[group * 16 + h * 8 + lane / 4] = make_float2(state.max[h], state.sum[h]);
    }
    consumerSync();
    const auto topOf = [&](int ofHead, int row) {
      float top = attn::negative_infinity();
      for (int g = ofHead; g < Groups; g += heads) top = fmaxf(top, stats[g * 16 + row].x);
      return top;
    };
    if (thread < heads * 16 && thread % 16 < rowCount) {
      const int ofHead = thread / 16, row = thread % 16;
      const float top = topOf(ofHead, row);
      float sum = 0.0f;
      for (int g = ofHead; g < Groups; g += heads) {
        const float2 stat = stats[g * 16 + row];
        if (stat.x != attn::negative_infinity()) sum += stat.y * attn::exp2_fast(stat.x - top);
      }
      if (whole) {
        const attn::RowPlace place(params, segment, segment.kvHead + ofHead, row);
        const attn::RowEnd end = attn::finish_row(top, sum, reinterpret_cast<const float*>(params.sinks), place.qHead);
        place.storeLse(params, end.lse);
        factors[thread] = end.factor * params.vScale;
      } else {
        reinterpret_cast<float2*>(params.partialStats)[(static_cast<long long>(segment.part) * heads + ofHead) * 16 + row] =
            make_float2(top, sum);
      }
    }
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; ++h)
      factor[h] = state.max[h] == attn::negative_infinity() ? 0.0f : attn::exp2_fast(state.max[h] - topOf(head, h * 8 + lane / 4));
    constexpr int Panels = (Width + 63) / 64;
#pragma unroll 1
    for (int step = 0; step < (rowCount > 8 ? 2 : 1) * Panels; ++step) {
      /* static indices of `out` under a branch that is the same for all: the loop stays small, `out` in registers */
#pragma unroll
      for (int h = 0; h < 2; ++h) {
#pragma unroll
        for (int panel = 0; panel < Panels; ++panel) {
          if (step != h * Panels + panel) continue;
          float* row = buffer + (warp * 8 + lane / 4) * Setup::MergePitch;
#pragma unroll
          for (int n = panel * 8; n < panel * 8 + 8 && n < Width / 8; n += 2) {
            const float x[4] = {state.out[n][h * 2] * factor[h], state.out[n][h * 2 + 1] * factor[h],
                                state.out[n + 1][h * 2] * factor[h], state.out[n + 1][h * 2 + 1] * factor[h]};
            if constexpr (Setup::Fp8) { /* even and odd columns of 16 */
              *reinterpret_cast<float4*>(row + n % 8 * 8 + lane % 4 * 4) = make_float4(x[0], x[2], x[1], x[3]);
            } else {
              *reinterpret_cast<float2*>(row + n % 8 * 8 + lane % 4 * 2) = make_float2(x[0], x[1]);
              *reinterpret_cast<float2*>(row + n % 8 * 8 + 8 + lane % 4 * 2) = make_float2(x[2], x[3]);
            }
          }
        }
      }
      consumerSync();
      const int firstRow = step / Panels * 8, firstColumn = step % Panels * 64;
      for (int i = thread; i < heads * Setup::Split * 8 * 16; i += Setup::Consumers) {
        const int quad = i % 16, row = firstRow + i / 16 % 8, ofHalf = i / 128 % Setup::Split, ofHead = i / 128 / Setup::Split;
        if (row >= rowCount || firstColumn + quad * 4 >= Width) continue;
        const int d = ofHalf * Width + firstColumn + quad * 4;
        float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        for (int g = ofHead; g < Groups; g += heads) {
          const float4 value =
              *reinterpret_cast<const float4*>(buffer + ((g * Setup::Split + ofHalf) * 8 + row % 8) * Setup::MergePitch + quad * 4);
          x.x += value.x, x.y += value.y, x.z += value.z, x.w += value.w;
        }
        if (!whole) {
          *reinterpret_cast<float4*>(reinterpret_cast<float*>(params.partialO) +
                                     ((static_cast<long long>(segment.part) * heads + ofHead) * 16 + row) * D + d) = x;
        } else if (d < params.headDimV) {
          const float f = factors[ofHead * 16 + row];
          attn::RowPlace(params, segment, segment.kvHead + ofHead, row)
              .template store<typename Setup::Element>(params, d, make_float4(x.x * f, x.y * f, x.z * f, x.w * f));
        }
      }
      consumerSync();
    }
    if (whole) return;

    /* the last part to arrive adds all parts, in part order; the ticket's release covers all that precedes the barrier above */
    unsigned* last = reinterpret_cast<unsigned*>(memory + Setup::FlagOffset);
    if (thread == 0) {
      unsigned* ticket = reinterpret_cast<unsigned*>(params.tickets) + segment.item;
      *last = attn::take_ticket(ticket) == static_cast<unsigned>(segment.partCount - 1);
      if (*last) *ticket = 0;
    }
    consumerSync();
    if (!*last) return;
    attn::combine_parts<typename Setup::Element, D, Setup::Consumers>(params, segment, heads, rowCount, thread, buffer,
                                                                      [&] { consumerSync(); });
    consumerSync();
  }

  __device__ __forceinline__ void consume() const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int group = warp / Setup::Split, half = warp % Setup::Split;
    const int head = group % stream.heads;
    u32 used = 0;  // units of earlier segments
    for (int taken = 0;; ++taken) {
      const int slotIndex = taken % Setup::QueueSlots;
      mbarrierWait(slotFull(slotIndex), taken / Setup::QueueSlots & 1);
      /* stays in the queue, to be read again where it is needed: registers are short in the loop */
      const attn::DecodeSegment& segment = *reinterpret_cast<const attn::DecodeSegment*>(slot(slotIndex));
      if (segment.sequence < 0) return;

      int openFrom, openEnd, keyEnd = segment.keyEnd, rowCount;
      {
        const attn::PackedRows rows(params, segment);
        openFrom = rows.openFrom, openEnd = rows.openEnd, rowCount = rows.count;
      }
      const int units = runsOf(segment) * stream.heads;
      State state;
#pragma unroll
      for (int n = 0; n < Width / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) state.out[n][i] = 0.0f;
      }
      state.max[0] = state.max[1] = attn::negative_infinity();
      state.sum[0] = state.sum[1] = 0.0f;
      u32 qRow = 0;
      if constexpr (Setup::QInRegisters) {
        loadQFragments(segment, rowCount, segment.kvHead + head, state);
      } else {
        stageQ(segment, rowCount);
        consumerSync();
        const u32 staged = head * stream.qRows + min(lane % 16, rowCount - 1);
        qRow = shared + Setup::QOffset + staged * D * 2 + staged % 8; /* the low bits hold the swizzle */
      }
      const int keyStep = Groups / stream.heads * Keys;
      int keyBegin = segment.keyBegin + group / stream.heads * Keys;
      for (int unit = group; unit < units; unit += Groups, keyBegin += keyStep) {
        const u32 use = used + unit;
        const u32 stage = use % Stages;
        mbarrierWait(full(stage), use / Stages & 1);
        const bool open = params.softcapPre == 0.0f && keyBegin >= openFrom && keyBegin + Keys <= openEnd;
        compute(segment, open, keyBegin, keyEnd - keyBegin, shared + stage * Setup::UnitBytes, qRow, half, state);
        __syncwarp();
        if (lane == 0) mbarrierArrive(empty(stage));
      }
      used += units;
      merge(segment, state);
      mbarrierArrive(slotEmpty(slotIndex));
    }
  }

  static __device__ __forceinline__ void run(const TensorMap& kMap, const TensorMap& vMap, const attn::AttentionParams& params,
                                             const DecodeStream& stream) {
    extern __shared__ __align__(1024) unsigned char sharedMemory[];
    const Decode self{sharedMemory, sharedAddress(sharedMemory), params, stream};
    if (self.shared % 1024) __trap();
    if (threadIdx.x == Setup::Consumers) {
      prefetchTensorMap(&kMap);
      prefetchTensorMap(&vMap);
      self.initBarriers();
    }
    __syncthreads();
    if (threadIdx.x >= Setup::Consumers) {
      if constexpr (Setup::MoveRegisters) registersDecrease<56>();
      if (threadIdx.x < Setup::Consumers + 32 * Producers) self.produce(kMap, vMap);
    } else {
      if constexpr (Setup::MoveRegisters) registersIncrease<224>();
      self.consume();
    }
  }
};

/** Declares the kernel `name` for a setup. */
#define SM90_DECODE_KERNEL(name, threads, bytes, ...)                                                                   \
  static_assert(sm90::DecodeSetup<__VA_ARGS__>::Threads == threads && sm90::DecodeSetup<__VA_ARGS__>::Bytes == bytes,   \
                "table row " #name);                                                                                    \
  extern "C" __global__ void __launch_bounds__(threads, 1)                                                              \
      name(const __grid_constant__ sm90::TensorMap k, const __grid_constant__ sm90::TensorMap v,                        \
           const __grid_constant__ attn::AttentionParams params, const __grid_constant__ sm90::DecodeStream stream) {   \
    sm90::Decode<sm90::DecodeSetup<__VA_ARGS__>>::run(k, v, params, stream);                                            \
  }

}  // namespace sm90
