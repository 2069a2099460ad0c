// When a measured output counts as right, for every device (kernels.md 3.7 gives the reasoning).
#pragma once

#include <mutex>
#include <vector>

#include "reference_cpu.h"
#include "session.h"

namespace attn {

/// A result may be this much worse than what rounding P and O to the case's dtype costs by itself.
constexpr double kMaxFloorRatio = 1.25;
/// Differences this small are fp32 summation order, and count even where rounding costs nothing (one key).
constexpr double kRelErrorAllowance = 1e-6;
/// Largest absolute error of a log-sum-exp.
constexpr double kMaxLseError = 2e-3;

/// Collects rows and their references; Add may be called from several threads.
class ErrorMeter {
 public:
  /// @param actual head_dim_v elements as the device wrote them
  /// @param actual_lse the device's log-sum-exp; null when it gives none
  void Add(const ReferenceRow& reference, const double* actual, const double* actual_lse);

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  /// ‖actual − reference‖ / ‖reference‖; 0 when both are all zero, infinite when only the reference is.
  double RelError() const;
  double RoundingFloor() const;
  /// Empty when no log-sum-exp was given. Two equal infinities differ by 0.
  std::optional<double> LseError() const { return lse_error_; }

  /// Why the output is wrong, or empty when it is right. A NaN is always wrong; so is having compared nothing.
  std::optional<Reason> Problem() const;

 private:
  /// Squared norms of one row.
  struct RowSums {
    RowId id;
    double error = 0.0;
    double floor = 0.0;
    double reference = 0.0;
  };

  /// Sums over all rows in the order of their ids, so that thread timing does not show in the last bits.
  RowSums Totals() const;

  std::mutex mutex_;
  std::vector<RowSums> rows_;
  std::optional<double> lse_error_;
};

}  // namespace attn
