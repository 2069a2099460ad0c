// The CPU reference device: the same cases, checks and progress as a GPU, with times that are labelled as CPU.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "case_math.h"
#include "case_validation.h"
#include "correctness.h"
#include "cpu_attention.h"
#include "parallel.h"
#include "session.h"
#include "system_memory.h"
#include "timing_stats.h"

namespace attn {
namespace {

using Clock = std::chrono::steady_clock;

/// Cases estimated to take longer answer `unsupported` unless asked for.
constexpr double kMaxEstimatedSeconds = 10.0;
/// Timed repetitions: at least this many, unless they would take longer than kMaxTimedSeconds.
constexpr int kMinRuns = 3;
constexpr double kMaxTimedSeconds = 2.0;
constexpr int kMaxRuns = 1000;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string Rounded(double value, int decimals) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

CaseResult Cancelled() { return CaseResult::Because(CaseStatus::kCancelled, "cancelled", "Stopped on request."); }

/// Single-thread speeds of this machine, measured once when the device is opened.
struct CpuSpeed {
  double fill_seconds_per_element = 0.0;
  double seconds_per_flop = 0.0;
};

AttentionCase CalibrationCase() {
  AttentionCase spec;
  spec.head_dim = spec.head_dim_v = 128;
  spec.q_heads = spec.kv_heads = spec.batch = 1;
  spec.q_lens.values = {64};
  spec.kv_lens.values = {256};
  return spec;
}

CpuSpeed MeasureSpeed() {
  const AttentionCase spec = CalibrationCase();
  const CancelFlag never{false};
  CpuAttention attention(spec);
  CpuSpeed speed;
  if (!attention.Allocate() || !attention.Poison(1, never)) return speed;
  auto start = Clock::now();
  attention.Fill(1, never);
  speed.fill_seconds_per_element = SecondsSince(start) / static_cast<double>((64 + 2 * 256) * 128);
  start = Clock::now();
  attention.Run(1, never);
  speed.seconds_per_flop = SecondsSince(start) / CaseFlops(spec);
  return speed;
}

class CpuSession final : public Session {
 public:
  CpuSession() : threads_(AvailableThreads()), speed_(MeasureSpeed()) {}

  Ceilings MeasureCeilings(const RunOptions&, const PhaseCallback&, const CancelFlag&, Status*) override { return {}; }

  CaseResult RunCase(const AttentionCase& spec, const RunOptions& options, const PhaseCallback& on_phase,
                     const CancelFlag& cancel) override {
    if (auto reason = ValidateCase(spec)) {
      return CaseResult::Because(CaseStatus::kUnsupported, reason->code, reason->text);
    }
    if (auto refusal = Refuse(spec, options)) return *refusal;

    CaseResult result;
    result.kernel = KernelIdentity{"cpu_tiled_f64", spec.head_dim, "cpu", 1, std::nullopt};

    on_phase(Phase::kAllocate);
    CpuAttention attention(spec);
    if (!attention.Allocate()) {
      return CaseResult::Because(CaseStatus::kOutOfMemory, "hostMemory",
                                 "This machine gave no memory for the case; choose a smaller one.");
    }
    if (!attention.Poison(threads_, cancel) || !attention.Fill(threads_, cancel)) return Cancelled();

    on_phase(Phase::kCheck);
    const auto start = Clock::now();
    if (!attention.Run(threads_, cancel)) return Cancelled();
    const double first_seconds = SecondsSince(start);
    if (!Check(spec, options, attention, cancel, &result)) return Cancelled();
    if (result.status == CaseStatus::kOk && !options.check_only) {
      if (!Time(spec, options, first_seconds, on_phase, cancel, &attention, &result)) return Cancelled();
    }
    return result;
  }

 private:
  /// Why this valid case is not attempted: it would take too long or does not fit.
  std::optional<CaseResult> Refuse(const AttentionCase& spec, const RunOptions& options) const {
    const double seconds = EstimateSeconds(spec, options);
    if (seconds > kMaxEstimatedSeconds && !options.allow_slow_cpu) {
      return CaseResult::Because(CaseStatus::kUnsupported, "tooLargeForCpu",
                                 "Too large for the CPU device: about " + Rounded(seconds, 0) + " s on " +
                                     std::to_string(threads_) + " threads, the limit is " +
                                     Rounded(kMaxEstimatedSeconds, 0) +
                                     " s. Choose a smaller case, or allow slow CPU runs.");
    }
    const std::optional<SystemMemory> memory = ReadSystemMemory();
    const double needed = CpuAttention::RequiredBytes(spec);
    if (memory.has_value() && needed > options.max_memory_fraction * static_cast<double>(memory->available_bytes)) {
      return CaseResult::Because(
          CaseStatus::kOutOfMemory, "hostMemory",
          "The case needs " + Rounded(needed / 1e9, 2) + " GB, more than " +
              Rounded(options.max_memory_fraction * 100, 0) + " % of the " +
              Rounded(static_cast<double>(memory->available_bytes) / 1e9, 2) + " GB of memory that is free.");
    }
    return std::nullopt;
  }

  double EstimateSeconds(const AttentionCase& spec, const RunOptions& options) const {
    const double elements = CpuAttention::RequiredBytes(spec) / static_cast<double>(KvElementBytes(spec));
    const double fill = elements * speed_.fill_seconds_per_element;
    // A block of few rows (decode) is bound by reading K and V, which costs about what eight of its rows do.
    const double rows_per_block = std::min(16.0, static_cast<double>(spec.q_heads / spec.kv_heads) * LongestQuery(spec));
    const double run = CaseFlops(spec) * speed_.seconds_per_flop * (1.0 + 8.0 / std::max(1.0, rows_per_block));
    double total_rows = 0.0;
    for (int64_t b = 0; b < spec.batch; ++b) total_rows += static_cast<double>(spec.q_lens.At(b) * spec.q_heads);
    const double checked = std::min(total_rows, static_cast<double>(options.check_rows.value_or(INT64_MAX)));
    // The reference takes one row at a time and generates K and V again.
    const double check = fill + 4.0 * CaseFlops(spec) * speed_.seconds_per_flop * checked / total_rows;
    return (fill + check + run * (options.check_only ? 1.0 : 2.0)) / threads_;
  }

  static double LongestQuery(const AttentionCase& spec) {
    return static_cast<double>(*std::max_element(spec.q_lens.values.begin(), spec.q_lens.values.end()));
  }

  /// Compares with the reference and sets status, errors and checked rows. @return false when cancelled
  bool Check(const AttentionCase& spec, const RunOptions& options, const CpuAttention& attention,
             const CancelFlag& cancel, CaseResult* result) const {
    const std::vector<int64_t> q_starts = PackedStarts(spec.q_lens, spec.batch);
    ErrorMeter meter;
    const auto receive = [&](const ReferenceRow& reference) {
      const int64_t token = q_starts[static_cast<size_t>(reference.id.sequence)] + reference.id.q_index;
      std::vector<double> actual(reference.out.size());
      attention.ReadOutput(token, reference.id.head, actual.data());
      const double lse = attention.ReadLse(token, reference.id.head);
      meter.Add(reference, actual.data(), &lse);
    };
    if (!ComputeReferenceRows(spec, SampleRows(spec, options.check_rows), threads_, cancel, receive)) return false;
    result->rel_error = meter.RelError();
    result->rounding_floor = meter.RoundingFloor();
    result->lse_error = meter.LseError();
    result->checked_rows = meter.rows();
    result->reason = meter.Problem();
    result->status = result->reason.has_value() ? CaseStatus::kWrong : CaseStatus::kOk;
    return true;
  }

  /// Repeats the case for the time asked for. @return false when cancelled
  bool Time(const AttentionCase& spec, const RunOptions& options, double first_seconds, const PhaseCallback& on_phase,
            const CancelFlag& cancel, CpuAttention* attention, CaseResult* result) const {
    on_phase(Phase::kWarmup);
    // The checked run has warmed caches already; a case that takes longer than the warm-up needs no more of it.
    for (double spent = first_seconds; spent < options.warmup_ms / 1000;) {
      const auto start = Clock::now();
      if (!attention->Run(threads_, cancel)) return false;
      spent += SecondsSince(start);
    }
    on_phase(Phase::kTime);
    std::vector<double> ms;
    double spent = 0.0;
    do {
      const auto start = Clock::now();
      if (!attention->Run(threads_, cancel)) return false;
      const double seconds = SecondsSince(start);
      ms.push_back(seconds * 1000);
      spent += seconds;
    } while (static_cast<int>(ms.size()) < kMaxRuns &&
             (spent < options.target_ms / 1000 || (static_cast<int>(ms.size()) < kMinRuns && spent < kMaxTimedSeconds)));
    result->gpu_ms = SummarizeMs(std::move(ms));
    const double median_seconds = result->gpu_ms->median / 1000;
    result->tflops = CaseFlops(spec) / median_seconds / 1e12;
    result->tbps = KvBytes(spec) / median_seconds / 1e12;
    return true;
  }

  int threads_;
  CpuSpeed speed_;
};

}  // namespace

OpenResult OpenCpuSession() { return {std::make_unique<CpuSession>(), Status::Ok()}; }

}  // namespace attn
