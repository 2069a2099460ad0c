/*
 * Random inputs that are the same bits on every device.
 *
 * A value is a pure function of (seed, tensor, logical index): no generator state, no dependence on memory layout, page
 * table or thread count. The GPU fill kernels, the GPU reference and the CPU reference all include this file, so each can
 * make any element on its own. Compiles as C++17 (g++, clang++) and as device code.
 *
 * Exactness: integer arithmetic up to a 19-bit sum, one exact int->float conversion and one IEEE multiplication, then
 * integer round-to-nearest-even to the stored type (an fp8 cache multiplies by 1 / kvScale before). No step can be
 * contracted or reordered.
 *
 * The top 4 bits of the seed choose the distribution (see InputPattern), so that a case alone names its inputs.
 */
#pragma once

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)
#define ATTN_HD __host__ __device__ __forceinline__
#else
#define ATTN_HD inline
#endif

namespace attn {

typedef unsigned int u32;
typedef unsigned long long u64;

/* Which tensor a value belongs to. The index of K and V is ((kvStart + token) * kvHeads + head) * headDim + d, of Q
 * ((qStart + token) * qHeads + head) * headDim + d, of a sink its query head, where qStart / kvStart are the summed
 * lengths of the sequences before. */
enum TensorId : u32 { kTensorQ = 1, kTensorK = 2, kTensorV = 3, kTensorSink = 4, kTensorPage = 5, kTensorRow = 6 };

/* Chosen by seed >> 28; any other value means kPatternNormal. */
enum InputPattern : u32 {
  kPatternNormal = 0,        /* independent, mean 0, variance 1 */
  kPatternOutliers = 1,      /* dims with d % 32 == 5 of Q and K are 20 times larger: large score growth */
  kPatternTies = 2,          /* every key of a head is the same vector: all scores tie */
  kPatternRepeatedPages = 3, /* values as normal; paged cases map several logical pages to one physical page */
};

/* The 64-bit finaliser of SplitMix64: every input bit reaches every output bit. */
ATTN_HD u64 mix64(u64 x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9ull;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBull;
  x ^= x >> 31;
  return x;
}

/* 64 random bits for one element. */
ATTN_HD u64 random_bits(u32 seed, u32 tensor, u64 index) {
  return mix64(index + 0x9E3779B97F4A7C15ull * (((u64)tensor << 32 | seed) + 1));
}

/* Approximately normal (sum of four uniform 16-bit numbers), mean 0, variance 1, |x| <= 3.47. */
ATTN_HD float normal_value(u32 seed, u32 tensor, u64 index) {
  const u64 bits = random_bits(seed, tensor, index);
  const int sum = (int)(bits & 0xFFFF) + (int)(bits >> 16 & 0xFFFF) + (int)(bits >> 32 & 0xFFFF) + (int)(bits >> 48);
  /* variance of one term is (65536^2 - 1) / 12, so the sum's deviation is 65536 / sqrt(3) */
  return (float)(sum - 131070) * 2.6428614e-5f;
}

/* The value of an element of Q, K or V before rounding to 16 bits.
 * @param token   position in its packed sequence list (qStart + token or kvStart + token)
 * @param heads   heads of this tensor, @param dim elements per head, @param d element within the head */
ATTN_HD float input_value(u32 seed, u32 tensor, u64 token, u32 heads, u32 head, u32 dim, u32 d) {
  const u32 pattern = seed >> 28;
  if (pattern == kPatternTies && tensor == kTensorK) token = 0;
  const float x = normal_value(seed, tensor, (token * heads + head) * dim + d);
  if (pattern == kPatternOutliers && tensor != kTensorV && d % 32 == 5) return x * 20.0f;
  return x;
}

/* bf16 bits of a finite float, round to nearest even. */
ATTN_HD unsigned short bf16_bits(float x) {
  union {
    float f;
    u32 u;
  } v;
  v.f = x;
  return (unsigned short)((v.u + 0x7FFFu + (v.u >> 16 & 1u)) >> 16);
}

ATTN_HD float bf16_value(unsigned short bits) {
  union {
    u32 u;
    float f;
  } v;
  v.u = (u32)bits << 16;
  return v.f;
}

/* fp16 bits of a finite float with |x| < 65520, round to nearest even, subnormals included. */
ATTN_HD unsigned short fp16_bits(float x) {
  union {
    float f;
    u32 u;
  } v;
  v.f = x;
  const u32 sign = v.u >> 16 & 0x8000u;
  const u32 magnitude = v.u & 0x7FFFFFFFu;
  if (magnitude < 0x38800000u) { /* below 2^-14: units of 2^-24 */
    if (magnitude < 0x33000000u) return (unsigned short)sign;
    const u32 exponent = magnitude >> 23;
    const u32 mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
    const u32 shift = 126u - exponent; /* 14 … 24 */
    const u32 half = 1u << (shift - 1u);
    u32 r = mantissa >> shift;
    const u32 rest = mantissa & ((1u << shift) - 1u);
    if (rest > half || (rest == half && (r & 1u))) r++;
    return (unsigned short)(sign | r);
  }
  const u32 rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
  return (unsigned short)(sign | ((rounded - 0x38000000u) >> 13));
}

ATTN_HD float fp16_value(unsigned short bits) {
  const u32 exponent = bits >> 10 & 31u;
  const u32 mantissa = bits & 0x3FFu;
  union {
    u32 u;
    float f;
  } v;
  if (exponent == 0) {
    v.f = (float)mantissa * 5.9604644775390625e-8f; /* 2^-24 */
  } else {
    v.u = (exponent == 31u ? 0xFFu : exponent + 112u) << 23 | mantissa << 13;
  }
  v.u |= (u32)(bits & 0x8000u) << 16;
  return v.f;
}

/* FP8 E4M3 bits of a finite float, round to nearest even, saturating at +-448. One sign, four exponent (bias 7) and three
 * mantissa bits; 0x7F and 0xFF are NaN, there is no infinity. (OCP 8-bit floating point specification, E4M3) */
ATTN_HD unsigned char e4m3_bits(float x) {
  union {
    float f;
    u32 u;
  } v;
  v.f = x;
  const u32 sign = v.u >> 24 & 0x80u;
  const u32 magnitude = v.u & 0x7FFFFFFFu;
  if (magnitude >= 0x43E00000u) return (unsigned char)(sign | 0x7Eu); /* 448 and more */
  if (magnitude < 0x3C800000u) {                                      /* below 2^-6: units of 2^-9 */
    if (magnitude < 0x3A800000u) return (unsigned char)sign;          /* below 2^-10, half a unit */
    const u32 mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
    const u32 shift = 141u - (magnitude >> 23); /* 21 … 24 */
    const u32 half = 1u << (shift - 1u);
    u32 r = mantissa >> shift;
    const u32 rest = mantissa & ((1u << shift) - 1u);
    if (rest > half || (rest == half && (r & 1u))) r++; /* 8 units carry into the first normal number */
    return (unsigned char)(sign | r);
  }
  const u32 rounded = magnitude + 0x7FFFFu + (magnitude >> 20 & 1u);
  return (unsigned char)(sign | ((rounded >> 20) - (120u << 3)));
}

/* Value of E4M3 bits; NaN for the two NaN patterns. */
ATTN_HD float e4m3_value(unsigned char bits) {
  const u32 exponent = bits >> 3 & 15u;
  const u32 mantissa = bits & 7u;
  union {
    u32 u;
    float f;
  } v;
  if (exponent == 0) {
    v.f = (float)mantissa * 0.001953125f; /* 2^-9 */
  } else {
    v.u = (bits & 0x7Fu) == 0x7Fu ? 0x7FC00000u : (exponent + 120u) << 23 | mantissa << 20;
  }
  v.u |= (u32)(bits & 0x80u) << 24;
  return v.f;
}

/* How an element is stored. */
enum ElementFormat : int { kFormatFp16 = 0, kFormatBf16 = 1, kFormatE4m3 = 2 };

/* Bits of an input element as it is stored: 16 of them, or 8 of e4m3(x * inverseScale). */
ATTN_HD unsigned short input_bits(int format, float inverseScale, u32 seed, u32 tensor, u64 token, u32 heads, u32 head,
                                  u32 dim, u32 d) {
  const float x = input_value(seed, tensor, token, heads, head, dim, d);
  if (format == kFormatE4m3) return e4m3_bits(x * inverseScale);
  return format == kFormatBf16 ? bf16_bits(x) : fp16_bits(x);
}

/* The value that stored bits stand for, before the scale of an fp8 cache. */
ATTN_HD float stored_value(int format, unsigned short bits) {
  if (format == kFormatE4m3) return e4m3_value((unsigned char)bits);
  return format == kFormatBf16 ? bf16_value(bits) : fp16_value(bits);
}

/* The same element as the value the kernels compute with, before the scale of an fp8 cache. */
ATTN_HD float input_rounded(int format, float inverseScale, u32 seed, u32 tensor, u64 token, u32 heads, u32 head, u32 dim,
                            u32 d) {
  return stored_value(format, input_bits(format, inverseScale, seed, tensor, token, heads, head, dim, d));
}

/* Sink logit of a query head. The softmax scale is not applied to it. */
ATTN_HD float sink_value(u32 seed, u32 head) { return normal_value(seed, kTensorSink, head); }

}  // namespace attn
