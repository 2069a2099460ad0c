#include "case_math.h"

#include <algorithm>
#include <cmath>

namespace attn {
namespace {

/// Operations per byte of KV from which MLA decode is nearer to the tensor cores' ceiling than to memory's: an H200 reads
/// 4.5 TB/s and multiplies 720 TFLOP/s.
constexpr double kTensorBoundFlopPerByte = 160.0;

/// Sum over positions 0 … n-1 of the keys seen there: min(position + 1, window).
double CausalPairsBelow(int64_t n, int64_t window) {
  const double w = static_cast<double>(std::min(n, window));
  return w * (w + 1) / 2 + (static_cast<double>(n) - w) * static_cast<double>(window);
}

}  // namespace

KeyRange VisibleKeys(const AttentionCase& spec, int64_t q_len, int64_t kv_len, int64_t q_index) {
  if (!spec.causal) return {0, kv_len};
  const int64_t position = kv_len - q_len + q_index;
  KeyRange range{0, std::max<int64_t>(0, position + 1)};
  if (spec.window.has_value()) range.begin = std::max<int64_t>(0, position + 1 - *spec.window);
  return range;
}

std::vector<int64_t> PackedStarts(const Lengths& lengths, int64_t batch) {
  std::vector<int64_t> starts(static_cast<size_t>(batch) + 1, 0);
  for (int64_t b = 0; b < batch; ++b) {
    starts[static_cast<size_t>(b) + 1] = starts[static_cast<size_t>(b)] + lengths.At(b);
  }
  return starts;
}

double VisiblePairs(const AttentionCase& spec) {
  double pairs = 0.0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t q_len = spec.q_lens.At(b);
    const int64_t kv_len = spec.kv_lens.At(b);
    if (!spec.causal) {
      pairs += static_cast<double>(q_len) * static_cast<double>(kv_len);
      continue;
    }
    const int64_t window = spec.window.value_or(kv_len);
    pairs += CausalPairsBelow(kv_len, window) - CausalPairsBelow(std::max<int64_t>(0, kv_len - q_len), window);
  }
  return pairs;
}

double CaseFlops(const AttentionCase& spec) {
  return 2.0 * static_cast<double>(spec.head_dim + spec.head_dim_v) * VisiblePairs(spec) *
         static_cast<double>(spec.q_heads);
}

int64_t KvElementBytes(const AttentionCase& spec) { return spec.kv_dtype == KvDType::kFp8E4m3 ? 1 : 2; }

double KvBytes(const AttentionCase& spec) {
  double tokens = 0.0;
  for (int64_t b = 0; b < spec.batch; ++b) tokens += static_cast<double>(spec.kv_lens.At(b));
  const int64_t dims = spec.op == Op::kMlaDecode ? spec.head_dim : spec.head_dim + spec.head_dim_v;
  return tokens * static_cast<double>(spec.kv_heads) * static_cast<double>(dims) *
         static_cast<double>(KvElementBytes(spec));
}

bool CountsBytes(const AttentionCase& spec) {
  if (spec.op != Op::kMlaDecode) return spec.op == Op::kDecode;
  int64_t longest = 0;
  for (int64_t b = 0; b < spec.batch; ++b) longest = std::max(longest, spec.q_lens.At(b));
  const double flops = 2.0 * static_cast<double>((spec.head_dim + spec.head_dim_v) * spec.q_heads * longest);
  return flops / static_cast<double>(spec.head_dim * KvElementBytes(spec)) < kTensorBoundFlopPerByte;
}

double SoftmaxScale(const AttentionCase& spec) { return 1.0 / std::sqrt(static_cast<double>(spec.head_dim)); }

ElementFormat ElementFormatOf(DType dtype) { return dtype == DType::kBf16 ? kFormatBf16 : kFormatFp16; }

ElementFormat KvFormatOf(const AttentionCase& spec) {
  return spec.kv_dtype == KvDType::kFp8E4m3 ? kFormatE4m3 : ElementFormatOf(spec.dtype);
}

double KvScale(const AttentionCase& spec) {
  return spec.kv_dtype == KvDType::kAuto ? 1.0 : static_cast<double>(static_cast<float>(spec.kv_scale));
}

float InverseKvScale(const AttentionCase& spec) {
  return spec.kv_dtype == KvDType::kAuto ? 1.0f : 1.0f / static_cast<float>(spec.kv_scale);
}

}  // namespace attn
