// What a valid case amounts to: which keys a row sees, how much arithmetic and memory it is. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/common/random_inputs.h"
#include "session.h"

namespace attn {

/// Half-open range of key positions within a sequence; empty when begin >= end.
struct KeyRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Keys that query `q_index` of a sequence sees. Causal is bottom-right aligned: the query stands at key position
/// kv_len - q_len + q_index; a window counts that position as its last key.
KeyRange VisibleKeys(const AttentionCase& spec, int64_t q_len, int64_t kv_len, int64_t q_index);

/// Start of each sequence in the packed token list, `batch + 1` numbers long.
std::vector<int64_t> PackedStarts(const Lengths& lengths, int64_t batch);

/// (query, visible key) pairs over all sequences, for one head.
double VisiblePairs(const AttentionCase& spec);

/// Useful floating-point operations: 2 (head_dim + head_dim_v) per (query, visible key, query head).
double CaseFlops(const AttentionCase& spec);

/// Bytes of K and V as stored, each read once (mlaDecode stores one tensor for both).
double KvBytes(const AttentionCase& spec);

/// Bytes of one stored K or V element: 2, or 1 for fp8.
int64_t KvElementBytes(const AttentionCase& spec);

/// Whether a case is judged by the bytes of K and V it reads per second (decode) instead of its operations (prefill). MLA
/// decode can be either, by its operations per byte. extension/core/measure/countedRate.ts says the same.
bool CountsBytes(const AttentionCase& spec);

/// Softmax scale, 1 / sqrt(head_dim).
double SoftmaxScale(const AttentionCase& spec);

/// How elements of Q and O, and of K and V, are stored.
ElementFormat ElementFormatOf(DType dtype);
ElementFormat KvFormatOf(const AttentionCase& spec);

/// The factor from stored to real K and V, as the fp32 number that devices are given, and the factor back; 1 for 16-bit KV.
double KvScale(const AttentionCase& spec);
float InverseKvScale(const AttentionCase& spec);

}  // namespace attn
