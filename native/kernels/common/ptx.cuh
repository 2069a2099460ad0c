/*
 * One-line wrappers around the PTX instructions the portable kernels use. Names follow the PTX ISA sections in brackets.
 */
#pragma once

namespace attn {

/* Shared-memory address of a generic pointer, as ldmatrix and cp.async take it. [cvta] */
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return (unsigned)__cvta_generic_to_shared(pointer);
}

/* Copies 16 bytes global -> shared past L1; with valid == false writes 16 zero bytes and reads nothing.
 * [cp.async, src-size operand] */
__device__ __forceinline__ void cp_async16(unsigned dst, const void* src, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(dst), "l"(src), "r"(valid ? 16 : 0));
}
/* Copies 4 bytes global -> shared. [cp.async] */
__device__ __forceinline__ void cp_async4(unsigned dst, const void* src) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\n" ::"r"(dst), "l"(src));
}
/* Closes this thread's group of copies. [cp.async.commit_group] */
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
/* Waits until at most N of this thread's groups are under way. [cp.async.wait_group] */
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

/* Four 8x8 matrices of 16-bit elements from shared memory. [ldmatrix] */
__device__ __forceinline__ void ldmatrix4(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}
/* The same, each matrix transposed. [ldmatrix .trans] */
__device__ __forceinline__ void ldmatrix4_trans(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

struct Bf16 {
  static constexpr bool kIsBf16 = true, kAtRunTime = false;
};
struct Fp16 {
  static constexpr bool kIsBf16 = false, kAtRunTime = false;
};
/* One of the two, as AttentionParams::isBf16 says: for kernels whose multiplies do not depend on it. */
struct Either16 {
  static constexpr bool kAtRunTime = true;
};

/* d += a (16x16, row) * b (16x8, column) with fp32 accumulation. [mma.m16n8k16] */
template <typename T>
__device__ __forceinline__ void mma16816(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if constexpr (T::kIsBf16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/* Two floats rounded to 16 bits, `low` in the lower half. [cvt.rn.bf16x2.f32, cvt.rn.f16x2.f32] */
template <typename T>
__device__ __forceinline__ unsigned pack2(float low, float high) {
  unsigned r;
  if constexpr (T::kIsBf16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(r) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(r) : "f"(high), "f"(low));
  }
  return r;
}

/* 2^x, subnormal results flushed; 2^-inf = 0. [ex2.approx.ftz] */
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}
/* log2(x). [lg2.approx] */
__device__ __forceinline__ float log2_fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

/* Barrier `id` (1..15; 0 is __syncthreads) among `threads` threads. [barrier.sync] */
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

/* Minus infinity. */
__device__ __forceinline__ float negative_infinity() { return __int_as_float((int)0xFF800000); }

/* Adds one to a ticket with acquire-release order at GPU scope and returns what was there. [atom.acq_rel.gpu] */
__device__ __forceinline__ unsigned take_ticket(unsigned* ticket) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;\n" : "=r"(before) : "l"(ticket) : "memory");
  return before;
}

}  // namespace attn
