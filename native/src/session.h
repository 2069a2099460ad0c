// What a device that can run attention cases looks like, for the addon and for everyone who implements one.
//
// Plain C++17 values with the fields, names and units of extension/core/attentionCase.ts and
// extension/protocol/helperApi.ts. Nothing here knows Node-API, CUDA or NVML.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attn {

/// Outcome of a step. `code` is empty on success, else a stable machine word (`deviceNotFound`,
/// `CUDA_ERROR_OUT_OF_MEMORY`); `text` is one plain sentence; `number` the library's own status, 0 when there is none.
struct Status {
  std::string code;
  std::string text;
  int64_t number = 0;

  bool ok() const { return code.empty(); }
  static Status Ok() { return {}; }
};

enum class Op { kPrefill, kDecode, kMlaDecode };
enum class DType { kBf16, kFp16 };
enum class KvDType { kAuto, kFp8E4m3 };
enum class KvLayout { kNhd, kHnd };

/// Tokens per sequence: one number for all sequences (`uniform`), or one per sequence.
struct Lengths {
  std::vector<int64_t> values;
  bool uniform = true;

  /// Length of sequence `b`; the case must have passed ValidateCase.
  int64_t At(int64_t b) const { return uniform ? values[0] : values[static_cast<size_t>(b)]; }
};

/// One attention problem; see attentionCase.ts for the meaning of each field. Beyond what is written there:
///  * scores are scaled by 1/sqrt(head_dim) before soft cap and mask;
///  * a sink logit is not scaled or capped; it enters the softmax denominator and therefore the LSE;
///  * a row that sees no key gives O = 0 and LSE = -inf (with a sink: LSE = the sink logit);
///  * mlaDecode has kv_heads == 1 and V is the first head_dim_v elements of each K row.
struct AttentionCase {
  Op op = Op::kPrefill;
  DType dtype = DType::kBf16;
  KvDType kv_dtype = KvDType::kAuto;
  double kv_scale = 1.0;
  int64_t head_dim = 0;
  int64_t head_dim_v = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t batch = 0;
  Lengths q_lens;
  Lengths kv_lens;
  bool causal = false;
  std::optional<int64_t> window;
  double softcap = 0.0;
  bool sinks = false;
  KvLayout kv_layout = KvLayout::kNhd;
  std::optional<int64_t> page_size;
  bool lse = false;
  uint32_t seed = 0;
};

/// How much care and time a run takes (runOptionsSchema).
struct RunOptions {
  double target_ms = 200.0;
  double warmup_ms = 500.0;
  /// Query rows compared with the float64 reference; empty = every row.
  std::optional<int64_t> check_rows = 256;
  bool check_only = false;
  double max_memory_fraction = 0.5;
  bool ceilings = true;
  bool allow_slow_cpu = false;
  /// The same case comes again soon: a session may keep it prepared until another case or its own end.
  bool hold = false;
};

enum class CaseStatus { kOk, kUnsupported, kWrong, kFailed, kTimeout, kOutOfMemory, kCrashed, kCancelled };

/// Machine-readable reason and the sentence that goes with it.
struct Reason {
  std::string code;
  std::string text;
};

/// Milliseconds per launch over `runs` timed batches.
struct Timing {
  double median = 0.0;
  double p10 = 0.0;
  double p90 = 0.0;
  int64_t runs = 0;
};

/// Which code ran; see kernelIdentitySchema.
struct KernelIdentity {
  std::string name;
  std::optional<int64_t> head_dim_tile;
  std::string target;
  std::optional<int64_t> num_splits;
  /// Why this kernel and no other; empty where there was no choice.
  std::optional<std::string> why;
};

enum class CeilingKind { kTensorCore, kReadStream };

/// What came of one case; empty optionals were not established. See caseResultSchema for the units.
struct CaseResult {
  CaseStatus status = CaseStatus::kFailed;
  std::optional<Reason> reason;
  std::optional<KernelIdentity> kernel;
  std::optional<Timing> gpu_ms;
  std::optional<double> host_us;
  std::optional<double> tflops;
  std::optional<double> tbps;
  std::optional<double> percent_of_ceiling;
  std::optional<CeilingKind> ceiling;
  std::optional<double> rel_error;
  std::optional<double> rounding_floor;
  std::optional<double> lse_error;
  int64_t checked_rows = 0;
  std::optional<double> sm_clock_mhz;
  std::optional<double> jit_ms;
  bool contended = false;

  /// A result that carries nothing but why there is none.
  static CaseResult Because(CaseStatus status, std::string code, std::string text) {
    CaseResult result;
    result.status = status;
    result.reason = Reason{std::move(code), std::move(text)};
    return result;
  }
};

/// Measured ceilings of a device (ceilingsSchema).
struct Ceilings {
  std::optional<double> read_stream_tbps;
  std::optional<double> copy_tbps;
  std::optional<double> tensor_core_tflops;
  std::optional<std::string> tensor_core_instruction;
  std::optional<double> sm_clock_mhz;
};

enum class Phase { kContext, kCeilings, kJit, kAllocate, kCheck, kWarmup, kTime };

/// Called on the thread that runs the case, each time it enters a phase. Returns at once.
using PhaseCallback = std::function<void(Phase)>;

/// Set by the owner from any thread; a session looks at it between launches (GPU) or row blocks (CPU).
using CancelFlag = std::atomic<bool>;

/// One opened device. Calls never overlap, but each may come on another thread, so a GPU session makes its context
/// current at the start of each call (and of its destructor). No call may throw.
class Session {
 public:
  virtual ~Session() = default;
  /// Measures the denominators of percentOfCeiling; all empty where the device has none, was cancelled or failed.
  /// @param problem says why when something failed; untouched otherwise
  virtual Ceilings MeasureCeilings(const RunOptions& options, const PhaseCallback& on_phase, const CancelFlag& cancel,
                                   Status* problem) = 0;
  /// Runs one case; everything a case can cause is a status of the result.
  virtual CaseResult RunCase(const AttentionCase& spec, const RunOptions& options, const PhaseCallback& on_phase,
                             const CancelFlag& cancel) = 0;
};

/// A session, or why there is none. `code` is one of: `deviceNotFound`, `driverMissing`, `kernelsMissing`,
/// `kernelsInvalid`, `driverTooOld`, or the driver's own error name.
struct OpenResult {
  std::unique_ptr<Session> session;
  Status status;
};

/// The CPU reference device, with one worker per hardware thread this process may use.
OpenResult OpenCpuSession();

/// A GPU by its UUID string (`GPU-…` or `MIG-…`), in a context of its own. Implemented in gpu_session.cc.
/// @param kernel_dir folder with manifest.json and the kernel modules; empty = none
OpenResult OpenGpuSession(const std::string& device_id, const std::string& kernel_dir);

}  // namespace attn
