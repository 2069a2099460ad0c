#include "gpu_case.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "../kernels/common/random_inputs.h"
#include "case_math.h"
#include "correctness.h"
#include "page_table.h"

namespace attn {
namespace {

/// Bytes before and after the output that no kernel may touch.
constexpr size_t kGuardBytes = 64 * 1024;
/// Every byte of poisoned memory; as bf16 or fp16 it is a NaN that no kernel writes.
constexpr unsigned char kPoison = 0xFF;
constexpr unsigned short kPoisonWord = 0xFFFF;
/// Timed launches go through buffers of this many times the L2 cache.
constexpr int64_t kL2Multiple = 4;
constexpr int kMaxSets = 128;
/// Memory the reference may use for scores.
constexpr size_t kMaxScratchBytes = size_t{256} << 20;
constexpr unsigned kReferenceThreads = 256;

/// What rounding the output to 16 bits costs by itself on normal data. The emulated floor of a handful of rows can fall
/// below it by luck, and then says nothing.
double OutputRounding(DType dtype) { return dtype == DType::kBf16 ? 1.6e-3 : 2.0e-4; }
/// A single row may be this many floors off; one whose page or mask is wrong is off by far more.
constexpr double kMaxRowRatio = 8.0;

size_t AlignUp(size_t bytes) { return (bytes + 255) / 256 * 256; }

std::string Scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

std::string Gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GiB", bytes / (1024.0 * 1024.0 * 1024.0));
  return text;
}

std::vector<int32_t> Narrow(const std::vector<int64_t>& values) {
  return std::vector<int32_t>(values.begin(), values.end());
}

int Log2(int64_t power) {
  int bits = 0;
  while ((int64_t{1} << bits) < power) ++bits;
  return bits;
}

/// Segments as the portable decode kernels take them: one KV head each.
DecodeShape PortableDecodeShape(const KernelRow& row, int slots) {
  DecodeShape shape;
  shape.step_keys = row.slabs * shape.key_alignment;
  shape.min_part_keys = 4 * shape.step_keys;
  shape.slots = slots;
  return shape;
}

CaseResult FromStatus(const Status& status) {
  const bool memory = status.number == kCudaErrorOutOfMemory;
  return CaseResult::Because(memory ? CaseStatus::kOutOfMemory : CaseStatus::kFailed, status.code, status.text);
}

}  // namespace

struct GpuCase::Poisoned {
  unsigned long long guard_words = 0;   /* poison words left in both guard bands */
  unsigned long long output_words = 0;  /* poison words left in the output */
  unsigned long long checksum = 0;
};

void GpuCase::LayOut() {
  q_starts_ = Narrow(PackedStarts(spec_.q_lens, spec_.batch));
  kv_starts_ = Narrow(PackedStarts(spec_.kv_lens, spec_.batch));
  for (int64_t b = 0; b < spec_.batch; ++b) {
    longest_q_ = std::max(longest_q_, spec_.q_lens.At(b));
    longest_kv_ = std::max(longest_kv_, spec_.kv_lens.At(b));
  }
  const int64_t dim = spec_.head_dim;
  const int64_t q_tokens = q_starts_.back();
  const int64_t kv_tokens = kv_starts_.back();
  q_bytes_ = AlignUp(static_cast<size_t>(q_tokens * spec_.q_heads * dim * 2));
  o_bytes_ = static_cast<size_t>(q_tokens * spec_.q_heads * spec_.head_dim_v * 2);
  lse_bytes_ = static_cast<size_t>(q_tokens * spec_.q_heads * 4);

  AttentionParams& p = params_;
  int64_t block_tokens = std::max<int64_t>(1, kv_tokens); /* tokens of one block of storage: a page, or everything */
  int64_t blocks = 1;
  if (spec_.page_size.has_value()) {
    PageTable table = BuildPageTable(spec_);
    p.pageTableStride = static_cast<int>(table.stride);
    p.pageShift = Log2(*spec_.page_size);
    pages_ = std::move(table.pages);
    block_tokens = *spec_.page_size;
    blocks = table.pool_pages;
  }
  const int64_t element_bytes = KvElementBytes(spec_);
  const auto lay_out = [&](int64_t columns) {
    const bool heads_first = spec_.kv_layout == KvLayout::kHnd;
    KvTensor tensor{};
    tensor.headStride = heads_first ? block_tokens * columns : columns;
    tensor.tokenStride = heads_first ? columns : spec_.kv_heads * columns;
    tensor.blockStride = block_tokens * spec_.kv_heads * columns;
    tensor.tokenBytes = static_cast<unsigned>(tensor.tokenStride * element_bytes);
    tensor.blockBytes = spec_.page_size.has_value() ? static_cast<unsigned>(tensor.blockStride * element_bytes) : 0;
    return tensor;
  };
  const bool latent = spec_.op == Op::kMlaDecode;
  p.k = lay_out(dim);
  p.v = latent ? p.k : lay_out(spec_.head_dim_v);
  k_bytes_ = AlignUp(static_cast<size_t>(blocks * p.k.blockStride * element_bytes));
  v_bytes_ = latent ? 0 : AlignUp(static_cast<size_t>(blocks * p.v.blockStride * element_bytes));
  shape_ = {q_tokens, longest_q_, block_tokens, std::max<int64_t>(1, blocks), static_cast<int>(KvElementBytes(spec_))};

  p.qHeadStride = dim;
  p.qTokenStride = spec_.q_heads * dim;
  p.oHeadStride = spec_.head_dim_v;
  p.oTokenStride = spec_.q_heads * spec_.head_dim_v;
  p.batch = static_cast<int>(spec_.batch);
  p.qHeads = static_cast<int>(spec_.q_heads);
  p.kvHeads = static_cast<int>(spec_.kv_heads);
  p.group = static_cast<int>(spec_.q_heads / spec_.kv_heads);
  p.headDim = static_cast<int>(dim);
  p.headDimV = static_cast<int>(spec_.head_dim_v);
  p.causal = spec_.causal ? 1 : 0;
  p.window = static_cast<int>(spec_.window.value_or(0));
  const double scale = SoftmaxScale(spec_) * KvScale(spec_);
  p.vScale = static_cast<float>(KvScale(spec_));
  p.scaleLog2 = static_cast<float>(scale * 1.4426950408889634);
  p.isBf16 = spec_.dtype == DType::kBf16;
  if (spec_.softcap > 0) {
    p.softcapPre = static_cast<float>(scale / spec_.softcap);
    p.softcapPost = static_cast<float>(spec_.softcap / scale);
  }
}

size_t GpuCase::TableBytes() const {
  return AlignUp(q_starts_.size() * 4) + AlignUp(kv_starts_.size() * 4) + AlignUp(pages_.size() * 4) +
         AlignUp(static_cast<size_t>(spec_.q_heads) * 4) + AlignUp(plan_.segments.size() * sizeof(DecodeSegment)) +
         AlignUp(plan_.starts.size() * 4) + AlignUp(static_cast<size_t>(plan_.items) * 4);
}

size_t GpuCase::PartialRows() const { return static_cast<size_t>(plan_.parts * decode_shape_.heads) * 16; }

size_t GpuCase::PartialBytes() const { return PartialRows() * (static_cast<size_t>(row_.head_dim_tile) + 2) * 4; }

std::optional<CaseResult> GpuCase::Prepare(const RunOptions& options) {
  if (static_cast<double>(PackedStarts(spec_.kv_lens, spec_.batch).back()) > 2e9 ||
      static_cast<double>(PackedStarts(spec_.q_lens, spec_.batch).back()) > 2e9) {
    return CaseResult::Because(CaseStatus::kUnsupported, "tooManyTokens",
                               "The bundled kernels count tokens in 32 bits; this case has more than 2 billion.");
  }
  const double page_bytes = static_cast<double>(spec_.page_size.value_or(0)) * static_cast<double>(spec_.kv_heads) *
                            static_cast<double>(std::max(spec_.head_dim, spec_.head_dim_v) * KvElementBytes(spec_));
  if (page_bytes >= 4294967296.0) {
    return CaseResult::Because(CaseStatus::kUnsupported, "pageTooLarge",
                               "One KV page of this case has 4 GiB or more; the bundled kernels address less.");
  }
  LayOut();
  if (spec_.op == Op::kDecode) {
    int per_sm = 0;
    const Status status =
        device_.Note("cuOccupancyMaxActiveBlocksPerMultiprocessor",
                     device_.driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(
                         &per_sm, function_, row_.threads, static_cast<size_t>(row_.shared_bytes)));
    if (!status.ok()) return FromStatus(status);
    const int slots = std::max(1, per_sm) * device_.sm_count();
    decode_shape_ = row_.tensor_maps() ? HopperDecodeShape(spec_, row_, slots) : PortableDecodeShape(row_, slots);
    plan_ = PlanDecode(spec_, decode_shape_);
  }
  if (spec_.op == Op::kMlaDecode) mla_.emplace(device_, row_, function_, spec_);
  rows_ = SampleRows(spec_, options.check_rows);
  const int64_t checked = static_cast<int64_t>(rows_.size());
  const size_t score_bytes = AlignUp(static_cast<size_t>(longest_kv_ + 1) * 16);
  reference_blocks_ = static_cast<int>(std::max<size_t>(
      1, std::min<size_t>({static_cast<size_t>(checked), static_cast<size_t>(device_.sm_count()) * 4,
                           kMaxScratchBytes / score_bytes})));
  const size_t once = o_bytes_ + 2 * kGuardBytes + lse_bytes_ + TableBytes() + PartialBytes() +
                      (mla_.has_value() ? mla_->bytes() : 0) +
                      static_cast<size_t>(reference_blocks_) * score_bytes +
                      static_cast<size_t>(checked) * (kReferenceSums * 8 + 12);
  const size_t per_set = q_bytes_ + k_bytes_ + v_bytes_;
  const double allowed = static_cast<double>(device_.FreeBytes()) * options.max_memory_fraction;
  if (static_cast<double>(once + per_set) > allowed) {
    return CaseResult::Because(CaseStatus::kOutOfMemory, "memoryLimit",
                               "This case needs " + Gibibytes(static_cast<double>(once + per_set)) +
                                   " of GPU memory; the run may use " + Gibibytes(allowed) +
                                   ". Make it smaller, free memory, or raise the memory share.");
  }
  if (!options.check_only || options.hold) {
    const int64_t wanted = (kL2Multiple * device_.l2_bytes() + static_cast<int64_t>(per_set) - 1) /
                           static_cast<int64_t>(per_set);
    const double room = (allowed - static_cast<double>(once)) / static_cast<double>(per_set);
    sets_ = static_cast<int>(std::max<int64_t>(
        1, std::min<int64_t>({wanted, kMaxSets, static_cast<int64_t>(room)})));
  }
  Status status = Allocate();
  if (status.ok()) status = UploadTables();
  if (status.ok()) status = FillInputs();
  if (status.ok() && row_.tensor_maps()) status = EncodeMaps();
  if (!status.ok()) return FromStatus(status);
  return std::nullopt;
}

Status GpuCase::Allocate() {
  Status status;
  const size_t sets = static_cast<size_t>(sets_);
  q_ = device_.Allocate(sets * q_bytes_, &status);
  if (status.ok()) k_ = device_.Allocate(sets * k_bytes_, &status);
  if (status.ok() && v_bytes_ > 0) v_ = device_.Allocate(sets * v_bytes_, &status);
  if (status.ok()) o_ = device_.Allocate(o_bytes_ + 2 * kGuardBytes, &status);
  if (status.ok() && lse_bytes_ > 0) lse_ = device_.Allocate(lse_bytes_, &status);
  if (status.ok()) tables_ = device_.Allocate(TableBytes(), &status);
  if (status.ok() && plan_.parts > 0) partials_ = device_.Allocate(PartialBytes(), &status);
  const size_t scratch = AlignUp(static_cast<size_t>(longest_kv_ + 1) * 16) * static_cast<size_t>(reference_blocks_);
  const size_t sums = AlignUp(rows_.size() * kReferenceSums * 8);
  if (status.ok()) {
    reference_ = device_.Allocate(scratch + sums + rows_.size() * 12, &status);
    reference_sums_ = reference_.address() + scratch;
    reference_rows_ = reference_sums_ + sums;
  }
  if (status.ok()) scan_ = device_.Allocate(64, &status);
  if (!status.ok()) return status;
  params_.o = o_.address() + kGuardBytes;
  return status;
}

Status GpuCase::UploadTables() {
  CUdeviceptr at = tables_.address();
  Status status;
  const auto place = [&](const void* data, size_t bytes) {
    const CUdeviceptr here = at;
    at += AlignUp(bytes);
    if (status.ok()) status = device_.Upload(here, data, bytes);
    return here;
  };
  params_.qStart = place(q_starts_.data(), q_starts_.size() * 4);
  params_.kvStart = place(kv_starts_.data(), kv_starts_.size() * 4);
  if (!pages_.empty()) params_.pageTable = place(pages_.data(), pages_.size() * 4);
  if (spec_.page_size.has_value() && pages_.empty()) params_.pageTable = tables_.address(); /* no keys at all */
  std::vector<float> sinks(static_cast<size_t>(spec_.q_heads));
  for (size_t head = 0; head < sinks.size(); ++head) sinks[head] = sink_value(spec_.seed, static_cast<u32>(head));
  const CUdeviceptr sink_address = place(sinks.data(), sinks.size() * 4);
  params_.sinks = spec_.sinks ? sink_address : 0;
  params_.segments = place(plan_.segments.data(), plan_.segments.size() * sizeof(DecodeSegment));
  params_.segmentStart = place(plan_.starts.data(), plan_.starts.size() * 4);
  const std::vector<int32_t> zeros(static_cast<size_t>(plan_.items), 0);
  params_.tickets = place(zeros.data(), zeros.size() * 4);
  params_.partialO = partials_.address();
  params_.partialStats = partials_.address() + PartialRows() * static_cast<size_t>(row_.head_dim_tile) * 4;
  return status;
}

Status GpuCase::FillTensor(CUfunction fill, unsigned tensor) {
  FillParams p{};
  const bool is_q = tensor == kTensorQ;
  const KvTensor& kv = tensor == kTensorK ? params_.k : params_.v;
  p.base = is_q ? q_.address() : tensor == kTensorK ? k_.address() : v_.address();
  p.pageTable = is_q ? 0 : params_.pageTable;
  p.start = is_q ? params_.qStart : params_.kvStart;
  p.blockStride = kv.blockStride;
  p.tokenStride = is_q ? params_.qTokenStride : kv.tokenStride;
  p.headStride = is_q ? params_.qHeadStride : kv.headStride;
  p.batch = params_.batch;
  p.heads = is_q ? params_.qHeads : params_.kvHeads;
  p.dim = tensor == kTensorV ? params_.headDimV : params_.headDim;
  p.pageShift = params_.pageShift;
  p.pageTableStride = params_.pageTableStride;
  p.seed = spec_.seed;
  p.tensor = tensor;
  p.format = is_q ? ElementFormatOf(spec_.dtype) : KvFormatOf(spec_);
  p.inverseScale = InverseKvScale(spec_);
  p.repeatPages = (spec_.seed >> 28) == kPatternRepeatedPages ? 1 : 0;
  void* arguments[] = {&p};
  const unsigned sequences = static_cast<unsigned>(std::min<int64_t>(spec_.batch, 65535));
  const unsigned blocks = std::max(1u, static_cast<unsigned>(device_.sm_count()) * 16 / sequences);
  return device_.Launch(fill, blocks, sequences, 1, 256, 0, arguments);
}

Status GpuCase::FillInputs() {
  const LoadedKernel fill = device_.Load("support", "attn_fill", 0);
  Status status = fill.status;
  /* everything that is no input stays a NaN: unused pages, the rows past the end of a last page, padding */
  for (GpuBuffer* buffer : {&q_, &k_, &v_}) {
    if (status.ok() && buffer->bytes() > 0) status = device_.Fill8(buffer->address(), kPoison, buffer->bytes());
  }
  for (unsigned tensor : {kTensorQ, kTensorK, kTensorV}) {
    if (tensor == kTensorV && v_bytes_ == 0) continue;
    if (status.ok()) status = FillTensor(fill.function, tensor);
  }
  const auto copies = [&](const GpuBuffer& buffer, size_t bytes) {
    for (int set = 1; set < sets_ && status.ok(); ++set) {
      status = device_.Note("cuMemcpyDtoDAsync",
                            device_.driver().cuMemcpyDtoDAsync(buffer.address() + static_cast<size_t>(set) * bytes,
                                                               buffer.address(), bytes, device_.stream()));
    }
  };
  copies(q_, q_bytes_);
  copies(k_, k_bytes_);
  copies(v_, v_bytes_);
  if (status.ok() && device_.Synchronize(nullptr, &status) == Wait::kFailed) return status;
  return status;
}

Status GpuCase::EncodeMaps() {
  Status status;
  if (mla_.has_value()) {
    status = mla_->Upload(params_, shape_);
  } else if (spec_.op == Op::kDecode) {
    hopper_decode_.emplace(device_, row_, function_);
    status = hopper_decode_->SetPlan(plan_, decode_shape_, params_, shape_);
  } else {
    hopper_prefill_.emplace(device_, row_, function_, spec_);
  }
  for (int set = 0; set < sets_ && status.ok(); ++set) {
    SelectSet(static_cast<size_t>(set));
    status = mla_.has_value()             ? mla_->AddSet(params_, shape_)
             : hopper_decode_.has_value() ? hopper_decode_->AddSet(params_, shape_)
                                          : hopper_prefill_->AddSet(params_, shape_);
  }
  return status;
}

void GpuCase::SelectSet(size_t set) {
  params_.q = q_.address() + set * q_bytes_;
  params_.k.base = k_.address() + set * k_bytes_;
  params_.v.base = v_bytes_ > 0 ? v_.address() + set * v_bytes_ : params_.k.base;
}

Status GpuCase::Launch(int64_t set, bool lse) {
  const size_t index = static_cast<size_t>(set % sets_);
  params_.lse = lse ? lse_.address() : 0;
  if (mla_.has_value()) return mla_->Launch(index, params_.lse);
  if (hopper_decode_.has_value()) return hopper_decode_->Launch(index, params_.lse);
  if (hopper_prefill_.has_value()) return hopper_prefill_->Launch(index, params_.lse);
  SelectSet(index);
  void* arguments[] = {&params_};
  const unsigned threads = static_cast<unsigned>(row_.threads);
  const unsigned shared = static_cast<unsigned>(row_.shared_bytes);
  if (spec_.op == Op::kDecode) {
    return device_.Launch(function_, static_cast<unsigned>(plan_.blocks()), 1, 1, threads, shared, arguments);
  }
  const unsigned row_blocks = static_cast<unsigned>((longest_q_ + row_.rows_per_block - 1) / row_.rows_per_block);
  return device_.Launch(function_, row_blocks, static_cast<unsigned>(spec_.q_heads), static_cast<unsigned>(spec_.batch),
                        threads, shared, arguments);
}

Wait GpuCase::RunOnPoison(bool lse, const CancelFlag& cancel, Poisoned* found, Status* status) {
  const LoadedKernel scan = device_.Load("support", "attn_scan", 0);
  *status = scan.status;
  if (status->ok()) *status = device_.Fill8(o_.address(), kPoison, o_.bytes());
  if (status->ok() && lse) *status = device_.Fill8(lse_.address(), kPoison, lse_bytes_);
  if (status->ok()) *status = device_.Fill8(scan_.address(), 0, 64);
  if (status->ok()) *status = Launch(0, lse);
  const auto queue = [&](CUdeviceptr data, size_t bytes, int slot) {
    unsigned long long words = bytes / 2;
    unsigned short poison = kPoisonWord;
    CUdeviceptr counts = scan_.address() + static_cast<CUdeviceptr>(slot) * 16;
    void* arguments[] = {&data, &words, &poison, &counts};
    if (status->ok()) {
      *status = device_.Launch(scan.function, static_cast<unsigned>(device_.sm_count()) * 4, 1, 1, 256, 0, arguments);
    }
  };
  queue(o_.address(), kGuardBytes, 0);
  queue(params_.o, o_bytes_, 1);
  queue(params_.o + o_bytes_, kGuardBytes, 2);
  if (lse) queue(lse_.address(), lse_bytes_, 3);
  if (!status->ok()) return Wait::kFailed;
  const Wait wait = device_.Synchronize(&cancel, status);
  if (wait != Wait::kDone) return wait;
  unsigned long long counts[8];
  *status = device_.Download(counts, scan_.address(), sizeof counts);
  if (!status->ok()) return Wait::kFailed;
  found->guard_words = counts[0] + counts[4];
  found->output_words = counts[2];
  found->checksum = counts[3] ^ counts[7];
  return Wait::kDone;
}

Wait GpuCase::Check(const RunOptions& options, const CancelFlag& cancel, CheckOutcome* outcome, Status* status) {
  Poisoned first;
  Wait wait = Wait::kDone;
  for (bool lse : {true, false}) {
    if (!lse && spec_.lse) break;
    wait = RunOnPoison(lse, cancel, &first, status);
    if (wait != Wait::kDone) return wait;
    if (first.guard_words != kGuardBytes) { /* two bands of kGuardBytes / 2 words */
      outcome->problem = Reason{"guardBand", "The kernel wrote outside its output: " +
                                                 std::to_string(kGuardBytes - first.guard_words) +
                                                 " words of the guard bands changed."};
    } else if (first.output_words != 0) {
      outcome->problem = Reason{"unwritten", std::to_string(first.output_words) + " output values were never written."};
    }
  }

  const std::vector<RowId>& rows = rows_;
  std::vector<int32_t> packed;
  packed.reserve(rows.size() * 3);
  for (const RowId& row : rows) {
    packed.push_back(static_cast<int32_t>(row.sequence));
    packed.push_back(static_cast<int32_t>(row.q_index));
    packed.push_back(static_cast<int32_t>(row.head));
  }
  const LoadedKernel reference = device_.Load("support", "attn_reference", 0);
  *status = reference.status;
  if (status->ok()) *status = device_.Upload(reference_rows_, packed.data(), packed.size() * 4);
  if (!status->ok()) return Wait::kFailed;
  ReferenceParams p{};
  p.rows = reference_rows_;
  p.qStart = params_.qStart;
  p.kvStart = params_.kvStart;
  p.o = params_.o;
  p.lse = lse_.address();
  p.scratch = reference_.address();
  p.sums = reference_sums_;
  p.oTokenStride = params_.oTokenStride;
  p.oHeadStride = params_.oHeadStride;
  p.scratchStride = static_cast<long long>(AlignUp(static_cast<size_t>(longest_kv_ + 1) * 16) / 16);
  p.scale = SoftmaxScale(spec_) * KvScale(spec_);
  p.softcap = spec_.softcap;
  p.kvScale = KvScale(spec_);
  p.inverseScale = InverseKvScale(spec_);
  p.kvFormat = KvFormatOf(spec_);
  p.latent = spec_.op == Op::kMlaDecode ? 1 : 0;
  p.rowCount = static_cast<int>(rows.size());
  p.qHeads = params_.qHeads;
  p.kvHeads = params_.kvHeads;
  p.headDim = params_.headDim;
  p.headDimV = params_.headDimV;
  p.causal = params_.causal;
  p.window = params_.window;
  p.sinks = spec_.sinks ? 1 : 0;
  p.isBf16 = spec_.dtype == DType::kBf16 ? 1 : 0;
  p.seed = spec_.seed;
  p.repeatShift =
      spec_.page_size.has_value() && (spec_.seed >> 28) == kPatternRepeatedPages ? params_.pageShift : -1;
  void* arguments[] = {&p};
  *status = device_.Launch(reference.function, static_cast<unsigned>(reference_blocks_), 1, 1, kReferenceThreads, 0, arguments);
  if (!status->ok()) return Wait::kFailed;
  wait = device_.Synchronize(&cancel, status);
  if (wait != Wait::kDone) return wait;
  std::vector<double> sums(rows.size() * kReferenceSums);
  *status = device_.Download(sums.data(), reference_sums_, sums.size() * 8);
  if (!status->ok()) return Wait::kFailed;

  double reference2 = 0.0, error2 = 0.0, floor2 = 0.0, lse_error = 0.0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double* row = sums.data() + i * kReferenceSums;
    reference2 += row[0];
    error2 += row[1];
    floor2 += row[2];
    lse_error = std::max(lse_error, row[3]);
  }
  const auto ratio = [](double error, double reference) {
    if (error == 0.0) return 0.0;
    return reference == 0.0 ? std::numeric_limits<double>::infinity() : std::sqrt(error / reference);
  };
  outcome->rows = static_cast<int64_t>(rows.size());
  outcome->rel_error = ratio(error2, reference2);
  outcome->rounding_floor = ratio(floor2, reference2);
  outcome->lse_error = lse_error;

  const double floor = std::max(outcome->rounding_floor, OutputRounding(spec_.dtype));
  const auto describe = [](const RowId& row) {
    return "sequence " + std::to_string(row.sequence) + ", query " + std::to_string(row.q_index) + ", head " +
           std::to_string(row.head);
  };
  for (size_t i = 0; i < rows.size() && !outcome->problem.has_value(); ++i) {
    const double* row = sums.data() + i * kReferenceSums;
    const double error = ratio(row[1], row[0]);
    const double limit = kMaxRowRatio * std::max(floor, ratio(row[2], row[0]));
    if (row[4] != 0.0) {
      outcome->problem = Reason{"notFinite", "The row of " + describe(rows[i]) +
                                                 " holds a NaN or infinity, or should be empty and is not."};
    } else if (!(error <= limit)) {
      outcome->problem = Reason{"rowError", "The row of " + describe(rows[i]) + " is off by " + Scientific(error) +
                                                " of its norm; rounding explains at most " + Scientific(limit) + "."};
    }
  }
  if (!outcome->problem.has_value() && !(outcome->rel_error <= kMaxFloorRatio * floor)) {
    outcome->problem = Reason{"relError", "The output differs from the float64 reference by " +
                                              Scientific(outcome->rel_error) + " of its norm over " +
                                              std::to_string(rows.size()) + " rows; rounding explains " +
                                              Scientific(kMaxFloorRatio * floor) + "."};
  }
  if (!outcome->problem.has_value() && !(lse_error <= kMaxLseError)) {
    outcome->problem = Reason{"lseError", "The log-sum-exp differs from the float64 reference by up to " +
                                              Scientific(lse_error) + "; the limit is " + Scientific(kMaxLseError) + "."};
  }
  if (!outcome->problem.has_value() && !options.check_rows.has_value()) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      Poisoned again;
      wait = RunOnPoison(spec_.lse, cancel, &again, status);
      if (wait != Wait::kDone) return wait;
      if (again.checksum != first.checksum) {
        outcome->problem = Reason{"notRepeatable", "Two launches on the same inputs gave different bits: a race."};
        break;
      }
    }
  }
  return Wait::kDone;
}

}  // namespace attn
