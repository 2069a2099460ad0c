#include "cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernels/common/random_inputs.h"
#include "case_math.h"
#include "parallel.h"
#include "reference_cpu.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
// One binary for every x86-64; the loader picks the AVX2 + FMA body where the machine has it. (The resolver runs before
// AddressSanitizer is ready.)
#define ATTN_CPU_CLONES __attribute__((target_clones("default", "arch=haswell")))
#else
#define ATTN_CPU_CLONES
#endif

namespace attn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Packed query rows per task (a query token of one head of a KV group each) and keys per tile.
constexpr int64_t kBlockRows = 16;
constexpr int64_t kTileKeys = 64;
constexpr int64_t kTokensPerTask = 256;

constexpr uint16_t kHalfNan = 0x7FFF;  // a NaN as bf16 and as fp16
constexpr uint8_t kE4m3Nan = 0x7F;

/// c[m × n] += a[m × k] · b[k × n]; four rows at a time share each load of b.
ATTN_CPU_CLONES void Accumulate(int64_t m, int64_t k, int64_t n, const double* a, int64_t a_stride, const double* b,
                                int64_t b_stride, double* c, int64_t c_stride) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    double* c0 = c + i * c_stride;
    double* c1 = c0 + c_stride;
    double* c2 = c1 + c_stride;
    double* c3 = c2 + c_stride;
    for (int64_t p = 0; p < k; ++p) {
      const double* row = b + p * b_stride;
      const double* column = a + i * a_stride + p;
      const double a0 = column[0];
      const double a1 = column[a_stride];
      const double a2 = column[2 * a_stride];
      const double a3 = column[3 * a_stride];
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) {
        c0[j] += a0 * row[j];
        c1[j] += a1 * row[j];
        c2[j] += a2 * row[j];
        c3[j] += a3 * row[j];
      }
    }
  }
  for (; i < m; ++i) {
    double* c0 = c + i * c_stride;
    for (int64_t p = 0; p < k; ++p) {
      const double* row = b + p * b_stride;
      const double a0 = a[i * a_stride + p];
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) c0[j] += a0 * row[j];
    }
  }
}

/// Writes `value` everywhere, in pieces between which a cancel is heard. @return false when cancelled
template <typename T>
bool FillBuffer(const Buffer<T>& buffer, T value, int threads, const CancelFlag& cancel) {
  constexpr size_t kPiece = 1 << 20;
  const int64_t pieces = static_cast<int64_t>((buffer.size() + kPiece - 1) / kPiece);
  return ParallelFor(pieces, threads, cancel, [&](int64_t piece) {
    const size_t begin = static_cast<size_t>(piece) * kPiece;
    std::fill(buffer.data() + begin, buffer.data() + std::min(buffer.size(), begin + kPiece), value);
  });
}

}  // namespace

/// Working set of one task.
struct CpuAttention::Scratch {
  Scratch(int64_t head_dim, int64_t head_dim_v)
      : queries(static_cast<size_t>(kBlockRows * head_dim)),
        row(static_cast<size_t>(std::max(head_dim, head_dim_v))),
        keys_transposed(static_cast<size_t>(head_dim * kTileKeys)),
        values(static_cast<size_t>(kTileKeys * head_dim_v)),
        scores(static_cast<size_t>(kBlockRows * kTileKeys)),
        out(static_cast<size_t>(kBlockRows * head_dim_v), 0.0),
        maximum(static_cast<size_t>(kBlockRows), -kInfinity),
        sum(static_cast<size_t>(kBlockRows), 0.0) {}

  std::vector<double> queries;          // [rows, head_dim], already scaled
  std::vector<double> row;              // one K or V row
  std::vector<double> keys_transposed;  // [head_dim, kTileKeys]
  std::vector<double> values;           // [kTileKeys, head_dim_v]
  std::vector<double> scores;           // [rows, kTileKeys], then probabilities
  std::vector<double> out;              // [rows, head_dim_v], not normalised
  std::vector<double> maximum;
  std::vector<double> sum;
};

double CpuAttention::RequiredBytes(const AttentionCase& spec) {
  double q_tokens = 0.0;
  double kv_tokens = 0.0;
  const double page = static_cast<double>(spec.page_size.value_or(1));
  for (int64_t b = 0; b < spec.batch; ++b) {
    q_tokens += static_cast<double>(spec.q_lens.At(b));
    kv_tokens += std::ceil(static_cast<double>(spec.kv_lens.At(b)) / page) * page;
  }
  if (spec.page_size.has_value()) kv_tokens = kv_tokens * 1.125 + page;
  const double kv_dims =
      static_cast<double>(spec.op == Op::kMlaDecode ? spec.head_dim : spec.head_dim + spec.head_dim_v);
  const double q_row = static_cast<double>(spec.head_dim + spec.head_dim_v) * 2 + 8;
  return q_tokens * static_cast<double>(spec.q_heads) * q_row +
         kv_tokens * static_cast<double>(spec.kv_heads) * kv_dims * static_cast<double>(KvElementBytes(spec));
}

CpuAttention::CpuAttention(const AttentionCase& spec)
    : spec_(spec),
      group_(spec.q_heads / spec.kv_heads),
      is_bf16_(spec.dtype == DType::kBf16),
      q_starts_(PackedStarts(spec.q_lens, spec.batch)),
      kv_starts_(PackedStarts(spec.kv_lens, spec.batch)) {
  if (spec.page_size.has_value()) pages_ = BuildPageTable(spec);
  k_ = LayOut(spec.head_dim);
  if (spec.op != Op::kMlaDecode) v_ = LayOut(spec.head_dim_v);
  if (spec.sinks) {
    for (int64_t head = 0; head < spec.q_heads; ++head) {
      sinks_.push_back(sink_value(spec.seed, static_cast<u32>(head)));
    }
  }
  half_values_.resize(65536);
  for (int bits = 0; bits < 65536; ++bits) {
    const unsigned short pattern = static_cast<unsigned short>(bits);
    half_values_[static_cast<size_t>(bits)] = is_bf16_ ? bf16_value(pattern) : fp16_value(pattern);
  }
  fp8_values_.resize(256);
  for (int bits = 0; bits < 256; ++bits) {
    fp8_values_[static_cast<size_t>(bits)] = static_cast<double>(e4m3_value(static_cast<unsigned char>(bits))) * KvScale(spec);
  }
}

bool CpuAttention::Allocate() {
  const size_t q_rows = static_cast<size_t>(q_starts_.back() * spec_.q_heads);
  bool ok = q_.Allocate(q_rows * static_cast<size_t>(spec_.head_dim)) &&
            out_.Allocate(q_rows * static_cast<size_t>(spec_.head_dim_v)) && lse_.Allocate(q_rows);
  for (Storage* storage : {&k_, &v_}) {
    const size_t elements = static_cast<size_t>(storage->elements);
    ok = ok && (spec_.kv_dtype == KvDType::kFp8E4m3 ? storage->fp8.Allocate(elements) : storage->half.Allocate(elements));
  }
  return ok;
}

CpuAttention::Storage CpuAttention::LayOut(int64_t dim) const {
  Storage storage;
  storage.dim = dim;
  const bool paged = spec_.page_size.has_value();
  const int64_t tokens = paged ? *spec_.page_size : kv_starts_.back();
  const int64_t blocks = paged ? pages_.pool_pages : 1;
  storage.block_stride = tokens * spec_.kv_heads * dim;
  storage.token_stride = spec_.kv_layout == KvLayout::kNhd ? spec_.kv_heads * dim : dim;
  storage.head_stride = spec_.kv_layout == KvLayout::kNhd ? dim : tokens * dim;
  storage.elements = blocks * storage.block_stride;
  return storage;
}

int64_t CpuAttention::StorageOffset(const Storage& storage, int64_t sequence, int64_t token, int64_t kv_head) const {
  if (!spec_.page_size.has_value()) {
    return storage.Offset(0, kv_starts_[static_cast<size_t>(sequence)] + token, kv_head);
  }
  return storage.Offset(pages_.At(sequence, token / *spec_.page_size), token % *spec_.page_size, kv_head);
}

void CpuAttention::Store(Storage* storage, int64_t offset, int64_t d, float value) const {
  const size_t at = static_cast<size_t>(offset + d);
  if (spec_.kv_dtype == KvDType::kFp8E4m3) {
    storage->fp8[at] = e4m3_bits(value * InverseKvScale(spec_));
  } else {
    storage->half[at] = is_bf16_ ? bf16_bits(value) : fp16_bits(value);
  }
}

void CpuAttention::Load(const Storage& storage, int64_t offset, int64_t count, double* out) const {
  if (spec_.kv_dtype == KvDType::kFp8E4m3) {
    const uint8_t* bits = storage.fp8.data() + offset;
    for (int64_t d = 0; d < count; ++d) out[d] = fp8_values_[bits[d]];
  } else {
    const uint16_t* bits = storage.half.data() + offset;
    for (int64_t d = 0; d < count; ++d) out[d] = half_values_[bits[d]];
  }
}

bool CpuAttention::Poison(int threads, const CancelFlag& cancel) {
  return FillBuffer(q_, kHalfNan, threads, cancel) && FillBuffer(k_.half, kHalfNan, threads, cancel) &&
         FillBuffer(v_.half, kHalfNan, threads, cancel) && FillBuffer(k_.fp8, kE4m3Nan, threads, cancel) &&
         FillBuffer(v_.fp8, kE4m3Nan, threads, cancel) && FillBuffer(out_, kHalfNan, threads, cancel) &&
         FillBuffer(lse_, std::numeric_limits<double>::quiet_NaN(), threads, cancel);
}

void CpuAttention::FillToken(int64_t sequence, int64_t token) {
  const u64 packed = static_cast<u64>(kv_starts_[static_cast<size_t>(sequence)] + StoredToken(spec_, token));
  const u32 heads = static_cast<u32>(spec_.kv_heads);
  for (Storage* storage : {&k_, &v_}) {
    if (storage->dim == 0) continue;
    const u32 tensor = storage == &k_ ? kTensorK : kTensorV;
    for (int64_t head = 0; head < spec_.kv_heads; ++head) {
      const int64_t offset = StorageOffset(*storage, sequence, token, head);
      for (int64_t d = 0; d < storage->dim; ++d) {
        Store(storage, offset, d,
              input_value(spec_.seed, tensor, packed, heads, static_cast<u32>(head), static_cast<u32>(storage->dim),
                          static_cast<u32>(d)));
      }
    }
  }
}

bool CpuAttention::Fill(int threads, const CancelFlag& cancel) {
  for (int64_t b = 0; b < spec_.batch; ++b) {
    const int64_t tokens = spec_.kv_lens.At(b);
    const bool complete = ParallelFor((tokens + kTokensPerTask - 1) / kTokensPerTask, threads, cancel, [&](int64_t task) {
      const int64_t end = std::min(tokens, (task + 1) * kTokensPerTask);
      for (int64_t token = task * kTokensPerTask; token < end && !cancel.load(std::memory_order_relaxed); ++token) {
        // a page shared by two logical pages is written by the first only
        if (StoredToken(spec_, token) == token) FillToken(b, token);
      }
    });
    if (!complete) return false;
  }
  const int64_t q_tokens = q_starts_.back();
  return ParallelFor((q_tokens + kTokensPerTask - 1) / kTokensPerTask, threads, cancel, [&](int64_t task) {
    const int64_t end = std::min(q_tokens, (task + 1) * kTokensPerTask);
    for (int64_t token = task * kTokensPerTask; token < end && !cancel.load(std::memory_order_relaxed); ++token) {
      for (int64_t head = 0; head < spec_.q_heads; ++head) {
        uint16_t* row = q_.data() + (token * spec_.q_heads + head) * spec_.head_dim;
        for (int64_t d = 0; d < spec_.head_dim; ++d) {
          row[d] = input_bits(ElementFormatOf(spec_.dtype), 1.0f, spec_.seed, kTensorQ, static_cast<u64>(token),
                              static_cast<u32>(spec_.q_heads), static_cast<u32>(head), static_cast<u32>(spec_.head_dim),
                              static_cast<u32>(d));
        }
      }
    }
  });
}

bool CpuAttention::Run(int threads, const CancelFlag& cancel) {
  // tasks: every (sequence, KV head, block of packed rows)
  std::vector<int64_t> first_task{0};
  for (int64_t b = 0; b < spec_.batch; ++b) {
    const int64_t blocks = (spec_.q_lens.At(b) * group_ + kBlockRows - 1) / kBlockRows;
    first_task.push_back(first_task.back() + blocks * spec_.kv_heads);
  }
  return ParallelFor(first_task.back(), threads, cancel, [&](int64_t task) {
    const auto after = std::upper_bound(first_task.begin(), first_task.end(), task);
    const int64_t sequence = static_cast<int64_t>(after - first_task.begin()) - 1;
    const int64_t within = task - first_task[static_cast<size_t>(sequence)];
    RunBlock(sequence, within % spec_.kv_heads, within / spec_.kv_heads * kBlockRows, cancel);
  });
}

bool CpuAttention::RunBlock(int64_t sequence, int64_t kv_head, int64_t first_row, const CancelFlag& cancel) {
  const int64_t q_len = spec_.q_lens.At(sequence);
  const int64_t kv_len = spec_.kv_lens.At(sequence);
  const int64_t rows = std::min(kBlockRows, q_len * group_ - first_row);
  Scratch scratch(spec_.head_dim, spec_.head_dim_v);
  LoadQueries(sequence, kv_head, first_row, rows, &scratch);
  // Rows are ordered by query token, so the first sees the earliest key and the last sees the latest.
  const int64_t begin = VisibleKeys(spec_, q_len, kv_len, first_row / group_).begin;
  const int64_t end = VisibleKeys(spec_, q_len, kv_len, (first_row + rows - 1) / group_).end;
  for (int64_t tile = begin; tile < end; tile += kTileKeys) {
    if (cancel.load(std::memory_order_relaxed)) return false;
    FoldTile(sequence, kv_head, first_row, rows, tile, std::min(end, tile + kTileKeys), &scratch);
  }
  WriteOutputs(sequence, kv_head, first_row, rows, scratch);
  return true;
}

void CpuAttention::LoadQueries(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows,
                               Scratch* scratch) const {
  const double scale = SoftmaxScale(spec_);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t token = q_starts_[static_cast<size_t>(sequence)] + (first_row + r) / group_;
    const int64_t head = kv_head * group_ + (first_row + r) % group_;
    const uint16_t* bits = q_.data() + (token * spec_.q_heads + head) * spec_.head_dim;
    double* query = scratch->queries.data() + r * spec_.head_dim;
    for (int64_t d = 0; d < spec_.head_dim; ++d) query[d] = scale * static_cast<double>(half_values_[bits[d]]);
    if (spec_.sinks) {
      scratch->maximum[static_cast<size_t>(r)] = sinks_[static_cast<size_t>(head)];
      scratch->sum[static_cast<size_t>(r)] = 1.0;
    }
  }
}

void CpuAttention::FoldTile(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows, int64_t tile_begin,
                            int64_t tile_end, Scratch* scratch) const {
  const int64_t keys = tile_end - tile_begin;
  const int64_t dim_v = spec_.head_dim_v;
  for (int64_t k = 0; k < keys; ++k) {
    double* value = scratch->values.data() + k * dim_v;
    Load(k_, StorageOffset(k_, sequence, tile_begin + k, kv_head), spec_.head_dim, scratch->row.data());
    for (int64_t d = 0; d < spec_.head_dim; ++d) {
      scratch->keys_transposed[static_cast<size_t>(d * kTileKeys + k)] = scratch->row[static_cast<size_t>(d)];
    }
    if (v_.dim == 0) {
      std::copy_n(scratch->row.data(), dim_v, value);
    } else {
      Load(v_, StorageOffset(v_, sequence, tile_begin + k, kv_head), dim_v, value);
    }
  }

  std::fill(scratch->scores.begin(), scratch->scores.end(), 0.0);
  Accumulate(rows, spec_.head_dim, keys, scratch->queries.data(), spec_.head_dim, scratch->keys_transposed.data(),
             kTileKeys, scratch->scores.data(), kTileKeys);

  for (int64_t r = 0; r < rows; ++r) {
    double* scores = scratch->scores.data() + r * kTileKeys;
    const KeyRange seen =
        VisibleKeys(spec_, spec_.q_lens.At(sequence), spec_.kv_lens.At(sequence), (first_row + r) / group_);
    double& maximum = scratch->maximum[static_cast<size_t>(r)];
    double tile_maximum = maximum;
    for (int64_t k = 0; k < keys; ++k) {
      const bool visible = tile_begin + k >= seen.begin && tile_begin + k < seen.end;
      if (!visible) {
        scores[k] = -kInfinity;
        continue;
      }
      if (spec_.softcap > 0) scores[k] = spec_.softcap * std::tanh(scores[k] / spec_.softcap);
      if (!(scores[k] <= tile_maximum)) tile_maximum = scores[k];  // lets a NaN through, which std::max would hide
    }
    if (tile_maximum == -kInfinity) {
      std::fill(scores, scores + keys, 0.0);
      continue;
    }
    const double rescale = std::exp(maximum - tile_maximum);
    double tile_sum = 0.0;
    for (int64_t k = 0; k < keys; ++k) {
      scores[k] = std::exp(scores[k] - tile_maximum);
      tile_sum += scores[k];
    }
    scratch->sum[static_cast<size_t>(r)] = scratch->sum[static_cast<size_t>(r)] * rescale + tile_sum;
    maximum = tile_maximum;
    double* out = scratch->out.data() + r * dim_v;
    for (int64_t d = 0; d < dim_v; ++d) out[d] *= rescale;
  }
  Accumulate(rows, keys, dim_v, scratch->scores.data(), kTileKeys, scratch->values.data(), dim_v, scratch->out.data(),
             dim_v);
}

void CpuAttention::WriteOutputs(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows,
                                const Scratch& scratch) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t token = q_starts_[static_cast<size_t>(sequence)] + (first_row + r) / group_;
    const int64_t row = token * spec_.q_heads + kv_head * group_ + (first_row + r) % group_;
    const double sum = scratch.sum[static_cast<size_t>(r)];
    const double* out = scratch.out.data() + r * spec_.head_dim_v;
    for (int64_t d = 0; d < spec_.head_dim_v; ++d) {
      const float value = sum == 0 ? 0.0f : static_cast<float>(out[d] / sum);  // NaN stays NaN
      out_[static_cast<size_t>(row * spec_.head_dim_v + d)] = is_bf16_ ? bf16_bits(value) : fp16_bits(value);
    }
    lse_[static_cast<size_t>(row)] = scratch.maximum[static_cast<size_t>(r)] + std::log(sum);
  }
}

void CpuAttention::ReadOutput(int64_t token, int64_t head, double* out) const {
  const uint16_t* bits = out_.data() + (token * spec_.q_heads + head) * spec_.head_dim_v;
  for (int64_t d = 0; d < spec_.head_dim_v; ++d) out[d] = half_values_[bits[d]];
}

}  // namespace attn
