/*
 * Prefill: one block per (BM query rows, query head, sequence), FlashAttention-2 style, for any GPU with mma.sync bf16.
 *
 * Each warp owns MI slabs of 16 query rows and keeps their scores, probabilities and output in registers. K and V tiles of
 * BN keys stream through one buffer each: V(j) arrives while Q K(j)^T is computed, K(j-1) while softmax and P V(j) are.
 * Keys run from last to first, so that only the first iterations (and, with a window, the last) need a mask.
 *
 * DS = 2 (head dim 512): two warps share a slab, each with half of the head dim. Each computes a partial Q K^T over its
 * half; the partial scores are added through shared memory, then each holds the whole softmax and its half of the output.
 */
#pragma once
#include "../common/tile.cuh"

namespace attn {

template <int D, int BM, int BN, int MI, int DS>
struct PrefillLayout {
  static constexpr int kWarps = BM / (16 * MI) * DS;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kQBytes = BM * tile_pitch<D>();
  static constexpr int kKvBytes = BN * tile_pitch<D>();
  static constexpr int kExchangeBytes = DS == 2 ? kWarps * 16 * BN * 4 : 0;
  static constexpr int kPageBytes = 2 * 64 * 4;
  static constexpr int kK = kQBytes;
  static constexpr int kV = kK + kKvBytes;
  static constexpr int kExchange = kV + kKvBytes;
  static constexpr int kPages = kExchange + kExchangeBytes;
  static constexpr int kBytes = kPages + kPageBytes;
  static_assert(DS == 1 || MI == 1, "a shared slab is one slab");
};

template <typename T, int D, int BM, int BN, int MI, int DS>
__device__ __forceinline__ void prefill_body(const AttentionParams& p) {
  using L = PrefillLayout<D, BM, BN, MI, DS>;
  constexpr int kPitch = tile_pitch<D>();
  constexpr int kWidth = D / DS;     /* head-dim columns of one warp */
  constexpr int kSteps = kWidth / 16;
  constexpr int kKeyTiles = BN / 8;
  constexpr int kRowStep = L::kThreads / 8; /* tile rows one pass of the block copies */

  extern __shared__ __align__(1024) char smem[];
  const unsigned smemBase = shared_address(smem);
  const int tid = threadIdx.x;
  const int lane = tid & 31;
  const int warp = tid >> 5;
  const int half = DS == 2 ? warp & 1 : 0;
  const int slab = DS == 2 ? warp >> 1 : warp;
  const int slabRow = slab * 16 * MI;

  const int qHead = blockIdx.y;
  const int sequence = blockIdx.z;
  const int kvHead = qHead / p.group;
  const int* qStart = (const int*)p.qStart + sequence;
  const int* kvStart = (const int*)p.kvStart + sequence;
  const int qBegin = qStart[0];
  const int qLen = qStart[1] - qBegin;
  const int kvBegin = kvStart[0];
  const int kvLen = kvStart[1] - kvBegin;
  /* the longest causal blocks first */
  const int rowBegin = (gridDim.x - 1 - blockIdx.x) * BM;
  if (rowBegin >= qLen) return;
  const int rowLast = min(qLen, rowBegin + BM) - 1;

  const KeyRange first = visible_keys(p, rowBegin, qLen, kvLen);
  const KeyRange last = visible_keys(p, rowLast, qLen, kvLen);
  const int tileEnd = last.end > 0 ? (last.end + BN - 1) / BN : 0;
  const int tileBegin = first.begin / BN;

  const bool paged = p.pageTable != 0;
  const int* pageRow = (const int*)p.pageTable + (long long)sequence * p.pageTableStride;
  int* pages = (int*)(smem + L::kPages);
  const int pageShift = p.pageShift;
  const int pageMask = (1 << pageShift) - 1;
  const int lastPage = paged && kvLen > 0 ? (kvLen - 1) >> pageShift : 0;

  /* a thread's place in every tile copy */
  const int copyRow = tid >> 3;
  const int copyColumn = tid & 7;
  const unsigned copyOffset = copyRow * kPitch + ((copyColumn ^ (copyRow & 7)) << 4);

  const char* kBase = (const char*)p.k.base + (kvHead * p.k.headStride + (paged ? 0 : kvBegin * p.k.tokenStride)) * 2;
  const char* vBase = (const char*)p.v.base + (kvHead * p.v.headStride + (paged ? 0 : kvBegin * p.v.tokenStride)) * 2;

  /* page numbers of tile j into slot j & 1, one asynchronous copy per page */
  auto copyPages = [&](int j) {
    if (paged) {
      const int firstPage = (j * BN) >> pageShift;
      if (tid < 64 && tid <= (j * BN + BN - 1 >> pageShift) - firstPage) {
        cp_async4(shared_address(pages + (j & 1) * 64 + tid), page_entry(pageRow, firstPage + tid, lastPage));
      }
    }
  };
  auto copyTile = [&](int destination, const KvTensor& tensor, const char* base, int columns, int j) {
    const int firstPage = (j * BN) >> pageShift;
#pragma unroll 1 /* unrolled, its row addresses cost the registers that the output needs */
    for (int r = 0; r < BN; r += kRowStep) {
      if (BN % kRowStep == 0 || copyRow + r < BN) {
        const int key = min(j * BN + r + copyRow, kvLen - 1);
        const bool valid = j * BN + r + copyRow < kvLen;
        const char* source = base;
        if (paged) {
          const int page = pages[(j & 1) * 64 + (key >> pageShift) - firstPage];
          source += (unsigned long long)(unsigned)page * tensor.blockBytes +
                    (unsigned long long)(unsigned)(key & pageMask) * tensor.tokenBytes;
        } else {
          source += (unsigned long long)(unsigned)key * tensor.tokenBytes;
        }
        copy_row_async<D>(smemBase + destination + copyOffset + r * kPitch, source, copyColumn, columns, valid);
      }
    }
  };

  float out[MI][kWidth / 8][4];
  float rowMax[MI][2];
  float rowSum[MI][2];
#pragma unroll
  for (int mi = 0; mi < MI; mi++) {
#pragma unroll
    for (int n = 0; n < kWidth / 8; n++) {
#pragma unroll
      for (int i = 0; i < 4; i++) out[mi][n][i] = 0.0f;
    }
    rowMax[mi][0] = rowMax[mi][1] = negative_infinity();
    rowSum[mi][0] = rowSum[mi][1] = 0.0f;
  }

  /* Q, and the page numbers of the first tile */
  {
    const char* qBase = (const char*)p.q + (qHead * p.qHeadStride + (long long)(qBegin + rowBegin) * p.qTokenStride) * 2;
#pragma unroll
    for (int r = 0; r < BM; r += kRowStep) {
      if (BM % kRowStep == 0 || copyRow + r < BM) {
        const bool valid = rowBegin + r + copyRow < qLen;
        const char* source = qBase + (valid ? (r + copyRow) * p.qTokenStride * 2 : 0);
        copy_row_async<D>(smemBase + copyOffset + r * kPitch, source, copyColumn, p.headDim, valid);
      }
    }
    if (tileEnd > tileBegin) copyPages(tileEnd - 1);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
  }

  /* ldmatrix addresses: lane-fixed row and column, the running part is a compile-time constant */
  const int sevenBits = lane & 7;
  const unsigned qAddress = smemBase + (slabRow + (lane & 15)) * kPitch + half * (kWidth / 64) * 128;
  const unsigned qColumn = lane >> 4;
  const unsigned kAddress = smemBase + L::kK + ((lane & 7) + (lane >> 4) * 8) * kPitch + half * (kWidth / 64) * 128;
  const unsigned kColumn = (lane >> 3) & 1;
  const unsigned vAddress = smemBase + L::kV + (lane & 15) * kPitch + half * (kWidth / 64) * 128;
  const unsigned vColumn = lane >> 4;
  /* byte offset of 16-byte column 2 * step + low within a row of this lane */
  auto columnOffset = [&](int step, unsigned low) -> unsigned {
    return (step >> 2) * 128 + (((((step & 3) << 1) | low) ^ sevenBits) << 4);
  };

  if (tileEnd > tileBegin) {
    copyTile(L::kK, p.k, kBase, p.headDim, tileEnd - 1);
    cp_async_commit();
  }

  const float scaleLog2 = p.scaleLog2;
  for (int j = tileEnd - 1; j >= tileBegin; j--) {
    cp_async_wait<0>();
    __syncthreads();
    copyTile(L::kV, p.v, vBase, p.headDimV, j);
    if (j > tileBegin) copyPages(j - 1);
    cp_async_commit();

    /* scores = Q K^T */
    float score[MI][kKeyTiles][4];
#pragma unroll
    for (int mi = 0; mi < MI; mi++) {
#pragma unroll
      for (int n = 0; n < kKeyTiles; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) score[mi][n][i] = 0.0f;
      }
    }
#pragma unroll
    for (int step = 0; step < kSteps; step++) {
      unsigned a[MI][4];
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
        ldmatrix4(a[mi], qAddress + mi * 16 * kPitch + columnOffset(step, qColumn));
      }
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        unsigned b[4];
        ldmatrix4(b, kAddress + n * 8 * kPitch + columnOffset(step, kColumn));
#pragma unroll
        for (int mi = 0; mi < MI; mi++) {
          mma16816<T>(score[mi][n], a[mi], b[0], b[1]);
          mma16816<T>(score[mi][n + 1], a[mi], b[2], b[3]);
        }
      }
    }
    if constexpr (DS == 2) {
      float4* mine = (float4*)(smem + L::kExchange) + warp * kKeyTiles * 32 + lane;
      const float4* theirs = (const float4*)(smem + L::kExchange) + (warp ^ 1) * kKeyTiles * 32 + lane;
#pragma unroll
      for (int n = 0; n < kKeyTiles; n++) {
        mine[n * 32] = make_float4(score[0][n][0], score[0][n][1], score[0][n][2], score[0][n][3]);
      }
      named_barrier(1 + slab, 64);
#pragma unroll
      for (int n = 0; n < kKeyTiles; n++) {
        const float4 other = theirs[n * 32];
        score[0][n][0] += other.x;
        score[0][n][1] += other.y;
        score[0][n][2] += other.z;
        score[0][n][3] += other.w;
      }
    }

    /* V(j) has arrived and K(j) is dead: fetch K(j-1) */
    cp_async_wait<0>();
    __syncthreads();
    if (j > tileBegin) {
      copyTile(L::kK, p.k, kBase, p.headDim, j - 1);
      cp_async_commit();
    }

    if (p.softcapPre != 0.0f || (j + 1) * BN > first.end || j * BN < last.begin) {
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int row = rowBegin + slabRow + mi * 16 + h * 8 + (lane >> 2);
          const KeyRange range = visible_keys(p, row, qLen, kvLen);
#pragma unroll
          for (int n = 0; n < kKeyTiles; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
              const int key = j * BN + n * 8 + (lane & 3) * 2 + i;
              float& s = score[mi][n][h * 2 + i];
              if (p.softcapPre != 0.0f) s = soft_cap(s, p.softcapPre, p.softcapPost);
              if (key < range.begin || key >= range.end) s = negative_infinity();
            }
          }
        }
      }
    }

    /* softmax over this tile, the output rescaled to the new maximum */
#pragma unroll
    for (int mi = 0; mi < MI; mi++) {
      float rescale[2];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float top = rowMax[mi][h];
#pragma unroll
        for (int n = 0; n < kKeyTiles; n++) top = fmaxf(top, fmaxf(score[mi][n][h * 2], score[mi][n][h * 2 + 1]));
        top = quad_max(top);
        const float subtrahend = top == negative_infinity() ? 0.0f : top * scaleLog2;
        rescale[h] = exp2_fast(rowMax[mi][h] * scaleLog2 - subtrahend);
        rowMax[mi][h] = top;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < kKeyTiles; n++) {
#pragma unroll
          for (int i = 0; i < 2; i++) {
            const float e = exp2_fast(score[mi][n][h * 2 + i] * scaleLog2 - subtrahend);
            score[mi][n][h * 2 + i] = e;
            sum += e;
          }
        }
        rowSum[mi][h] = rowSum[mi][h] * rescale[h] + sum;
      }
#ifndef ATTN_FAULT_RESCALE
#pragma unroll
      for (int n = 0; n < kWidth / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) out[mi][n][i] *= rescale[i >> 1];
      }
#endif
    }

    /* output += P V */
#pragma unroll
    for (int step = 0; step < BN / 16; step++) {
      unsigned a[MI][4];
#pragma unroll
      for (int mi = 0; mi < MI; mi++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* s = score[mi][2 * step + (i >> 1)];
          a[mi][i] = pack2<T>(s[(i & 1) * 2], s[(i & 1) * 2 + 1]);
        }
      }
#pragma unroll
      for (int n = 0; n < kWidth / 8; n += 2) {
        unsigned b[4];
        ldmatrix4_trans(b, vAddress + step * 16 * kPitch + columnOffset(n / 2, vColumn));
#pragma unroll
        for (int mi = 0; mi < MI; mi++) {
          mma16816<T>(out[mi][n], a[mi], b[0], b[1]);
          mma16816<T>(out[mi][n + 1], a[mi], b[2], b[3]);
        }
      }
    }
  }

  /* normalise, stage in shared memory, store rows with 16-byte accesses */
  __syncthreads();
#pragma unroll
  for (int mi = 0; mi < MI; mi++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = slabRow + mi * 16 + h * 8 + (lane >> 2);
      const float top = rowMax[mi][h] == negative_infinity() ? negative_infinity() : rowMax[mi][h] * scaleLog2;
      const RowEnd end = finish_row(top, quad_sum(rowSum[mi][h]), (const float*)p.sinks, qHead);
#pragma unroll
      for (int n = 0; n < kWidth / 8; n++) {
        const unsigned pair = pack2<T>(out[mi][n][h * 2] * end.factor, out[mi][n][h * 2 + 1] * end.factor);
        *(unsigned*)(smem + tile_offset<D>(row, half * (kWidth / 8) + n) + (lane & 3) * 4) = pair;
      }
      if (p.lse && half == 0 && (lane & 3) == 0 && rowBegin + row < qLen) {
        ((float*)p.lse)[(long long)(qBegin + rowBegin + row) * p.qHeads + qHead] = end.lse;
      }
    }
  }
  __syncthreads();
  char* oBase = (char*)p.o + (qHead * p.oHeadStride + (long long)(qBegin + rowBegin) * p.oTokenStride) * 2;
  for (int r = copyRow; r < BM && rowBegin + r < qLen; r += kRowStep) {
    for (int d = copyColumn * 8; d < p.headDimV; d += 64) {
      *(uint4*)(oBase + (r * p.oTokenStride + d) * 2) = *(const uint4*)(smem + tile_offset<D>(r, d >> 3));
    }
  }
}

}  // namespace attn
