// The float64 reference: one row of attention at a time, two plain passes over the keys, inputs made from the seed.
// It shares no code and no storage with what it checks, except the definition of the inputs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "session.h"

namespace attn {

/// One row of the output: a query token of a sequence and a query head.
struct RowId {
  int64_t sequence = 0;
  int64_t q_index = 0;
  int64_t head = 0;
};

/// What a row should be. `out` and `rounded_out` have head_dim_v elements.
struct ReferenceRow {
  RowId id;
  std::vector<double> out;
  /// The same row when P and O are rounded to the case's dtype and sums are fp32: what rounding alone costs.
  std::vector<double> rounded_out;
  /// Natural log of the sum of exponentials, -inf for a row without keys and sink.
  double lse = 0.0;
};

/// Rows to check of a valid case, sorted by sequence and KV head: all of them when `count` is empty or at least the
/// number of rows, else the first, the last, the neighbours of tile edges and seeded random ones.
std::vector<RowId> SampleRows(const AttentionCase& spec, std::optional<int64_t> count);

/// Computes the rows on up to `threads` threads and gives each to `receive`, which must allow calls from several
/// threads at once. @return false when cancelled
bool ComputeReferenceRows(const AttentionCase& spec, const std::vector<RowId>& rows, int threads,
                          const CancelFlag& cancel, const std::function<void(const ReferenceRow&)>& receive);

/// Element of K or V as a device stores it: rounded to 16 bits, or to fp8 (times KvScale gives the real value).
/// @param token position within the sequence, @param kv_start start of the sequence in the packed token list
float StoredKey(const AttentionCase& spec, int64_t kv_start, int64_t token, int64_t kv_head, int64_t d);
float StoredValue(const AttentionCase& spec, int64_t kv_start, int64_t token, int64_t kv_head, int64_t d);

}  // namespace attn
