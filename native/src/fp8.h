// FP8 E4M3 (finite, no infinity): 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7F and 0xFF are NaN, largest 448.
// Source: OCP 8-bit floating point specification, E4M3.
#pragma once

#include <cmath>
#include <cstdint>

namespace attn {

constexpr uint8_t kE4m3Nan = 0x7F;

/// Bits of a finite float, round to nearest even, saturating at ±448.
inline uint8_t E4m3Bits(float x) {
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  const float magnitude = std::fabs(x);
  if (magnitude >= 448.0f) return sign | 0x7E;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = f * 2^exponent with f in [0.5, 1)
  const int unit = magnitude < 0.015625f ? -9 : exponent - 4;  // below 2^-6 numbers are subnormal, in units of 2^-9
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -unit)));  // round to nearest even
  if (unit == -9) return static_cast<uint8_t>(sign | steps);  // 8 steps carry into the first normal number
  // steps is 8 … 16 and stands for steps * 2^unit; 16 carries into the next exponent
  return static_cast<uint8_t>(sign | (((unit + 10) << 3) + (steps - 8)));
}

/// Value of the bits; NaN for the two NaN patterns.
inline float E4m3Value(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  if ((bits & 0x7F) == 0x7F) value = NAN;
  return (bits & 0x80) != 0 ? -value : value;
}

}  // namespace attn
