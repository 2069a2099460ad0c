/*
 * What the hardware can do at most: a read-only stream, a copy and a tensor-core issue loop, and a clock probe.
 */
#pragma once
#include "../common/ptx.cuh"
#include "../common/random_inputs.h"

namespace attn {

/* Reads `vectors` 16-byte vectors once, eight loads in flight per thread; `sink` is written only for an impossible sum. */
__device__ __forceinline__ void read_stream_body(const uint4* data, unsigned long long vectors, unsigned* sink) {
  const unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  const unsigned long long tid = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
  unsigned mixed = 0;
  for (unsigned long long i = tid; i < vectors; i += threads * 8) {
    uint4 v[8];
#pragma unroll
    for (int k = 0; k < 8; k++) {
      const unsigned long long at = i + k * threads;
      v[k] = at < vectors ? __ldcs(data + at) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) mixed |= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
  }
  if (mixed == 0x12345678u) *sink = mixed;
}

/* Copies `vectors` 16-byte vectors, four in flight per thread. */
__device__ __forceinline__ void copy_stream_body(uint4* to, const uint4* from, unsigned long long vectors) {
  const unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  const unsigned long long tid = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
  for (unsigned long long i = tid; i < vectors; i += threads * 4) {
    uint4 v[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (i + k * threads < vectors) v[k] = __ldcs(from + i + k * threads);
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (i + k * threads < vectors) __stcs(to + i + k * threads, v[k]);
    }
  }
}

/* 16 mma.m16n8k16 on random bf16 data per round and warp, in eight independent chains: 16 * 4096 operations. */
__device__ __forceinline__ void mma_loop_body(int rounds, float* sink) {
  unsigned a[2][4];
  unsigned b[4][2];
  const u32 lane = blockIdx.x * blockDim.x + threadIdx.x;
  for (int i = 0; i < 8; i++) {
    const float x = normal_value(1, 7, lane * 32 + i * 2), y = normal_value(1, 7, lane * 32 + i * 2 + 1);
    a[i >> 2][i & 3] = pack2<Bf16>(x, y);
    b[i >> 1][i & 1] = pack2<Bf16>(y, -x);
  }
  float d[2][4][4] = {};
  for (int round = 0; round < rounds; round++) {
#pragma unroll
    for (int twice = 0; twice < 2; twice++) {
#pragma unroll
      for (int i = 0; i < 8; i++) mma16816<Bf16>(d[i >> 2][i & 3], a[i >> 2], b[i & 3][0], b[i & 3][1]);
    }
  }
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < 32; i++) total += d[i >> 4][i >> 2 & 3][i & 3];
  if (total == 1.2345e30f) *sink = total;
}

/* Spins for `nanoseconds` and writes elapsed {SM clocks, nanoseconds}: the SM clock right after the work before it. */
__device__ __forceinline__ void clock_probe_body(unsigned long long nanoseconds, unsigned long long* out) {
  unsigned long long begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(begin)::"memory");
  unsigned long long edge = begin;
  while (edge == begin) asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(edge)::"memory");
  const long long clocks = clock64();
  now = edge;
  while (now - edge < nanoseconds) asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(now)::"memory");
  out[0] = (unsigned long long)(clock64() - clocks);
  out[1] = now - edge;
}

}  // namespace attn
