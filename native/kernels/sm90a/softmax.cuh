/**
 * Online softmax on wgmma accumulators. A thread of a warpgroup holds two rows of the 64-row tile (`lane / 4` and 8 below)
 * and, of every 8 columns, the two at 2 * (lane % 4): values 4i, 4i+1 belong to the upper row, 4i+2, 4i+3 to the lower.
 */
#pragma once
#include "prefill_params.h"
#include "ptx.cuh"

namespace sm90 {

__device__ __forceinline__ float minusInfinity() { return __int_as_float(0xff800000); }

/** The running maximum of a row that has seen no key. Finite, so that exp2(-inf - it) is 0 and needs no case of its own. */
constexpr float kNoMaximum = -3e38f;

/** Growth of the maximum, in log2 units, up to which old results are kept as they are: p stays below 2^8. */
constexpr float kLazyGrowth = 8.f;

/** A limit that every score reaches, and one that none does. */
constexpr int kAlwaysOutgrown = -0x7fffffff - 1, kNeverOutgrown = 0x7fffffff;

/** Running maximum (times scale, in log2 units) and this thread's share of the running sum, for its two rows. */
struct RowState {
  float max[2] = {kNoMaximum, kNoMaximum};
  float sum[2] = {0.f, 0.f};
  /** Scores from here on are too large for `max`. As bits of floats compared as integers, see `outgrown`. */
  int limit[2] = {kAlwaysOutgrown, kAlwaysOutgrown};

  __device__ __forceinline__ void raise(int row, float maximum, float scaleLog2) {
    max[row] = maximum;
    const int bits = __float_as_int(__fdividef(maximum + kLazyGrowth, scaleLog2));
    limit[row] = bits < 0 ? kAlwaysOutgrown : bits;
  }
};

/** Hides columns at and beyond each row's limit (limits relative to this thread's first column). */
template <int Count>
__device__ __forceinline__ void maskColumns(float (&s)[Count], int upperLimit, int lowerLimit) {
#ifdef ATTN_FAULT_MASK
  ++upperLimit, ++lowerLimit;
#endif
#pragma unroll
  for (int i = 0; i < Count / 4; ++i) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (8 * i + e >= upperLimit) s[4 * i + e] = minusInfinity();
      if (8 * i + e >= lowerLimit) s[4 * i + 2 + e] = minusInfinity();
    }
  }
}

/** Hides columns before each row's first key (relative to this thread's first column). */
template <int Count>
__device__ __forceinline__ void maskColumnsBelow(float (&s)[Count], int upperFirst, int lowerFirst) {
#pragma unroll
  for (int i = 0; i < Count / 4; ++i) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (8 * i + e < upperFirst) s[4 * i + e] = minusInfinity();
      if (8 * i + e < lowerFirst) s[4 * i + 2 + e] = minusInfinity();
    }
  }
}

/** Soft cap: s becomes post * tanh(pre * s). tanh x = 1 - 2 / (1 + e^2x), which is exact at both ends. */
template <int Count>
__device__ __forceinline__ void capScores(float (&s)[Count], float pre, float post) {
  const float twicePreLog2 = 2.885390082f * pre;
#pragma unroll
  for (int i = 0; i < Count; ++i) s[i] = post * (1.f - __fdividef(2.f, 1.f + exp2Approx(twicePreLog2 * s[i])));
}

/**
 * What keeps a block from being taken as it is, applied in this order: the soft cap, the keys past each row's limit (limits
 * relative to this thread's first column of block 0), and those before its window.
 */
template <bool Options, int Count>
__device__ __forceinline__ void maskBlock(float (&s)[Count], const PrefillParams& params, int firstKey, int upperLimit,
                                          int lowerLimit) {
  if (Options && params.softcapPre != 0.f) capScores(s, params.softcapPre, params.softcapPost);
  maskColumns(s, upperLimit - firstKey, lowerLimit - firstKey);
  if (Options && params.window > 0) maskColumnsBelow(s, upperLimit - params.window - firstKey, lowerLimit - params.window - firstKey);
}

/**
 * Whether, for the whole warp, the block's scores are too large for the running maxima. Not negative floats are in order as
 * integers too, and Hopper takes the larger of three integers in one instruction; negative ones only matter to a row
 * whose limit would be negative, and such rows have `kAlwaysOutgrown`.
 */
template <int Count>
__device__ __forceinline__ bool outgrown(const float (&s)[Count], const RowState& rows) {
  bool any = false;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const auto bits = [&](int i) { return __float_as_int(s[4 * (i / 2) + 2 * r + i % 2]); };
    int part[2] = {bits(0), bits(1)};
#pragma unroll
    for (int i = 2; i < Count / 2; i += 2) part[i / 2 % 2] = max(max(part[i / 2 % 2], bits(i)), bits(i + 1));
    any |= max(part[0], part[1]) >= rows.limit[r];
  }
  return __any_sync(0xffffffffu, any);
}

/** Raises the running maxima to the block's and multiplies the sums by `alpha`, as is then due to all earlier results. */
template <int Count>
__device__ __forceinline__ void raiseMaxima(const float (&s)[Count], RowState& rows, float scaleLog2, float (&alpha)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float part[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) part[i] = s[4 * (i / 2) + 2 * r + i % 2];
#pragma unroll
    for (int i = 4; i < Count / 2; ++i) part[i % 4] = fmaxf(part[i % 4], s[4 * (i / 2) + 2 * r + i % 2]);
    float m = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
    m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 1));
    m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, 2));
    const float next = fmaxf(rows.max[r], m * scaleLog2);
    alpha[r] = exp2Approx(rows.max[r] - next);
    rows.sum[r] *= alpha[r];
    rows.raise(r, next, scaleLog2);
#ifdef ATTN_FAULT_RESCALE
    alpha[r] = 1.f;
#endif
  }
}

/** Turns scores into probabilities in place and adds them to the sums. */
template <int Count>
__device__ __forceinline__ void exponentiate(float (&s)[Count], RowState& rows, float scaleLog2) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float part[2];
#pragma unroll
    for (int i = 0; i < Count / 2; ++i) {
      float& p = s[4 * (i / 2) + 2 * r + i % 2];
      p = exp2Approx(fmaf(p, scaleLog2, -rows.max[r]));
      part[i % 2] = i < 2 ? p : part[i % 2] + p;
    }
    rows.sum[r] += part[0] + part[1];
  }
}

/**
 * All of the online softmax for one block. Returns whether (for the whole warp) earlier results must be multiplied by
 * `alpha`; with lazy rescaling that is rare after the first block.
 */
template <int Count>
__device__ __forceinline__ bool softmaxStep(float (&s)[Count], RowState& rows, float scaleLog2, float (&alpha)[2]) {
  const bool rescale = outgrown(s, rows);
  if (rescale) raiseMaxima(s, rows, scaleLog2, alpha);
  exponentiate(s, rows, scaleLog2);
  return rescale;
}

/**
 * Never true, as sums of exponentials are not negative, but ptxas does not know. A branch on it keeps the exponentials before
 * whatever follows; otherwise ptxas moves them behind the wait for P·V, as they have no side effect, and the warpgroup has
 * nothing left to do during its own multiplies.
 */
__device__ __forceinline__ bool knownNegative(const RowState& rows) { return rows.sum[0] + rows.sum[1] < 0.f; }

/** Multiplies the two rows of an accumulator. */
template <int Count>
__device__ __forceinline__ void scaleRows(float (&o)[Count], const float (&factor)[2]) {
#pragma unroll
  for (int i = 0; i < Count; ++i) o[i] *= factor[(i / 2) % 2];
}

/** Rounds probabilities to 16 bits; the packed registers are the A operand of the next multiply as they stand. */
template <class Element, int Count>
__device__ __forceinline__ void packRows(u32 (&packed)[Count / 2], const float (&p)[Count]) {
#pragma unroll
  for (int i = 0; i < Count / 2; ++i) packed[i] = Element::pack(p[2 * i], p[2 * i + 1]);
}

/** Sum of a row over the four threads that share it. */
__device__ __forceinline__ float quadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

}  // namespace sm90
