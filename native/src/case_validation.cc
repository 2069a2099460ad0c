#include "case_validation.h"

#include <algorithm>
#include <cmath>

namespace attn {
namespace {

constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMlaHeadDim = 576;
constexpr int64_t kMlaHeadDimV = 512;
constexpr int64_t kPageSizes[] = {16, 32, 64, 128, 256};

/// No machine holds a tensor of more elements; below it, every index fits 63 bits with room to spare.
constexpr double kMaxElements = 70368744177664.0;  // 2^46

std::optional<Reason> Because(const char* code, std::string text) { return Reason{code, std::move(text)}; }

std::optional<Reason> ValidateHeadDim(const char* code, int64_t value) {
  const std::string name(code);
  const std::string shown = name + " " + std::to_string(value);
  if (value < 8 || value > kMaxHeadDim) {
    return Because(code, shown + " is outside 8 to " + std::to_string(kMaxHeadDim) +
                             "; choose a multiple of 8 in that range.");
  }
  if (value % 8 != 0) {
    return Because(code, shown + " is not a multiple of 8, so rows would not be aligned to 16 bytes; the next " +
                             "supported value is " + std::to_string((value + 7) / 8 * 8) + ".");
  }
  return std::nullopt;
}

std::optional<Reason> ValidateDims(const AttentionCase& spec) {
  if (spec.op == Op::kMlaDecode) {
    if (spec.head_dim == kMlaHeadDim && spec.head_dim_v == kMlaHeadDimV && spec.kv_heads == 1) return std::nullopt;
    return Because("mlaShape",
                   "mlaDecode needs headDim 576 (512 latent + 64 rope), headDimV 512 and kvHeads 1; got headDim " +
                       std::to_string(spec.head_dim) + ", headDimV " + std::to_string(spec.head_dim_v) +
                       " and kvHeads " + std::to_string(spec.kv_heads) + ".");
  }
  if (auto reason = ValidateHeadDim("headDim", spec.head_dim)) return reason;
  return ValidateHeadDim("headDimV", spec.head_dim_v);
}

std::optional<Reason> ValidateHeads(const AttentionCase& spec) {
  if (spec.q_heads < 1) return Because("qHeads", "qHeads is 0; at least one query head is needed.");
  if (spec.kv_heads < 1) return Because("kvHeads", "kvHeads is 0; at least one KV head is needed.");
  if (spec.q_heads % spec.kv_heads != 0) {
    return Because("headGroup", "qHeads " + std::to_string(spec.q_heads) + " is not a multiple of kvHeads " +
                                    std::to_string(spec.kv_heads) + ", so query heads cannot share KV heads evenly.");
  }
  return std::nullopt;
}

std::optional<Reason> ValidateLengths(const char* code, const Lengths& lengths, int64_t batch) {
  const size_t expected = lengths.uniform ? 1 : static_cast<size_t>(batch);
  if (lengths.values.size() != expected) {
    return Because(code, std::string(code) + " lists " + std::to_string(lengths.values.size()) +
                             " lengths for a batch of " + std::to_string(batch) + "; write one per sequence.");
  }
  if (std::any_of(lengths.values.begin(), lengths.values.end(), [](int64_t n) { return n < 0; })) {
    return Because(code, std::string(code) + " has a negative length.");
  }
  return std::nullopt;
}

double TotalTokens(const Lengths& lengths, int64_t batch) {
  if (lengths.uniform) return static_cast<double>(lengths.values[0]) * static_cast<double>(batch);
  double sum = 0.0;
  for (int64_t n : lengths.values) sum += static_cast<double>(n);
  return sum;
}

}  // namespace

std::optional<Reason> ValidateCase(const AttentionCase& spec) {
  if (spec.batch < 1) return Because("batch", "batch is 0; at least one sequence is needed.");
  if (auto reason = ValidateHeads(spec)) return reason;
  if (auto reason = ValidateDims(spec)) return reason;
  if (auto reason = ValidateLengths("qLens", spec.q_lens, spec.batch)) return reason;
  if (auto reason = ValidateLengths("kvLens", spec.kv_lens, spec.batch)) return reason;

  if (spec.page_size.has_value() &&
      std::find(std::begin(kPageSizes), std::end(kPageSizes), *spec.page_size) == std::end(kPageSizes)) {
    return Because("pageSize", "pageSize " + std::to_string(*spec.page_size) +
                                   " is not one of 16, 32, 64, 128 and 256 tokens.");
  }
  if (spec.window.has_value()) {
    if (*spec.window < 1) return Because("window", "A sliding window of 0 keys sees nothing; use 1 or more.");
    if (!spec.causal) {
      return Because("window", "A sliding window ends at the query's own position, so it needs causal attention.");
    }
  }
  if (!std::isfinite(spec.softcap) || spec.softcap < 0) {
    return Because("softcap", "softcap must be 0 (off) or a positive number.");
  }
  if (!std::isfinite(spec.kv_scale) || spec.kv_scale <= 0) {
    return Because("kvScale", "kvScale must be a positive number.");
  }
  if (spec.kv_dtype == KvDType::kAuto && spec.kv_scale != 1.0) {
    return Because("kvScale", "kvScale applies to fp8 KV only; a 16-bit KV cache needs kvScale 1.");
  }

  const double q_tokens = TotalTokens(spec.q_lens, spec.batch);
  const double kv_tokens = TotalTokens(spec.kv_lens, spec.batch);
  if (q_tokens == 0) return Because("noQueries", "Every qLen is 0, so there is no output to check.");
  const double widest = static_cast<double>(std::max(spec.head_dim, spec.head_dim_v));
  if (q_tokens * static_cast<double>(spec.q_heads) * widest > kMaxElements ||
      kv_tokens * static_cast<double>(spec.kv_heads) * widest > kMaxElements) {
    return Because("tooLarge", "One tensor of this case has more than 2^46 elements; no machine holds that.");
  }
  return std::nullopt;
}

}  // namespace attn
