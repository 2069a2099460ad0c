/*
 * Decode: few query rows against a long KV cache, bound by reading K and V once.
 *
 * The 16 rows of an mma tile are (query token, query head of the group) pairs of one KV head. A key group (one warp, or two
 * for head dim 512, each with half of the output columns) owns every G-th run of 16 keys and streams it through its own
 * cp.async ring, so that no warp waits for another inside the loop; 16 keys never cross a page, so a run needs one page
 * number. The work of a launch is cut into equal runs of keys by the host (DecodeSegment). When an item is cut, each part
 * leaves its unnormalised output and statistics in memory, and the block that takes the last ticket adds them up in part
 * order: one launch, and the same bits every time.
 */
#pragma once
#include "../common/decode_rows.cuh"

namespace attn {

template <int D, int GROUPS, int DS, int STAGES>
struct DecodeLayout {
  static constexpr int kThreads = GROUPS * DS * 32;
  static constexpr int kTileBytes = 16 * tile_pitch<D>();
  static constexpr int kRingBytes = STAGES * 2 * kTileBytes; /* K and V, one key group */
  static constexpr int kQ = GROUPS * kRingBytes;
  static constexpr int kStats = kQ + kTileBytes;
  static constexpr int kBytes = kStats + GROUPS * 16 * 2 * 4 + 16;
  /* fp32 rows of the merge are padded by 8 floats against bank conflicts and overlay the rings */
  static constexpr int kMergePitch = D + 8;
  static_assert(16 * kMergePitch * 4 <= kRingBytes, "a group's merge buffer is its own ring");
};

template <typename T, int D, int GROUPS, int DS, int STAGES>
__device__ __forceinline__ void decode_body(const AttentionParams& p) {
  using L = DecodeLayout<D, GROUPS, DS, STAGES>;
  constexpr int kPitch = tile_pitch<D>();
  constexpr int kWidth = D / DS;
  constexpr bool kQInRegisters = D < 256; /* above, registers are short and shared memory is not busy */
  constexpr int kCopyRows = 4 * DS; /* tile rows one pass of a key group copies */

  extern __shared__ __align__(1024) char smem[];
  const unsigned smemBase = shared_address(smem);
  const int tid = threadIdx.x;
  const int lane = tid & 31;
  const int warp = tid >> 5;
  const int group = warp / DS;
  const int half = warp % DS;
  const int groupThread = half * 32 + lane;
  const unsigned ring = smemBase + group * L::kRingBytes;
  float* stats = (float*)(smem + L::kStats);
  unsigned* lastFlag = (unsigned*)(smem + L::kStats + GROUPS * 16 * 2 * 4);

  const bool paged = p.pageTable != 0;
  const int pageShift = p.pageShift;
  const int pageMask = (1 << pageShift) - 1;
  const float scaleLog2 = p.scaleLog2;

  const int copyRow = groupThread >> 3;
  const int copyColumn = lane & 7;
  const int sevenBits = lane & 7;
  auto columnOffset = [&](int step, unsigned low) -> unsigned {
    return (step >> 2) * 128 + (((((step & 3) << 1) | low) ^ sevenBits) << 4);
  };
  const unsigned qAddress = smemBase + L::kQ + (lane & 15) * kPitch;
  const unsigned kRow = ((lane & 7) + (lane >> 4) * 8) * kPitch;
  const unsigned vRow = (lane & 15) * kPitch + half * (kWidth / 64) * 128;

  const DecodeSegment* segments = (const DecodeSegment*)p.segments;
  const int segmentEnd = ((const int*)p.segmentStart)[blockIdx.x + 1];
  for (int index = ((const int*)p.segmentStart)[blockIdx.x]; index < segmentEnd; index++) {
    const DecodeSegment segment = segments[index];
    const int kvBegin = segment.kvBegin;
    const int kvLen = segment.kvLen;
    const PackedRows packedRows(p, segment);
    const int rows = packedRows.count;
    const int* pageRow = (const int*)p.pageTable + (long long)segment.sequence * p.pageTableStride;
    const char* kBase =
        (const char*)p.k.base + (segment.kvHead * p.k.headStride + (paged ? 0 : kvBegin * p.k.tokenStride)) * 2;
    const char* vBase =
        (const char*)p.v.base + (segment.kvHead * p.v.headStride + (paged ? 0 : kvBegin * p.v.tokenStride)) * 2;
    const int steps = (segment.keyEnd - segment.keyBegin + 16 * GROUPS - 1) / (16 * GROUPS);
    auto stepKey = [&](int step) { return segment.keyBegin + (step * GROUPS + group) * 16; };

    __syncthreads(); /* the previous segment's merge is over */

    /* the packed query rows */
    for (int r = tid >> 3; r < 16; r += L::kThreads / 8) {
      const RowPlace place(p, segment, segment.kvHead, min(r, rows - 1));
      const char* source = (const char*)p.q + (place.token * p.qTokenStride + place.qHead * p.qHeadStride) * 2;
      copy_row_async<D>(smemBase + L::kQ + r * kPitch + ((copyColumn ^ (r & 7)) << 4), source, copyColumn, p.headDim,
                        r < rows);
    }
    cp_async_commit();

    /* page numbers of 32 steps live one per lane; the next 32 are on their way */
    const int lastPage = (kvLen - 1) >> pageShift;
    auto pageOfStep = [&](int step) {
      return paged && steps > 0 ? *page_entry(pageRow, stepKey(step) >> pageShift, lastPage) : 0;
    };
    int pagesNow = pageOfStep(lane);
    int pagesNext = pageOfStep(32 + lane);
    auto copyStep = [&](int step) {
      if ((step & 31) == 0 && step > 0) {
        pagesNow = pagesNext;
        pagesNext = pageOfStep(step + 32 + lane);
      }
      const int page = __shfl_sync(0xFFFFFFFFu, pagesNow, step & 31);
      const int keyBegin = stepKey(step);
      if (step < steps && keyBegin < segment.keyEnd) {
        const unsigned tile = ring + (unsigned)(step % STAGES) * (2 * L::kTileBytes);
        const char* kSource = kBase + (paged ? (unsigned long long)(unsigned)page * p.k.blockBytes : 0);
        const char* vSource = vBase + (paged ? (unsigned long long)(unsigned)page * p.v.blockBytes : 0);
#pragma unroll(D < 192 ? 4 : 1) /* registers for addresses are short above */
        for (int r = 0; r < 16; r += kCopyRows) {
          const int row = r + copyRow;
          const bool valid = keyBegin + row < segment.keyEnd;
          const int key = valid ? keyBegin + row : keyBegin;
          const unsigned token = paged ? key & pageMask : key;
          const unsigned offset = row * kPitch + ((copyColumn ^ (row & 7)) << 4);
          copy_row_async<D>(tile + offset, kSource + (unsigned long long)token * p.k.tokenBytes, copyColumn, p.headDim,
                            valid);
          copy_row_async<D>(tile + L::kTileBytes + offset, vSource + (unsigned long long)token * p.v.tokenBytes, copyColumn,
                            p.headDimV, valid);
        }
      }
      cp_async_commit();
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) copyStep(step);

    cp_async_wait<STAGES - 1>();
    __syncthreads();
    unsigned q[kQInRegisters ? D / 16 : 1][4];
    if constexpr (kQInRegisters) {
#pragma unroll
      for (int step = 0; step < D / 16; step++) ldmatrix4(q[step], qAddress + columnOffset(step, lane >> 4));
    }

    float out[kWidth / 8][4];
#pragma unroll
    for (int n = 0; n < kWidth / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) out[n][i] = 0.0f;
    }
    float rowMax[2] = {negative_infinity(), negative_infinity()};
    float rowSum[2] = {0.0f, 0.0f};

    for (int step = 0; step < steps; step++) {
      cp_async_wait<STAGES - 2>();
      if constexpr (DS == 1) {
        __syncwarp();
      } else {
        named_barrier(1 + group, 32 * DS);
      }
      copyStep(step + STAGES - 1);
      const int keyBegin = stepKey(step);
      if (keyBegin >= segment.keyEnd) continue;
      const unsigned kTile = ring + (unsigned)(step % STAGES) * (2 * L::kTileBytes);
      const unsigned vTile = kTile + L::kTileBytes;

      /* two accumulators per tile halve the chain of dependent mma */
      float score[2][2][4];
#pragma unroll
      for (int i = 0; i < 16; i++) score[i >> 3][i >> 2 & 1][i & 3] = 0.0f;
#pragma unroll
      for (int k = 0; k < D / 16; k++) {
        unsigned a[4];
        unsigned b[4];
        if constexpr (kQInRegisters) {
#pragma unroll
          for (int i = 0; i < 4; i++) a[i] = q[k][i];
        } else {
          ldmatrix4(a, qAddress + columnOffset(k, lane >> 4));
        }
        ldmatrix4(b, kTile + kRow + columnOffset(k, lane >> 3 & 1));
        mma16816<T>(score[k & 1][0], a, b[0], b[1]);
        mma16816<T>(score[k & 1][1], a, b[2], b[3]);
      }
      float s[2][4];
#pragma unroll
      for (int i = 0; i < 8; i++) s[i >> 2][i & 3] = score[0][i >> 2][i & 3] + score[1][i >> 2][i & 3];

      if (p.softcapPre != 0.0f || keyBegin + 16 > packedRows.openEnd || keyBegin < packedRows.openFrom)
        mask_scores(p, packedRows, keyBegin, lane, s);
      softmax_step(s, rowMax, rowSum, out, scaleLog2);

      unsigned a[4];
#pragma unroll
      for (int i = 0; i < 4; i++) a[i] = pack2<T>(s[i >> 1][(i & 1) * 2], s[i >> 1][(i & 1) * 2 + 1]);
#pragma unroll
      for (int n = 0; n < kWidth / 8; n += 2) {
        unsigned b[4];
        ldmatrix4_trans(b, vTile + vRow + columnOffset(n / 2, lane >> 4));
        mma16816<T>(out[n], a, b[0], b[1]);
        mma16816<T>(out[n + 1], a, b[2], b[3]);
      }
    }
    cp_async_wait<0>();

    /* merge the key groups of this block through shared memory */
#pragma unroll
    for (int h = 0; h < 2; h++) {
      rowSum[h] = quad_sum(rowSum[h]);
      rowMax[h] = rowMax[h] == negative_infinity() ? negative_infinity() : rowMax[h] * scaleLog2;
      if (half == 0 && (lane & 3) == 0) {
        float* slot = stats + (group * 16 + h * 8 + (lane >> 2)) * 2;
        slot[0] = rowMax[h];
        slot[1] = rowSum[h];
      }
    }
    __syncthreads();
    float* merge = (float*)(smem + group * L::kRingBytes);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = h * 8 + (lane >> 2);
      float top = negative_infinity();
#pragma unroll
      for (int g = 0; g < GROUPS; g++) top = fmaxf(top, stats[(g * 16 + row) * 2]);
      const float factor = rowMax[h] == negative_infinity() ? 0.0f : exp2_fast(rowMax[h] - top);
#pragma unroll
      for (int n = 0; n < kWidth / 8; n++) {
        *(float2*)(merge + row * L::kMergePitch + half * kWidth + n * 8 + (lane & 3) * 2) =
            make_float2(out[n][h * 2] * factor, out[n][h * 2 + 1] * factor);
      }
    }
    __syncthreads();

    const bool whole = segment.part < 0;
    for (int item = tid; item < rows * (D / 8); item += L::kThreads) {
      const int row = item / (D / 8);
      const int d = item % (D / 8) * 8;
      float top = negative_infinity();
#pragma unroll
      for (int g = 0; g < GROUPS; g++) top = fmaxf(top, stats[(g * 16 + row) * 2]);
      float sum = 0.0f;
      float x[8] = {};
#pragma unroll
      for (int g = 0; g < GROUPS; g++) {
        const float* slot = stats + (g * 16 + row) * 2;
        if (slot[0] != negative_infinity()) sum += slot[1] * exp2_fast(slot[0] - top);
        const float4* source = (const float4*)((float*)(smem + g * L::kRingBytes) + row * L::kMergePitch + d);
        const float4 low = source[0];
        const float4 high = source[1];
        x[0] += low.x, x[1] += low.y, x[2] += low.z, x[3] += low.w;
        x[4] += high.x, x[5] += high.y, x[6] += high.z, x[7] += high.w;
      }
      if (whole) {
        const RowPlace place(p, segment, segment.kvHead, row);
        const RowEnd end = finish_row(top, sum, (const float*)p.sinks, place.qHead);
        if (d == 0) place.storeLse(p, end.lse);
        if (d < p.headDimV) {
          const float f = end.factor;
          place.template store<T>(p, d, make_float4(x[0] * f, x[1] * f, x[2] * f, x[3] * f));
          place.template store<T>(p, d + 4, make_float4(x[4] * f, x[5] * f, x[6] * f, x[7] * f));
        }
      } else {
        float4* target = (float4*)((float*)p.partialO + ((long long)segment.part * 16 + row) * D + d);
        target[0] = make_float4(x[0], x[1], x[2], x[3]);
        target[1] = make_float4(x[4], x[5], x[6], x[7]);
        if (d == 0) ((float2*)p.partialStats)[(long long)segment.part * 16 + row] = make_float2(top, sum);
      }
    }
    if (whole) continue;

    /* the last part to arrive adds all parts, in part order */
    __syncthreads(); /* the ticket's release covers what the other threads wrote before this */
    if (tid == 0) {
      unsigned* ticket = (unsigned*)p.tickets + segment.item;
      *lastFlag = take_ticket(ticket) == (unsigned)(segment.partCount - 1);
      if (*lastFlag) *ticket = 0;
    }
    __syncthreads();
    if (!*lastFlag) continue;
    combine_parts<T, D, L::kThreads>(p, segment, 1, rows, tid, (float*)smem, [] { __syncthreads(); });
  }
}

}  // namespace attn
