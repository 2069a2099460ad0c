/**
 * One-line wrappers around the Hopper instructions the kernels use. Each names its section of the PTX ISA (version 8.7).
 * Addresses of shared memory are 32-bit values of the `.shared` window, as the instructions take them.
 */
#pragma once

namespace sm90 {

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

/** A CUtensorMap as the driver's cuTensorMapEncodeTiled writes it; a kernel only ever takes its address. */
struct alignas(64) TensorMap {
  u64 opaque[16];
};

/** 32-bit shared-window address of a pointer into shared memory. (9.7.9.20 cvta) */
__device__ __forceinline__ u32 sharedAddress(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

// ---- mbarrier (9.7.13.15) ------------------------------------------------------------------------------------------

/** Sets up a barrier that completes a phase after `arrivals` arrivals and all announced bytes. */
__device__ __forceinline__ void mbarrierInit(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/** Makes initialised barriers visible to the async proxy (TMA). (9.7.13.15.9 fence.mbarrier_init) */
__device__ __forceinline__ void fenceMbarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrierArrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
/** One arrival that also announces `bytes` of TMA traffic for the current phase. */
__device__ __forceinline__ void mbarrierArriveExpect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ bool mbarrierTryWait(u32 barrier, u32 parity) {
  u32 done;
  asm volatile(
      "{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
/** Blocks until the phase of the given parity is complete. */
__device__ __forceinline__ void mbarrierWait(u32 barrier, u32 parity) {
  while (!mbarrierTryWait(barrier, parity)) {
  }
}

// ---- TMA: bulk tensor copies (9.7.9.27.5) --------------------------------------------------------------------------

/** Loads one box at (c0 = element, c1 = row, c2 = head, c3 = page or batch); counts its bytes on `barrier`. */
__device__ __forceinline__ void tmaLoad4d(u32 destination, const TensorMap* map, u32 barrier, int c0, int c1, int c2,
                                          int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
/** Loads one 5-D box of data that is read once: its lines are the first to leave L2. (9.7.9.2 cache eviction priority) */
__device__ __forceinline__ void tmaLoad5dOnce(u32 destination, const TensorMap* map, u32 barrier, int c0, int c1, int c2, int c3,
                                              int c4) {
  const u64 evictFirst = 0x12F0000000000000;  // what createpolicy.fractional.L2::evict_first gives for all of the data
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4), "l"(evictFirst)
      : "memory");
}
/** Loads one box at (c0 = element, c1 = token, c2 = head). */
__device__ __forceinline__ void tmaLoad3d(u32 destination, const TensorMap* map, u32 barrier, int c0, int c1, int c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}
/** Stores one box from shared memory; joins the thread's open bulk group. */
__device__ __forceinline__ void tmaStore3d(const TensorMap* map, u32 source, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(source), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}
/** Brings a tensor map into the descriptor cache. (9.7.9.28 prefetch.tensormap) */
__device__ __forceinline__ void prefetchTensorMap(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
/** Closes the thread's bulk group. (9.7.9.25.2) */
__device__ __forceinline__ void bulkCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/** Waits until the thread's bulk stores have *read* their shared memory. (9.7.9.25.3) */
__device__ __forceinline__ void bulkWaitRead() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
/** Waits until the thread's bulk stores are complete, writes included. (9.7.9.25.3) */
__device__ __forceinline__ void bulkWait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
/** Orders ordinary writes to shared memory before later reads by wgmma or TMA. (9.7.13.4 fence.proxy.async) */
__device__ __forceinline__ void fenceProxyAsync() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- warpgroup matrix multiply (9.7.15); the multiplies themselves are in wgmma.gen.cuh ----------------------------

/** Orders register and shared-memory accesses before the wgmma batch that follows. (9.7.15.7.1) */
__device__ __forceinline__ void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/** Waits until at most `Pending` of the latest wgmma groups are still running. (9.7.15.7.3) */
template <int Pending>
__device__ __forceinline__ void wgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
/** Keeps the compiler from moving reads of an accumulator above the wait that precedes this. No instruction. */
template <int Count>
__device__ __forceinline__ void pinRegisters(float (&values)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

/**
 * Matrix descriptor for a tile in 128-byte-swizzled shared memory (9.7.15.5.1.2). `leadingBytes`: distance of two 64-wide
 * column chunks of an MN-major operand (ignored for K-major); `strideBytes`: distance of two groups of 8 rows.
 */
__device__ __forceinline__ u64 matrixDescriptor(u32 address, u32 leadingBytes, u32 strideBytes = 1024) {
  const u64 swizzle128 = 1ull << 62;
  return swizzle128 | static_cast<u64>(strideBytes >> 4) << 32 | static_cast<u64>((leadingBytes >> 4) & 0x3fff) << 16 |
         static_cast<u64>((address & 0x3ffff) >> 4);
}

/** A descriptor `bytes` further on. Addresses leave room in the lower word, so the upper one stays as it is, a constant. */
__device__ __forceinline__ u64 advanced(u64 descriptor, u32 bytes) {
  const u32 lower = static_cast<u32>(descriptor) + (bytes >> 4);
  return (descriptor & 0xffffffff00000000ull) | lower;
}

/** Hides where a descriptor comes from, so that sums with it are not kept in registers across a loop. No instruction. */
__device__ __forceinline__ u64 opaque(u64 descriptor) {
  asm volatile("" : "+l"(descriptor));
  return descriptor;
}

// ---- registers, barriers, small arithmetic -------------------------------------------------------------------------

/** Gives registers of this warpgroup back. (9.7.19.5 setmaxnreg) */
template <int Registers>
__device__ __forceinline__ void registersDecrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}
/** Blocks until this warpgroup can own `Registers` registers per thread. (9.7.19.5 setmaxnreg) */
template <int Registers>
__device__ __forceinline__ void registersIncrease() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
/** A value that is the same in all lanes, put into a uniform register, which ptxas would not dare of itself. Whole warp. (9.7.13.6 redux) */
__device__ __forceinline__ int uniform(int value) { return __reduce_max_sync(0xffffffffu, value); }
/** Named barrier: waits for `threads` arrivals. Id 0 is __syncthreads. (9.7.13.1 barrier) */
__device__ __forceinline__ void namedBarrierSync(u32 id, u32 threads) {
  asm volatile("barrier.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/** Named barrier: arrives without waiting. (9.7.13.1 barrier) */
__device__ __forceinline__ void namedBarrierArrive(u32 id, u32 threads) {
  asm volatile("barrier.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
/** Adds one and returns what was there; earlier writes of whoever this thread has synchronised with come first. (9.7.13.8 atom) */
__device__ __forceinline__ u32 atomicArrive(u32* counter) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
}
/** Reads a word another block arrives at. (9.7.9.8 ld.acquire) */
__device__ __forceinline__ u32 loadAcquire(const u32* word) {
  u32 value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
  return value;
}
/** 2^x, flushing subnormals. (9.7.3.22 ex2) */
__device__ __forceinline__ float exp2Approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/** Stores four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. (9.7.14.5.16) */
__device__ __forceinline__ void storeMatrix4(u32 address, u32 a, u32 b, u32 c, u32 d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(a), "r"(b),
               "r"(c), "r"(d)
               : "memory");
}
__device__ __forceinline__ void sharedStore16(u32 address, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
__device__ __forceinline__ uint4 sharedLoad16(u32 address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
  return v;
}

__device__ __forceinline__ void sharedStore4(u32 address, u32 value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}
__device__ __forceinline__ void sharedStoreFloat(u32 address, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}
__device__ __forceinline__ float sharedLoadFloat(u32 address) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  return value;
}

/** Element types: how two floats become one packed register. (9.7.9.22 cvt) */
struct Bf16 {
  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
};
struct Fp16 {
  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
};

}  // namespace sm90
