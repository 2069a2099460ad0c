/*
 * Shared-memory tiles of 16-bit elements, and the softmax pieces both attention kernels share.
 *
 * A tile row is `pitch<D>` bytes (D elements rounded up to whole 128-byte panels). Within a panel the 16-byte column c of
 * row r is stored at column c ^ (r & 7), so that the eight rows one ldmatrix phase reads fall into eight different bank
 * groups. Loads give eight lanes to one 128-byte panel: a lane's column and its swizzle never change.
 */
#pragma once
#include "ptx.cuh"
#include "params.h"

namespace attn {

/* Bytes of one tile row. */
template <int D>
__host__ __device__ constexpr int tile_pitch() {
  return (D + 63) / 64 * 128;
}

/* Byte offset of the 16-byte column `column` of row `row`. */
template <int D>
__device__ __forceinline__ int tile_offset(int row, int column) {
  return row * tile_pitch<D>() + (column >> 3) * 128 + (((column & 7) ^ (row & 7)) << 4);
}

/* Copies one row's 128-byte panels with the lane's fixed 16-byte column; columns at or past headDim become zero. */
template <int D>
__device__ __forceinline__ void copy_row_async(unsigned dst, const char* src, int column, int headDim, bool rowValid) {
#pragma unroll
  for (int panel = 0; panel < (D + 63) / 64; panel++) {
    const int d = panel * 64 + column * 8;
    if (d < D) {
      const bool valid = rowValid && d < headDim;
      cp_async16(dst + panel * 128, valid ? src + d * 2 : src, valid);
    }
  }
}

/* A half-open range of keys one query row may see. */
struct KeyRange {
  int begin;
  int end;
};

/* Keys that query token `token` of a sequence sees: bottom-right causal alignment, optional sliding window. */
__device__ __forceinline__ KeyRange visible_keys(const AttentionParams& p, int token, int qLen, int kvLen) {
  KeyRange range = {0, kvLen};
  const int position = kvLen - qLen + token;
  if (p.causal) range.end = min(kvLen, position + 1);
  if (p.window > 0) range.begin = max(0, position - p.window + 1);
#ifdef ATTN_FAULT_MASK
  if (range.end > range.begin) range.end--;
#endif
  return range;
}

/* Physical page of logical page `logical` of a sequence whose last page is `last`. */
__device__ __forceinline__ const int* page_entry(const int* pageRow, int logical, int last) {
#ifdef ATTN_FAULT_PAGE
  logical ^= 1;
#endif
  return pageRow + min(logical, last);
}

/* softcap * tanh(s * scale / softcap), divided by scale again so that the softmax can apply its scale as always.
 * tanh(x) = 1 - 2 / (1 + e^2x): tanh.approx has 11 bits, too few beside the gate on the result. */
__device__ __forceinline__ float soft_cap(float s, float pre, float post) {
  const float e = exp2_fast(2.885390082f * (s * pre));
  return post * (1.0f - __fdividef(2.0f, 1.0f + e));
}

/* Largest value of a row, known to the four lanes that hold it. */
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}
/* Sum over the four lanes that hold a row. */
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

/* Final factor and log-sum-exp of a row from its maximum (log2 units) and sum; a sink takes part in the sum only. */
struct RowEnd {
  float factor; /* what the accumulated row is multiplied with */
  float lse;    /* natural log; -inf for a row without keys and sink */
};
__device__ __forceinline__ RowEnd finish_row(float maxLog2, float sum, const float* sinks, int qHead) {
  float extra = 1.0f;
  if (sinks) {
    const float sink = sinks[qHead] * 1.4426950408889634f;
    const float top = fmaxf(maxLog2, sink);
    extra = exp2_fast(maxLog2 - top);
    sum = sum * extra + exp2_fast(sink - top);
    maxLog2 = top;
  }
  RowEnd end;
  end.factor = sum > 0.0f ? extra / sum : 0.0f;
  end.lse = sum > 0.0f ? (maxLog2 + log2_fast(sum)) * 0.6931471805599453f : negative_infinity();
  return end;
}

}  // namespace attn
