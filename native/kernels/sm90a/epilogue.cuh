/** The way out: normalised accumulators -> 16-bit rows in swizzled shared memory -> global memory. */
#pragma once
#include "softmax.cuh"
#include "tiles.cuh"

namespace sm90 {

/** Distance of two 64-column chunks of a staged 64-row tile. */
constexpr int kStripChunkStride = 64 * 128;

/**
 * Writes the log-sum-exp of this thread's two rows (one of the four threads of a quad does) and returns what O is multiplied
 * by: 1 / sum, 0 for a row without keys. A sink joins the sum as a key whose value is zero.
 */
template <bool Options>
__device__ __forceinline__ void finishRows(const PrefillParams& params, const RowState& rows, const Tile& tile, int threadRow,
                                           int queries, float (&inverse)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = quadSum(rows.sum[r]), top = rows.max[r], factor = 1.f;
    if (Options && params.sinks) {
      const float sink = params.sinks[tile.head] * 1.4426950409f;
      top = fmaxf(top, sink);
      factor = exp2Approx(rows.max[r] - top);
      sum = sum * factor + exp2Approx(sink - top);
    }
    inverse[r] = sum > 0.f ? factor / sum : 0.f;
    const int row = threadRow + 8 * r;
    if (params.lse && threadIdx.x % 4 == 0 && row < queries)
      params.lse[(params.qStarts[tile.sequence] + row) * params.lseTokenStride + tile.head * params.lseHeadStride] =
          sum > 0.f ? (top + __log2f(sum)) * 0.69314718056f : minusInfinity();
  }
}

/**
 * Puts one warp's 16 rows x `Columns` columns, rounded to 16 bits, into the swizzled image of 64-column chunks. `staging` is
 * the warp's 16-row strip of chunk 0; the next chunk's strip is 8 KB further.
 */
template <class Element, int Columns>
__device__ __forceinline__ void stageStrip(const float (&o)[Columns / 2], u32 staging) {
  const int lane = threadIdx.x % 32;
  const int row = lane % 8 + 8 * ((lane / 8) % 2);
#pragma unroll
  for (int i = 0; i < Columns / 16; ++i) {
    const int chunk = i / 4, column16 = (i % 4) * 2 + lane / 16;
    storeMatrix4(staging + chunk * kStripChunkStride + row * 128 + ((column16 ^ (row % 8)) << 4),
                 Element::pack(o[8 * i], o[8 * i + 1]), Element::pack(o[8 * i + 2], o[8 * i + 3]),
                 Element::pack(o[8 * i + 4], o[8 * i + 5]), Element::pack(o[8 * i + 6], o[8 * i + 7]));
  }
}

/** 16 bytes of a staged strip: row `r`, columns 8 * `vector` and on. */
__device__ __forceinline__ uint4 stagedVector(u32 staging, int r, int vector) {
  return sharedLoad16(staging + (vector / 8) * kStripChunkStride + r * 128 + (((vector % 8) ^ (r % 8)) << 4));
}

/**
 * Stages one warp's 16 rows x `Columns` columns (from column `firstColumn` of the head) as `stageStrip` does and stores
 * them: by TMA when all 16 rows exist, else row by row.
 */
template <class Element, int Columns>
__device__ __forceinline__ void writeStrip(const TensorMap& oMap, const PrefillParams& params, const float (&o)[Columns / 2],
                                           const Tile& tile, int queries, int warpRow, int firstColumn, u32 staging) {
  constexpr int Chunks = (Columns + 63) / 64;
  const int lane = threadIdx.x % 32;
  stageStrip<Element, Columns>(o, staging);
  fenceProxyAsync();  // TMA reads this next, or is the next to write here
  __syncwarp();
  const int token = params.qStarts[tile.sequence] + warpRow;
  if (warpRow + 16 <= queries) {
    if (lane == 0) {
#pragma unroll
      for (int c = 0; c < Chunks; ++c)
        tmaStore3d(&oMap, staging + c * kStripChunkStride, firstColumn + 64 * c, token, tile.head);
      bulkCommit();
    }
    return;
  }
  char* out = static_cast<char*>(params.out);
  constexpr int Vectors = Chunks * 8;
  for (int i = lane; i < 16 * Vectors; i += 32) {
    const int r = i / Vectors, vector = i % Vectors, column = firstColumn + vector * 8;
    if (warpRow + r < queries && column < params.headDimV) {
      const uint4 value = stagedVector(staging, r, vector);
      const long long element =
          static_cast<long long>(token + r) * params.outTokenStride + tile.head * params.outHeadStride + column;
      *reinterpret_cast<uint4*>(out + element * 2) = value;
    }
  }
  fenceProxyAsync();
  __syncwarp();
}

}  // namespace sm90
