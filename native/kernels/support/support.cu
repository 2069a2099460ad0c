/* Entry points of the module every session loads: input fill, checks, ceilings, clock probe. */
#include "reference.cuh"
#include "ceilings.cuh"

extern "C" __global__ void __launch_bounds__(256) attn_fill(const __grid_constant__ attn::FillParams p) {
  attn::fill_body(p);
}
extern "C" __global__ void __launch_bounds__(attn::kReferenceThreads, 1)
    attn_reference(const __grid_constant__ attn::ReferenceParams p) {
  attn::reference_body(p);
}
extern "C" __global__ void __launch_bounds__(256)
    attn_scan(const unsigned short* data, unsigned long long words, unsigned short word, unsigned long long* counts) {
  attn::scan_body(data, words, word, counts);
}
extern "C" __global__ void __launch_bounds__(512)
    attn_read_stream(const uint4* data, unsigned long long vectors, unsigned* sink) {
  attn::read_stream_body(data, vectors, sink);
}
extern "C" __global__ void __launch_bounds__(512)
    attn_copy_stream(uint4* to, const uint4* from, unsigned long long vectors) {
  attn::copy_stream_body(to, from, vectors);
}
extern "C" __global__ void __launch_bounds__(256) attn_mma_loop(int rounds, float* sink) {
  attn::mma_loop_body(rounds, sink);
}
extern "C" __global__ void attn_clock_probe(unsigned long long nanoseconds, unsigned long long* out) {
  attn::clock_probe_body(nanoseconds, out);
}
