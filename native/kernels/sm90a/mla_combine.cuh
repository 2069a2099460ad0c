/**
 * Adding up the parts of an item whose keys several blocks shared. Every block of an item waits until all its parts are
 * there and then combines the rows that fall to it, so that the work is spread as evenly as the parts were. The order of
 * the parts is fixed: the same bits in every launch.
 *
 * Waiting is safe because a launch has at most one block per multiprocessor, so all of them run at the same time.
 */
#pragma once
#include "mla_params.h"
#include "softmax.cuh"

namespace sm90 {

constexpr int kMlaColumns = 512, kMlaRows = 64;
/** Threads that compute, and so combine. */
constexpr int kMlaConsumers = 256;

/** Joins all consumers of a block, at an mbarrier that expects as many arrivals. */
struct Meeting {
  u32 barrier;
  u32 phase = 0;
  __device__ __forceinline__ void operator()() {
    mbarrierArrive(barrier);
    mbarrierWait(barrier, phase);
    phase ^= 1;
  }
};

__device__ __forceinline__ float logSumExp(float max, float sum) {
  return sum > 0.f ? (max + __log2f(sum)) * 0.69314718056f : minusInfinity();
}

/** Says that this block's part of the segment's item is in memory. All consumers, after their stores. */
__device__ __forceinline__ void announcePart(const MlaParams& params, const MlaSegment& segment, int thread, Meeting& meeting) {
  __threadfence();
  meeting();
  if (thread == 0) atomicArrive(params.arrivals + segment.item);
}

/**
 * Combines the rows `first`, `first + partCount`, … of an item from parts whose statistics are in shared memory at `stats`,
 * one row after the other, by partCount. A warp takes 128 * `Vectors` columns of a row.
 */
template <class Element, int Vectors>
__device__ __forceinline__ void combineRows(const MlaParams& params, const MlaSegment& segment, int first, int rowCount,
                                            u32 stats, int thread) {
  constexpr int Pieces = kMlaColumns / 128 / Vectors;
  const int lane = thread % 32, parts = segment.partCount;
  for (int unit = thread / 32; unit < rowCount * Pieces; unit += kMlaConsumers / 32) {
    const int piece = unit % Pieces, row = first + unit / Pieces * parts;
    const u32 rowStats = stats + unit / Pieces * parts * 8;
    float top = minusInfinity();
    for (int p = lane; p < parts; p += 32) top = fmaxf(top, sharedLoadFloat(rowStats + 8 * p));
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, distance));
    const float subtrahend = top == minusInfinity() ? 0.f : top;
    float sum = 0.f;
    float4 x[Vectors];
#pragma unroll
    for (int v = 0; v < Vectors; ++v) x[v] = make_float4(0.f, 0.f, 0.f, 0.f);
    const float* source = params.partialO +
                          (static_cast<long long>(segment.firstPart) * kMlaRows + row) * kMlaColumns +
                          piece * 128 * Vectors + 4 * lane;
#pragma unroll 8 / Vectors
    for (int p = 0; p < parts; ++p) {
      const float factor = exp2Approx(sharedLoadFloat(rowStats + 8 * p) - subtrahend);
      sum += factor * sharedLoadFloat(rowStats + 8 * p + 4);
#pragma unroll
      for (int v = 0; v < Vectors; ++v) {
        const float4 y = __ldcg(reinterpret_cast<const float4*>(source + p * kMlaRows * kMlaColumns + 128 * v));
        x[v].x += factor * y.x, x[v].y += factor * y.y, x[v].z += factor * y.z, x[v].w += factor * y.w;
      }
    }
    const float inverse = sum > 0.f ? 1.f / sum : 0.f;
    const long long outRow = segment.qRow + row;
    char* out = static_cast<char*>(params.out) + (outRow * kMlaColumns + piece * 128 * Vectors + 4 * lane) * 2;
#pragma unroll
    for (int v = 0; v < Vectors; ++v)
      *reinterpret_cast<uint2*>(out + 256 * v) = make_uint2(Element::pack(x[v].x * inverse, x[v].y * inverse),
                                                            Element::pack(x[v].z * inverse, x[v].w * inverse));
    if (params.lse && piece == 0 && lane == 0) params.lse[outRow] = logSumExp(top, sum);
  }
}

/**
 * Waits for all parts of the segment's item and combines this block's rows of it. All consumers; `scratch` is shared memory
 * for 8 bytes per (row of this block, part). The last block to leave sets the item's counter back to zero.
 */
template <class Element>
__device__ __forceinline__ void combineParts(const MlaParams& params, const MlaSegment& segment, u32 scratch, int thread,
                                             Meeting& meeting) {
  u32* arrivals = params.arrivals + segment.item;
  const int parts = segment.partCount, first = segment.part - segment.firstPart;
  if (thread == 0)
    while (loadAcquire(arrivals) < static_cast<u32>(parts)) {
    }
  meeting();
  const int rowCount = first < segment.rows ? (segment.rows - 1 - first) / parts + 1 : 0;
  for (int i = thread; i < rowCount * parts; i += kMlaConsumers) {
    const long long partRow = static_cast<long long>(segment.firstPart + i % parts) * kMlaRows + first + i / parts * parts;
    const float2 stat = __ldcg(reinterpret_cast<const float2*>(params.partialStats) + partRow);
    sharedStoreFloat(scratch + 8 * i, stat.x);
    sharedStoreFloat(scratch + 8 * i + 4, stat.y);
  }
  meeting();
  // Many rows of few parts: a warp per row. Few rows of many parts: four warps per row.
  if (rowCount >= kMlaConsumers / 32)
    combineRows<Element, 4>(params, segment, first, rowCount, scratch, thread);
  else
    combineRows<Element, 1>(params, segment, first, rowCount, scratch, thread);
  meeting();
  if (thread == 0 && atomicArrive(arrivals) == static_cast<u32>(2 * parts - 1)) atomicExch(arrivals, 0u);
}

}  // namespace sm90
