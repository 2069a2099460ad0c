#include "reference_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "../kernels/common/random_inputs.h"
#include "case_math.h"
#include "page_table.h"
#include "parallel.h"

namespace attn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Tokens made per task when a head's K and V are filled in: small enough to hear a cancel within milliseconds.
constexpr int64_t kTokensPerTask = 256;

/// Tile edges of the kernels are multiples of 16 or more; rows next to these are where masks go wrong.
constexpr int64_t kTileEdges[] = {16, 32, 64, 128, 192, 256};

float RoundTo(DType dtype, float x) {
  return dtype == DType::kBf16 ? bf16_value(bf16_bits(x)) : fp16_value(fp16_bits(x));
}

float StoredKvElement(const AttentionCase& spec, u32 tensor, int64_t kv_start, int64_t token, int64_t kv_head,
                      int64_t dim, int64_t d) {
  const float x = input_value(spec.seed, tensor, static_cast<u64>(kv_start + StoredToken(spec, token)),
                              static_cast<u32>(spec.kv_heads), static_cast<u32>(kv_head), static_cast<u32>(dim),
                              static_cast<u32>(d));
  if (spec.kv_dtype == KvDType::kAuto) return RoundTo(spec.dtype, x);
  return e4m3_value(e4m3_bits(x * InverseKvScale(spec)));
}

/// Stored K and V of one KV head of one sequence over the keys that some row sees.
struct KvHead {
  int64_t begin = 0;
  int64_t head_dim = 0;
  int64_t head_dim_v = 0;
  std::vector<float> keys;
  std::vector<float> values;

  const float* Key(int64_t token) const { return keys.data() + (token - begin) * head_dim; }
  const float* Value(int64_t token) const { return values.data() + (token - begin) * head_dim_v; }
};

bool FillKvHead(const AttentionCase& spec, int64_t kv_start, int64_t kv_head, KeyRange range, int threads,
                const CancelFlag& cancel, KvHead* out) {
  out->begin = range.begin;
  out->head_dim = spec.head_dim;
  out->head_dim_v = spec.head_dim_v;
  const int64_t tokens = std::max<int64_t>(0, range.end - range.begin);
  out->keys.resize(static_cast<size_t>(tokens * spec.head_dim));
  out->values.resize(static_cast<size_t>(tokens * spec.head_dim_v));
  return ParallelFor((tokens + kTokensPerTask - 1) / kTokensPerTask, threads, cancel, [&](int64_t task) {
    const int64_t last = std::min(tokens, (task + 1) * kTokensPerTask);
    for (int64_t i = task * kTokensPerTask; i < last; ++i) {
      float* key = out->keys.data() + i * spec.head_dim;
      float* value = out->values.data() + i * spec.head_dim_v;
      for (int64_t d = 0; d < spec.head_dim; ++d) key[d] = StoredKey(spec, kv_start, range.begin + i, kv_head, d);
      if (spec.op == Op::kMlaDecode) {
        std::copy(key, key + spec.head_dim_v, value);
        continue;
      }
      for (int64_t d = 0; d < spec.head_dim_v; ++d) {
        value[d] = StoredValue(spec, kv_start, range.begin + i, kv_head, d);
      }
    }
  });
}

double Dot(const double* a, const float* b, int64_t n) {
  double sums[8] = {};
  for (int64_t i = 0; i < n; i += 8) {  // dimensions are multiples of 8
    for (int64_t j = 0; j < 8; ++j) sums[j] += a[i + j] * static_cast<double>(b[i + j]);
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// The two passes. `scores` is scratch.
void ComputeRow(const AttentionCase& spec, int64_t q_start, const KvHead& kv, RowId id, std::vector<double>* scores,
                ReferenceRow* row) {
  const KeyRange range = VisibleKeys(spec, spec.q_lens.At(id.sequence), spec.kv_lens.At(id.sequence), id.q_index);
  const size_t dims = static_cast<size_t>(spec.head_dim_v);
  row->id = id;
  row->out.assign(dims, 0.0);
  row->rounded_out.assign(dims, 0.0);

  std::vector<double> query(static_cast<size_t>(spec.head_dim));
  for (int64_t d = 0; d < spec.head_dim; ++d) {
    query[static_cast<size_t>(d)] =
        input_rounded(ElementFormatOf(spec.dtype), 1.0f, spec.seed, kTensorQ, static_cast<u64>(q_start + id.q_index),
                      static_cast<u32>(spec.q_heads), static_cast<u32>(id.head), static_cast<u32>(spec.head_dim),
                      static_cast<u32>(d));
  }

  const double kv_scale = KvScale(spec);
  const double scale = SoftmaxScale(spec) * kv_scale;
  const double sink = spec.sinks ? sink_value(spec.seed, static_cast<u32>(id.head)) : -kInfinity;
  double maximum = sink;
  scores->clear();
  for (int64_t k = range.begin; k < range.end; ++k) {
    double score = scale * Dot(query.data(), kv.Key(k), spec.head_dim);
    if (spec.softcap > 0) score = spec.softcap * std::tanh(score / spec.softcap);
    scores->push_back(score);
    maximum = std::max(maximum, score);
  }
  if (maximum == -kInfinity) {
    row->lse = -kInfinity;
    return;
  }

  double sum = spec.sinks ? std::exp(sink - maximum) : 0.0;
  float rounded_sum = static_cast<float>(sum);
  std::vector<float> rounded(dims, 0.0f);
  for (int64_t k = range.begin; k < range.end; ++k) {
    const double p = std::exp((*scores)[static_cast<size_t>(k - range.begin)] - maximum);
    const float p_rounded = RoundTo(spec.dtype, static_cast<float>(p));
    const float* value = kv.Value(k);
    sum += p;
    rounded_sum += static_cast<float>(p);
    for (size_t d = 0; d < dims; ++d) {
      row->out[d] += p * static_cast<double>(value[d]);
      rounded[d] += p_rounded * value[d];
    }
  }
  for (size_t d = 0; d < dims; ++d) {
    row->out[d] *= kv_scale / sum;
    row->rounded_out[d] = RoundTo(spec.dtype, rounded[d] / rounded_sum * static_cast<float>(kv_scale));
  }
  row->lse = maximum + std::log(sum);
}

}  // namespace

float StoredKey(const AttentionCase& spec, int64_t kv_start, int64_t token, int64_t kv_head, int64_t d) {
  return StoredKvElement(spec, kTensorK, kv_start, token, kv_head, spec.head_dim, d);
}

float StoredValue(const AttentionCase& spec, int64_t kv_start, int64_t token, int64_t kv_head, int64_t d) {
  if (spec.op == Op::kMlaDecode) return StoredKey(spec, kv_start, token, kv_head, d);
  return StoredKvElement(spec, kTensorV, kv_start, token, kv_head, spec.head_dim_v, d);
}

std::vector<RowId> SampleRows(const AttentionCase& spec, std::optional<int64_t> count) {
  const std::vector<int64_t> starts = PackedStarts(spec.q_lens, spec.batch);
  const int64_t total = starts.back() * spec.q_heads;
  std::vector<RowId> rows;
  if (!count.has_value() || *count >= total) {
    rows.reserve(static_cast<size_t>(total));
    for (int64_t b = 0; b < spec.batch; ++b) {
      for (int64_t head = 0; head < spec.q_heads; ++head) {  // heads of a KV group are neighbours
        for (int64_t i = 0; i < spec.q_lens.At(b); ++i) rows.push_back({b, i, head});
      }
    }
    return rows;
  }

  std::set<int64_t> chosen;  // packed token * q_heads + head
  const auto add = [&](int64_t token, int64_t head) {
    if (token >= 0 && token < starts.back() && static_cast<int64_t>(chosen.size()) < *count) {
      chosen.insert(token * spec.q_heads + head);
    }
  };
  add(0, 0);
  add(starts.back() - 1, spec.q_heads - 1);
  add(1, 0);
  for (int64_t edge : kTileEdges) {
    for (int64_t token : {edge - 1, edge, edge + 1}) add(token, token % spec.q_heads);
  }
  for (u64 i = 0; static_cast<int64_t>(chosen.size()) < *count; ++i) {
    chosen.insert(static_cast<int64_t>(random_bits(spec.seed, kTensorRow, i) % static_cast<u64>(total)));
  }

  for (int64_t row : chosen) {
    const int64_t token = row / spec.q_heads;
    const auto after = std::upper_bound(starts.begin(), starts.end(), token);
    const int64_t sequence = static_cast<int64_t>(after - starts.begin()) - 1;
    rows.push_back({sequence, token - starts[static_cast<size_t>(sequence)], row % spec.q_heads});
  }
  const int64_t group = spec.q_heads / spec.kv_heads;
  std::sort(rows.begin(), rows.end(), [group](const RowId& a, const RowId& b) {
    return std::make_pair(a.sequence, a.head / group) < std::make_pair(b.sequence, b.head / group);
  });
  return rows;
}

bool ComputeReferenceRows(const AttentionCase& spec, const std::vector<RowId>& rows, int threads,
                          const CancelFlag& cancel, const std::function<void(const ReferenceRow&)>& receive) {
  const std::vector<int64_t> q_starts = PackedStarts(spec.q_lens, spec.batch);
  const std::vector<int64_t> kv_starts = PackedStarts(spec.kv_lens, spec.batch);
  const int64_t group = spec.q_heads / spec.kv_heads;
  for (size_t first = 0; first < rows.size();) {
    const int64_t sequence = rows[first].sequence;
    const int64_t kv_head = rows[first].head / group;
    KeyRange needed{spec.kv_lens.At(sequence), 0};
    size_t last = first;
    while (last < rows.size() && rows[last].sequence == sequence && rows[last].head / group == kv_head) {
      const KeyRange seen =
          VisibleKeys(spec, spec.q_lens.At(sequence), spec.kv_lens.At(sequence), rows[last].q_index);
      if (seen.begin < seen.end) {
        needed.begin = std::min(needed.begin, seen.begin);
        needed.end = std::max(needed.end, seen.end);
      }
      ++last;
    }
    KvHead kv;
    if (!FillKvHead(spec, kv_starts[static_cast<size_t>(sequence)], kv_head, needed, threads, cancel, &kv)) {
      return false;
    }
    const bool complete = ParallelFor(static_cast<int64_t>(last - first), threads, cancel, [&](int64_t task) {
      std::vector<double> scores;
      ReferenceRow row;
      ComputeRow(spec, q_starts[static_cast<size_t>(sequence)], kv, rows[first + static_cast<size_t>(task)], &scores,
                 &row);
      receive(row);
    });
    if (!complete) return false;
    first = last;
  }
  return true;
}

}  // namespace attn
