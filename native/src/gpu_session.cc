// A GPU as a Session: choose the kernel, prepare, check, warm up, time.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <tuple>
#include <vector>

#include "case_math.h"
#include "case_validation.h"
#include "ceilings_gpu.h"
#include "gpu_case.h"
#include "gpu_device.h"
#include "kernel_choice_text.h"
#include "kernel_registry.h"
#include "session.h"
#include "timing_stats.h"

namespace attn {
namespace {

using Clock = std::chrono::steady_clock;

/// A timed batch is at least this long, so that the events' resolution does not count.
constexpr double kBatchMs = 5.0;
/// So many batches at least, fewer where less time is asked for: one for each kBatchShareMs of it.
constexpr double kMinBatches = 10;
constexpr double kFewestBatches = 3;
constexpr double kBatchShareMs = 20.0;
constexpr int kMaxBatches = 200;
/// Launches this short are timed inside a graph: the host could not queue them fast enough.
constexpr double kGraphBelowMs = 0.1;
constexpr int kGraphLaunches = 40;
constexpr int kMaxLaunchesPerBatch = 4000;
/// Wall time after which a case has enough batches, whatever targetMs says.
constexpr double kMinBatchesBudgetMs = 4000.0;
constexpr int kHostLaunches = 50;
constexpr int kFewestHostLaunches = 3;
/// Launches whose host time is measured take this share of the timed work at most.
constexpr double kHostShare = 0.25;

double MsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

CaseResult Cancelled() { return CaseResult::Because(CaseStatus::kCancelled, "cancelled", "Stopped on request."); }

void Fail(CaseResult* result, const Status& status) {
  result->status = status.number == kCudaErrorOutOfMemory ? CaseStatus::kOutOfMemory : CaseStatus::kFailed;
  result->reason = Reason{status.code, status.text};
}

/// Launches captured once and replayed, for kernels shorter than their launch.
class LaunchGraph {
 public:
  LaunchGraph(GpuDevice& device, GpuCase& attention) : driver_(device.driver()) {
    if (driver_.cuStreamBeginCapture(device.stream(), kStreamCaptureModeThreadLocal) != kCudaSuccess) return;
    bool ok = true;
    for (int i = 0; i < kGraphLaunches; ++i) ok = attention.Launch(i).ok() && ok;
    CUgraph graph = nullptr;
    if (driver_.cuStreamEndCapture(device.stream(), &graph) != kCudaSuccess) return;
    if (ok && driver_.cuGraphInstantiateWithFlags(&graph_, graph, 0) != kCudaSuccess) graph_ = nullptr;
    driver_.cuGraphDestroy(graph);
  }
  ~LaunchGraph() {
    if (graph_ != nullptr) driver_.cuGraphExecDestroy(graph_);
  }
  LaunchGraph(const LaunchGraph&) = delete;
  LaunchGraph& operator=(const LaunchGraph&) = delete;
  CUgraphExec get() const { return graph_; }

 private:
  const CudaDriver& driver_;
  CUgraphExec graph_ = nullptr;
};

/// Times a prepared case and writes gpu_ms, host_us and the clock into `result`.
class CaseTimer {
 public:
  CaseTimer(GpuDevice& device, GpuCase& attention, const RunOptions& options, const CancelFlag& cancel)
      : device_(device), attention_(attention), options_(options), cancel_(cancel),
        begin_(device.driver()), end_(device.driver()) {}

  Wait Run(const PhaseCallback& on_phase, CaseResult* result, Status* status) {
    on_phase(Phase::kWarmup);
    double ms = 0.0;
    const Clock::time_point start = Clock::now();
    Wait wait = Batch(1, nullptr, &ms, status);
    if (wait != Wait::kDone) return wait;
    const double warmup_batch_ms = std::min(2 * kBatchMs, std::max(1.0, options_.warmup_ms));
    do {
      wait = Batch(LaunchesFor(ms, warmup_batch_ms), nullptr, &ms, status);
      if (wait != Wait::kDone) return wait;
    } while (MsSince(start) < options_.warmup_ms);

    on_phase(Phase::kTime);
    wait = TimeHost(ms, result, status);
    if (wait != Wait::kDone) return wait;

    std::optional<LaunchGraph> graph;
    if (ms < kGraphBelowMs) graph.emplace(device_, attention_);
    CUgraphExec executable = graph.has_value() ? graph->get() : nullptr;
    const int launches = LaunchesFor(ms, kBatchMs);
    const double fewest = std::min(std::max(kFewestBatches, options_.target_ms / kBatchShareMs), kMinBatches);
    std::vector<double> times;
    double total = 0.0;
    while (static_cast<int>(times.size()) < kMaxBatches &&
           (total < options_.target_ms || static_cast<double>(times.size()) < kFewestBatches ||
            (static_cast<double>(times.size()) < std::floor(fewest) && total < kMinBatchesBudgetMs))) {
      wait = Batch(launches, executable, &ms, status);
      if (wait != Wait::kDone) return wait;
      times.push_back(ms);
      total += ms * launches;
    }
    /* the clock the kernels ran at: a probe queued right behind one more batch */
    for (int i = 0; i < launches; ++i) {
      *status = attention_.Launch(i);
      if (!status->ok()) return Wait::kFailed;
    }
    result->sm_clock_mhz = device_.ProbeClockMHz();
    result->gpu_ms = SummarizeMs(std::move(times));
    return device_.Synchronize(&cancel_, status);
  }

 private:
  static int LaunchesFor(double ms, double target_ms) {
    const double launches = std::ceil(target_ms / std::max(ms, 1e-4));
    return static_cast<int>(std::min<double>(std::max(1.0, launches), kMaxLaunchesPerBatch));
  }

  /// One timed batch, of at least `launches` launches; sets the milliseconds per launch.
  Wait Batch(int launches, CUgraphExec graph, double* ms, Status* status) {
    const CudaDriver& cuda = device_.driver();
    const int replays = (launches + kGraphLaunches - 1) / kGraphLaunches;
    *status = device_.Note("cuEventRecord", cuda.cuEventRecord(begin_.get(), device_.stream()));
    if (graph != nullptr) {
      for (int i = 0; i < replays && status->ok(); ++i) {
        *status = device_.Note("cuGraphLaunch", cuda.cuGraphLaunch(graph, device_.stream()));
      }
    } else {
      for (int i = 0; i < launches && status->ok(); ++i) *status = attention_.Launch(next_set_++);
    }
    if (status->ok()) *status = device_.Note("cuEventRecord", cuda.cuEventRecord(end_.get(), device_.stream()));
    if (!status->ok()) return Wait::kFailed;
    const Wait wait = device_.Synchronize(&cancel_, status);
    if (wait != Wait::kDone) return wait;
    float elapsed = 0.0f;
    *status = device_.Note("cuEventElapsedTime", cuda.cuEventElapsedTime(&elapsed, begin_.get(), end_.get()));
    if (!status->ok()) return Wait::kFailed;
    *ms = static_cast<double>(elapsed) / (graph != nullptr ? replays * kGraphLaunches : launches);
    return Wait::kDone;
  }

  /// Microseconds the host spends on a launch, queued back to back on an idle stream.
  Wait TimeHost(double ms, CaseResult* result, Status* status) {
    const int affordable = LaunchesFor(ms, std::min(100.0, kHostShare * options_.target_ms));
    const int launches = std::max(kFewestHostLaunches, std::min(kHostLaunches, affordable));
    /* one by one, because the first of a few may wait for a sleeping driver thread */
    std::vector<double> spent_ms;
    for (int i = 0; i < launches; ++i) {
      const Clock::time_point start = Clock::now();
      *status = attention_.Launch(next_set_++);
      if (!status->ok()) return Wait::kFailed;
      spent_ms.push_back(MsSince(start));
    }
    result->host_us = SummarizeMs(std::move(spent_ms)).median * 1e3;
    return device_.Synchronize(&cancel_, status);
  }

  GpuDevice& device_;
  GpuCase& attention_;
  const RunOptions& options_;
  const CancelFlag& cancel_;
  GpuEvent begin_;
  GpuEvent end_;
  int64_t next_set_ = 0;
};

bool SameLengths(const Lengths& a, const Lengths& b) { return a.values == b.values && a.uniform == b.uniform; }

bool SameCase(const AttentionCase& a, const AttentionCase& b) {
  const auto fields = [](const AttentionCase& c) {
    return std::tie(c.op, c.dtype, c.kv_dtype, c.kv_scale, c.head_dim, c.head_dim_v, c.q_heads, c.kv_heads, c.batch, c.causal,
                    c.window, c.softcap, c.sinks, c.kv_layout, c.page_size, c.lse, c.seed);
  };
  return fields(a) == fields(b) && SameLengths(a.q_lens, b.q_lens) && SameLengths(a.kv_lens, b.kv_lens);
}

/// A case with everything it needs on the device; it refers to its own copy of the case.
struct PreparedCase {
  PreparedCase(GpuDevice& device, const AttentionCase& asked, const KernelRow& row, CUfunction function)
      : spec(asked), attention(device, spec, row, function) {}
  const AttentionCase spec;
  GpuCase attention;
};

class GpuSession final : public Session {
 public:
  explicit GpuSession(std::unique_ptr<GpuDevice> device) : device_(std::move(device)) {}
  ~GpuSession() override { device_->Enter(); }

  Ceilings MeasureCeilings(const RunOptions& options, const PhaseCallback& on_phase, const CancelFlag& cancel,
                           Status* problem) override {
    on_phase(Phase::kCeilings);
    const Status status = device_->Enter();
    if (!status.ok()) {
      *problem = status;
      return {};
    }
    ceilings_ = MeasureGpuCeilings(*device_, options, cancel, problem);
    return ceilings_;
  }

  CaseResult RunCase(const AttentionCase& spec, const RunOptions& options, const PhaseCallback& on_phase,
                     const CancelFlag& cancel) override {
    if (auto reason = ValidateCase(spec)) {
      return CaseResult::Because(CaseStatus::kUnsupported, reason->code, reason->text);
    }
    const KernelChoice choice = ChooseKernel(spec, device_->limits());
    if (choice.row == nullptr) {
      return CaseResult::Because(CaseStatus::kUnsupported, choice.unsupported->code, choice.unsupported->text);
    }
    const KernelRow& row = *choice.row;
    CaseResult result;
    result.kernel = KernelIdentity{row.name, row.head_dim_tile,
                                   row.tensor_maps() ? row.targets : device_->target_name(), std::nullopt,
                                   WhyThisKernel(row, spec, device_->limits())};
    Status status = device_->Enter();
    if (!status.ok()) {
      Fail(&result, status);
      return result;
    }
    on_phase(Phase::kJit);
    const LoadedKernel kernel = device_->Load(row.group, row.name, row.shared_bytes);
    result.jit_ms = kernel.jit_ms;
    if (!kernel.status.ok()) {
      Fail(&result, kernel.status);
      return result;
    }
    on_phase(Phase::kAllocate);
    if (cancel.load(std::memory_order_relaxed)) return Cancelled();
    std::unique_ptr<PreparedCase> prepared = std::move(held_);
    if (prepared != nullptr && !SameCase(prepared->spec, spec)) prepared.reset();
    if (prepared == nullptr) {
      prepared = std::make_unique<PreparedCase>(*device_, spec, row, kernel.function);
      if (std::optional<CaseResult> ended = prepared->attention.Prepare(options)) {
        ended->kernel = result.kernel;
        ended->jit_ms = result.jit_ms;
        return *ended;
      }
    }
    GpuCase& attention = prepared->attention;
    result.kernel->num_splits = attention.num_splits();

    on_phase(Phase::kCheck);
    CheckOutcome outcome;
    Wait wait = attention.Check(options, cancel, &outcome, &status);
    if (wait == Wait::kCancelled) return Cancelled();
    if (wait == Wait::kFailed) {
      Fail(&result, status);
      return result;
    }
    result.checked_rows = outcome.rows;
    result.rel_error = outcome.rel_error;
    result.rounding_floor = outcome.rounding_floor;
    result.lse_error = outcome.lse_error;
    if (outcome.problem.has_value()) {
      result.status = CaseStatus::kWrong;
      result.reason = outcome.problem;
      return result;
    }
    if (!options.check_only) {
      wait = CaseTimer(*device_, attention, options, cancel).Run(on_phase, &result, &status);
      if (wait == Wait::kCancelled) return Cancelled();
      if (wait == Wait::kFailed) {
        result.gpu_ms.reset();
        Fail(&result, status);
        return result;
      }
      AddRates(spec, &result);
      result.contended = device_->Contended();
    }
    result.status = CaseStatus::kOk;
    if (options.hold) held_ = std::move(prepared);
    return result;
  }

 private:
  void AddRates(const AttentionCase& spec, CaseResult* result) const {
    const double seconds = result->gpu_ms->median * 1e-3;
    result->tflops = CaseFlops(spec) / seconds * 1e-12;
    result->tbps = KvBytes(spec) / seconds * 1e-12;
    const bool memory_bound = CountsBytes(spec);
    const std::optional<double> ceiling = memory_bound ? ceilings_.read_stream_tbps : ceilings_.tensor_core_tflops;
    if (!ceiling.has_value()) return;
    result->ceiling = memory_bound ? CeilingKind::kReadStream : CeilingKind::kTensorCore;
    result->percent_of_ceiling = 100.0 * (memory_bound ? *result->tbps : *result->tflops) / *ceiling;
  }

  std::unique_ptr<GpuDevice> device_;
  Ceilings ceilings_;
  /// The last case, when it is to come again. Freed before the device.
  std::unique_ptr<PreparedCase> held_;
};

}  // namespace

OpenResult OpenGpuSession(const std::string& device_id, const std::string& kernel_dir) {
  OpenResult result;
  std::unique_ptr<GpuDevice> device = GpuDevice::Open(device_id, kernel_dir, &result.status);
  if (device != nullptr) result.session = std::make_unique<GpuSession>(std::move(device));
  return result;
}

}  // namespace attn
