// One case on a GPU: its tensors, its launches and its check. Owns all memory of the case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../kernels/common/params.h"
#include "decode_plan.h"
#include "gpu_device.h"
#include "hopper_decode.h"
#include "hopper_mla.h"
#include "hopper_prefill.h"
#include "reference_cpu.h"
#include "session.h"

namespace attn {

/// What the comparison with the float64 reference found.
struct CheckOutcome {
  int64_t rows = 0;
  double rel_error = 0.0;
  double rounding_floor = 0.0;
  std::optional<double> lse_error;
  /// Why the output is wrong; empty when it is right.
  std::optional<Reason> problem;
};

class GpuCase {
 public:
  GpuCase(GpuDevice& device, const AttentionCase& spec, const KernelRow& row, CUfunction function)
      : device_(device), spec_(spec), row_(row), function_(function) {}

  /// Allocates and fills everything.
  /// @return a result that ends the case (`outOfMemory`, `failed`), or empty
  std::optional<CaseResult> Prepare(const RunOptions& options);

  /// Queues one launch as the case asks for it, on buffer set `set` modulo the number of sets.
  Status Launch(int64_t set) { return Launch(set, spec_.lse); }
  /// Copies of Q and KV that timed launches go through, so that they read memory instead of the L2 cache.
  int sets() const { return sets_; }
  /// Parts the keys of one item were cut into; 1 = none, and always for prefill.
  int num_splits() const { return mla_.has_value() ? mla_->num_splits() : plan_.max_splits; }

  /// Runs the kernel on poisoned output and compares rows with the reference, the guard bands, and, when every row is
  /// asked for, three launches bit by bit. The log-sum-exp is compared in any case: where the case does not ask for it, a
  /// launch of its own writes it, so that O is compared as the timed launches make it.
  Wait Check(const RunOptions& options, const CancelFlag& cancel, CheckOutcome* outcome, Status* status);

 private:
  struct Poisoned; /* what a scan of the output found */

  void LayOut();
  size_t TableBytes() const;
  size_t PartialRows() const;
  size_t PartialBytes() const;
  Status Allocate();
  Status UploadTables();
  Status FillTensor(CUfunction fill, unsigned tensor);
  Status FillInputs();
  Status EncodeMaps();
  void SelectSet(size_t set);
  Status Launch(int64_t set, bool lse);
  Wait RunOnPoison(bool lse, const CancelFlag& cancel, Poisoned* found, Status* status);

  GpuDevice& device_;
  const AttentionCase& spec_;
  const KernelRow& row_;
  CUfunction function_;

  AttentionParams params_{};
  HopperShape shape_;
  std::optional<HopperPrefill> hopper_prefill_; /* for rows that take tensor maps: one of the three */
  std::optional<HopperDecode> hopper_decode_;
  std::optional<HopperMla> mla_;
  DecodeShape decode_shape_;
  DecodePlan plan_;
  std::vector<int32_t> q_starts_;
  std::vector<int32_t> kv_starts_;
  std::vector<int32_t> pages_;
  std::vector<RowId> rows_; /* compared with the reference */
  size_t q_bytes_ = 0;
  size_t k_bytes_ = 0;
  size_t v_bytes_ = 0; /* 0 in MLA decode, where V is a part of K */
  size_t o_bytes_ = 0;
  size_t lse_bytes_ = 0;
  int64_t longest_q_ = 0;
  int64_t longest_kv_ = 0;
  int sets_ = 1;
  int reference_blocks_ = 0;

  GpuBuffer q_, k_, v_, o_, lse_, tables_, partials_, reference_, scan_;
  CUdeviceptr reference_rows_ = 0;
  CUdeviceptr reference_sums_ = 0;
};

}  // namespace attn
