/*
 * What every split-KV decode kernel does with a tile of scores and with finished rows. The 16 rows of an mma tile are packed
 * query rows: (query token, query head of the group) pairs of one KV head, row = token * group + head. A thread of a warp
 * holds rows lane / 4 and lane / 4 + 8 of an accumulator.
 */
#pragma once
#include "tile.cuh"

namespace attn {

/* The packed rows of a segment and the keys they see. */
struct PackedRows {
  int first; /* packed index of row 0 */
  int count; /* rows that exist, 1 ... 16 */
  int qLen;
  int kvLen;
  int keyEnd;   /* the segment's end */
  int openFrom; /* every row sees every key of [openFrom, openEnd) */
  int openEnd;

  __device__ __forceinline__ PackedRows(const AttentionParams& p, const DecodeSegment& segment)
      : first(segment.rowTile * 16),
        count(min(16, segment.qLen * p.group - segment.rowTile * 16)),
        qLen(segment.qLen),
        kvLen(segment.kvLen),
        keyEnd(segment.keyEnd) {
    const KeyRange firstRange = visible_keys(p, first / p.group, qLen, kvLen);
    const KeyRange lastRange = visible_keys(p, (first + count - 1) / p.group, qLen, kvLen);
    openFrom = lastRange.begin;
    openEnd = min(firstRange.end, keyEnd);
  }
};

/* Soft cap and mask of a 16 x (8 * NT) score tile whose first key is `keyBegin`. */
template <int NT>
__device__ __forceinline__ void mask_scores(const AttentionParams& p, const PackedRows& rows, int keyBegin, int lane,
                                            float (&s)[NT][4]) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int packed = rows.first + h * 8 + (lane >> 2);
    const KeyRange range = visible_keys(p, min(packed / p.group, rows.qLen - 1), rows.qLen, rows.kvLen);
    const int end = min(range.end, rows.keyEnd);
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int key = keyBegin + n * 8 + (lane & 3) * 2 + i;
        float& value = s[n][h * 2 + i];
        if (p.softcapPre != 0.0f) value = soft_cap(value, p.softcapPre, p.softcapPost);
        if (key < range.begin || key >= end) value = negative_infinity();
      }
    }
  }
}

/* Online softmax: scores become exponentials, the rows' maxima (raw scores) and this thread's share of their sums go on, and
 * `out` is rescaled when a maximum grew. */
template <int NT, int OT>
__device__ __forceinline__ void softmax_step(float (&s)[NT][4], float (&rowMax)[2], float (&rowSum)[2], float (&out)[OT][4],
                                             float scaleLog2) {
  float rescale[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float top = fmaxf(s[0][h * 2], s[0][h * 2 + 1]);
#pragma unroll
    for (int n = 1; n < NT; n++) top = fmaxf(top, fmaxf(s[n][h * 2], s[n][h * 2 + 1]));
    top = fmaxf(rowMax[h], quad_max(top));
    const float subtrahend = top == negative_infinity() ? 0.0f : top * scaleLog2;
    rescale[h] = top == rowMax[h] ? 1.0f : exp2_fast(rowMax[h] * scaleLog2 - subtrahend);
    rowMax[h] = top;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        s[n][h * 2 + i] = exp2_fast(s[n][h * 2 + i] * scaleLog2 - subtrahend);
        sum += s[n][h * 2 + i];
      }
    }
    rowSum[h] = rowSum[h] * rescale[h] + sum;
  }
#ifndef ATTN_FAULT_RESCALE
  if (__any_sync(0xFFFFFFFFu, rescale[0] != 1.0f || rescale[1] != 1.0f)) {
#pragma unroll
    for (int n = 0; n < OT; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) out[n][i] *= rescale[i >> 1];
    }
  }
#endif
}

/* Where a packed row of a segment's KV head `kvHead` is in O and in the log-sum-exp. */
struct RowPlace {
  long long token;
  int qHead;
  __device__ __forceinline__ RowPlace(const AttentionParams& p, const DecodeSegment& segment, int kvHead, int row) {
    const int packed = segment.rowTile * 16 + row;
    token = segment.qBegin + packed / p.group;
    qHead = kvHead * p.group + packed % p.group;
  }
  __device__ __forceinline__ void storeLse(const AttentionParams& p, float lse) const {
    if (p.lse) ((float*)p.lse)[token * p.qHeads + qHead] = lse;
  }
  /* four columns from `d` on, already normalised */
  template <typename T>
  __device__ __forceinline__ void store(const AttentionParams& p, int d, float4 x) const {
    if constexpr (T::kAtRunTime) {
      if (p.isBf16) store<Bf16>(p, d, x);
      else store<Fp16>(p, d, x);
    } else {
      *(uint2*)((char*)p.o + (token * p.oTokenStride + qHead * p.oHeadStride + d) * 2) =
          make_uint2(pack2<T>(x.x, x.y), pack2<T>(x.z, x.w));
    }
  }
};

/*
 * Adds the parts of one item (the packed rows of `heads` KV heads) and writes the finished rows: called by all `Threads` threads
 * of a block that saw the item's last ticket.
 *
 * A warp per row first finds the row's maximum and sum over the parts; then every thread adds one part lane of one column
 * quad, with many loads in flight, and the lanes are added in order. Every order is fixed, so the bits repeat.
 * `scratch`: 256 + 4 * Threads floats of shared memory, 16-byte aligned; `barrier()` joins the calling threads.
 */
template <typename T, int D, int Threads, typename Barrier>
__device__ __forceinline__ void combine_parts(const AttentionParams& p, const DecodeSegment& segment, int heads, int rowCount,
                                              int thread, float* scratch, Barrier barrier) {
  const int parts = segment.partCount;
  const int rows = heads * rowCount;
  const int partRows = heads * 16; /* rows of a part in the partial buffers */
  const float2* stats = (const float2*)p.partialStats + (long long)segment.firstPart * partRows;
  const float* partials = (const float*)p.partialO + (long long)segment.firstPart * partRows * D;
  float* tops = scratch;
  float* factors = scratch + 128;
  float4* lanes = (float4*)(scratch + 256);
  const auto stored = [&](int row) { return row / rowCount * 16 + row % rowCount; };

  const int lane = thread & 31;
  for (int row = thread >> 5; row < rows; row += Threads / 32) {
    const float2* rowStats = stats + stored(row);
    float top = negative_infinity();
#pragma unroll 4
    for (int part = lane; part < parts; part += 32) top = fmaxf(top, __ldcg(&rowStats[(long long)part * partRows].x));
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, i));
    const float subtrahend = top == negative_infinity() ? 0.0f : top;
    float sum = 0.0f;
#pragma unroll 4
    for (int part = lane; part < parts; part += 32) {
      const float2 stat = __ldcg(rowStats + (long long)part * partRows);
      sum += stat.y * exp2_fast(stat.x - subtrahend);
    }
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, i);
    if (lane == 0) {
      const RowPlace place(p, segment, segment.kvHead + row / rowCount, row % rowCount);
      const RowEnd end = finish_row(top, sum, (const float*)p.sinks, place.qHead);
      place.storeLse(p, end.lse);
      tops[row] = subtrahend;
      factors[row] = end.factor * p.vScale;
    }
  }
  barrier();

  constexpr int kQuads = D / 4;
  const int cells = rows * kQuads;
  const int partLanes = max(1, Threads / cells);
  const int partLane = partLanes == 1 ? 0 : thread / cells;
  for (int cell = partLanes == 1 ? thread : thread % cells; cell < cells; cell += Threads) {
    const int row = cell / kQuads;
    const int d = cell % kQuads * 4;
    const float top = tops[row];
    float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (partLane < partLanes) {
      const float* rowStats = &stats[stored(row)].x;
      const float4* source = (const float4*)(partials + stored(row) * D + d);
#pragma unroll 16
      for (int part = partLane; part < parts; part += partLanes) {
        const float factor = exp2_fast(__ldcg(rowStats + (long long)part * partRows * 2) - top);
        const float4 value = __ldcg(source + (long long)part * partRows * kQuads);
        x.x += value.x * factor, x.y += value.y * factor, x.z += value.z * factor, x.w += value.w * factor;
      }
    }
    if (partLanes > 1) { /* then all threads come here, once */
      lanes[thread] = x;
      barrier();
      if (partLane > 0) break;
      for (int other = 1; other < partLanes; other++) {
        const float4 value = lanes[other * cells + cell];
        x.x += value.x, x.y += value.y, x.z += value.z, x.w += value.w;
      }
    }
    if (d < p.headDimV) {
      const float f = factors[row];
      RowPlace(p, segment, segment.kvHead + row / rowCount, row % rowCount)
          .template store<T>(p, d, make_float4(x.x * f, x.y * f, x.z * f, x.w * f));
    }
  }
}

}  // namespace attn
