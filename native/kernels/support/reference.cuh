/*
 * The judge: sampled output rows against float64, and what rounding alone would cost on the same rows.
 *
 * Inputs are made again from (seed, tensor, index) instead of being read, so a wrong fill, layout or page table cannot
 * cancel out. Nothing here is shared with the attention kernels.
 */
#pragma once
#include "../common/params.h"
#include "../common/random_inputs.h"

namespace attn {

constexpr int kReferenceThreads = 256;
constexpr int kReferenceMaxDim = 576;

template <typename V, typename F>
__device__ V block_reduce(V value, V* buffer, F combine) {
  __syncthreads();
  buffer[threadIdx.x] = value;
  __syncthreads();
  for (int n = kReferenceThreads / 2; n > 0; n /= 2) {
    if ((int)threadIdx.x < n) buffer[threadIdx.x] = combine(buffer[threadIdx.x], buffer[threadIdx.x + n]);
    __syncthreads();
  }
  return buffer[0];
}

/* A 16-bit float as float. */
__device__ __forceinline__ float half_value(bool isBf16, unsigned short bits) {
  return isBf16 ? bf16_value(bits) : fp16_value(bits);
}
/* A float rounded to 16 bits and back. */
__device__ __forceinline__ float half_rounded(bool isBf16, float x) {
  return isBf16 ? bf16_value(bf16_bits(x)) : fp16_value(fp16_bits(x));
}

/* Token whose K and V values stand at `key`. */
__device__ __forceinline__ int stored_token(int key, int repeatShift) {
  return repeatShift >= 0 && (key >> repeatShift & 1) ? key - (1 << repeatShift) : key;
}

/* One block per checked row at a time; see ReferenceParams and kReferenceSums. */
__device__ __forceinline__ void reference_body(const ReferenceParams& p) {
  __shared__ double red64[kReferenceThreads];
  __shared__ double red32[kReferenceThreads]; /* holds floats widened, so that the emulation sums like fp32 code */
  __shared__ float q[kReferenceMaxDim]; /* one row of Q */
  const int tid = threadIdx.x;
  const bool isBf16 = p.isBf16 != 0;
  const u32 vTensor = p.latent ? kTensorK : kTensorV;
  const int vDim = p.latent ? p.headDim : p.headDimV; /* elements per head of the tensor that V is in */
  double* s64 = (double*)p.scratch + (long long)blockIdx.x * 2 * p.scratchStride;
  float* s32 = (float*)(s64 + p.scratchStride);
  const auto larger = [](double a, double b) { return a > b ? a : b; };
  const auto add = [](double a, double b) { return a + b; };
  const double negativeInfinity = __longlong_as_double(0xFFF0000000000000ll);

  for (int index = blockIdx.x; index < p.rowCount; index += gridDim.x) {
    const int* row = (const int*)p.rows + index * 3;
    const int sequence = row[0];
    const int token = row[1];
    const int qHead = row[2];
    const int kvHead = qHead / (p.qHeads / p.kvHeads);
    const int qBegin = ((const int*)p.qStart)[sequence];
    const int qLen = ((const int*)p.qStart)[sequence + 1] - qBegin;
    const int kvBegin = ((const int*)p.kvStart)[sequence];
    const int kvLen = ((const int*)p.kvStart)[sequence + 1] - kvBegin;
    const int position = kvLen - qLen + token;
    const int end = p.causal ? min(kvLen, position + 1) : kvLen;
    const int begin = p.window > 0 ? max(0, position - p.window + 1) : 0;

    __syncthreads();
    for (int d = tid; d < p.headDim; d += kReferenceThreads) {
      q[d] = input_rounded(isBf16 ? kFormatBf16 : kFormatFp16, 1.0f, p.seed, kTensorQ, qBegin + token, p.qHeads, qHead, p.headDim, d);
    }
    __syncthreads();
    double top = negativeInfinity;
    for (int key = begin + tid; key < end; key += kReferenceThreads) {
      double dot = 0.0;
      float dot32 = 0.0f;
      const int stored = stored_token(key, p.repeatShift);
      for (int d = 0; d < p.headDim; d++) {
        const float k = input_rounded(p.kvFormat, p.inverseScale, p.seed, kTensorK, kvBegin + stored, p.kvHeads, kvHead,
                                      p.headDim, d);
        dot += (double)q[d] * k;
        dot32 = fmaf(q[d], k, dot32);
      }
      dot *= p.scale;
      dot32 *= (float)p.scale;
      if (p.softcap > 0.0) {
        dot = p.softcap * tanh(dot / p.softcap);
        dot32 = (float)p.softcap * tanhf(dot32 / (float)p.softcap);
      }
      s64[key] = dot;
      s32[key] = dot32;
      top = larger(top, dot);
    }
    top = block_reduce(top, red64, larger);
    const double sink = p.sinks ? (double)sink_value(p.seed, qHead) : negativeInfinity;
    top = larger(top, sink);
    double sum = 0.0;
    float sum32 = 0.0f;
    for (int key = begin + tid; key < end; key += kReferenceThreads) {
      const double e = exp(s64[key] - top);
      const float e32 = expf(s32[key] - (float)top);
      s64[key] = e;
      s32[key] = half_rounded(isBf16, e32);
      sum += e;
      sum32 += e32;
    }
    sum = block_reduce(sum, red64, add);
    sum32 = (float)block_reduce((double)sum32, red32, add);
    if (p.sinks) {
      sum += exp(sink - top);
      sum32 += expf((float)(sink - top));
    }
    __syncthreads(); /* the probabilities in scratch are complete */

    int width = 8;
    while (width < p.headDimV && width < kReferenceThreads) width *= 2;
    const int lanes = kReferenceThreads / width;
    double ref2 = 0.0, error2 = 0.0, floor2 = 0.0;
    bool bad = false;
    for (int d0 = 0; d0 < p.headDimV; d0 += width) {
      const int d = d0 + tid % width;
      double o = 0.0;
      float o32 = 0.0f;
      if (d < p.headDimV) {
        for (int key = begin + tid / width; key < end; key += lanes) {
          const int stored = stored_token(key, p.repeatShift);
          const float v =
              input_rounded(p.kvFormat, p.inverseScale, p.seed, vTensor, kvBegin + stored, p.kvHeads, kvHead, vDim, d);
          o += s64[key] * v;
          o32 = fmaf(s32[key], v, o32);
        }
      }
      __syncthreads();
      red64[tid] = o;
      red32[tid] = o32;
      __syncthreads();
      if (tid < width && d < p.headDimV) {
        for (int lane = 1; lane < lanes; lane++) {
          o += red64[lane * width + tid];
          o32 += (float)red32[lane * width + tid];
        }
        o = sum > 0.0 ? o / sum * p.kvScale : 0.0;
        o32 = sum32 > 0.0f ? o32 / sum32 * (float)p.kvScale : 0.0f;
        const unsigned short bits =
            ((const unsigned short*)p.o)[(qBegin + token) * p.oTokenStride + qHead * p.oHeadStride + d];
        const float got = half_value(isBf16, bits);
        if (!(fabsf(got) < 1e30f) || (end <= begin && got != 0.0f)) bad = true;
        ref2 += o * o;
        error2 += (got - o) * (got - o);
        const double emulated = half_rounded(isBf16, o32);
        floor2 += (emulated - o) * (emulated - o);
      }
      __syncthreads();
    }
    ref2 = block_reduce(ref2, red64, add);
    error2 = block_reduce(error2, red64, add);
    floor2 = block_reduce(floor2, red64, add);
    double lseError = 0.0;
    if (p.lse) {
      const double want = sum > 0.0 ? top + log(sum) : negativeInfinity;
      const double got = ((const float*)p.lse)[(long long)(qBegin + token) * p.qHeads + qHead];
      if (want == negativeInfinity) {
        bad = bad || got != negativeInfinity;
      } else {
        lseError = fabs(got - want);
        if (!(lseError < 1e30)) bad = true;
      }
    }
    const double anyBad = block_reduce(bad ? 1.0 : 0.0, red64, larger);
    if (tid == 0) {
      double* sums = (double*)p.sums + (long long)index * kReferenceSums;
      sums[0] = ref2;
      sums[1] = error2;
      sums[2] = floor2;
      sums[3] = anyBad > 0.0 ? 0.0 : lseError;
      sums[4] = anyBad;
    }
  }
}

/* Fills K, V or Q; blockIdx.y walks the sequences. */
__device__ __forceinline__ void fill_body(const FillParams& p) {
  for (int sequence = blockIdx.y; sequence < p.batch; sequence += gridDim.y) {
    const int begin = ((const int*)p.start)[sequence];
    const long long count = (long long)(((const int*)p.start)[sequence + 1] - begin) * p.heads * p.dim;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count;
         i += (long long)gridDim.x * blockDim.x) {
      const int d = (int)(i % p.dim);
      const int head = (int)(i / p.dim % p.heads);
      const int token = (int)(i / p.dim / p.heads);
      long long offset = head * p.headStride + d;
      if (p.pageTable) {
        if (p.repeatPages && (token >> p.pageShift & 1)) continue;
        const int page = ((const int*)p.pageTable)[(long long)sequence * p.pageTableStride + (token >> p.pageShift)];
        offset += page * p.blockStride + (token & ((1 << p.pageShift) - 1)) * p.tokenStride;
      } else {
        offset += (begin + token) * p.tokenStride;
      }
      const unsigned short bits =
          input_bits(p.format, p.inverseScale, p.seed, p.tensor, begin + token, p.heads, head, p.dim, d);
      if (p.format == kFormatE4m3) {
        ((unsigned char*)p.base)[offset] = (unsigned char)bits;
      } else {
        ((unsigned short*)p.base)[offset] = bits;
      }
    }
  }
}

/* counts[0] += 16-bit words equal to `word`, counts[1] += a checksum that depends on every word and its place. */
__device__ __forceinline__ void scan_body(const unsigned short* data, unsigned long long words, unsigned short word,
                                          unsigned long long* counts) {
  unsigned long long equal = 0, sum = 0;
  for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < words;
       i += (unsigned long long)gridDim.x * blockDim.x) {
    if (data[i] == word) equal++;
    sum += mix64(i * 65536 + data[i] + 1);
  }
  atomicAdd(counts, equal);
  atomicAdd(counts + 1, sum);
}

}  // namespace attn
