#include "correctness.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <tuple>

namespace attn {
namespace {

double Ratio(double error_sum, double reference_sum) {
  if (error_sum == 0) return 0.0;
  if (reference_sum == 0) return std::numeric_limits<double>::infinity();
  return std::sqrt(error_sum / reference_sum);
}

std::string Scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

}  // namespace

void ErrorMeter::Add(const ReferenceRow& reference, const double* actual, const double* actual_lse) {
  RowSums sums;
  sums.id = reference.id;
  for (size_t d = 0; d < reference.out.size(); ++d) {
    const double expected = reference.out[d];
    sums.error += (actual[d] - expected) * (actual[d] - expected);
    sums.floor += (reference.rounded_out[d] - expected) * (reference.rounded_out[d] - expected);
    sums.reference += expected * expected;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  rows_.push_back(sums);
  if (actual_lse == nullptr) return;
  const double lse_error = *actual_lse == reference.lse ? 0.0 : std::fabs(*actual_lse - reference.lse);
  // a NaN replaces any number and is replaced by none
  if (!lse_error_.has_value() || std::isnan(lse_error) || lse_error > *lse_error_) lse_error_ = lse_error;
}

ErrorMeter::RowSums ErrorMeter::Totals() const {
  std::vector<RowSums> ordered = rows_;
  std::sort(ordered.begin(), ordered.end(), [](const RowSums& a, const RowSums& b) {
    return std::tie(a.id.sequence, a.id.q_index, a.id.head) < std::tie(b.id.sequence, b.id.q_index, b.id.head);
  });
  RowSums total;
  for (const RowSums& row : ordered) {
    total.error += row.error;
    total.floor += row.floor;
    total.reference += row.reference;
  }
  return total;
}

double ErrorMeter::RelError() const {
  const RowSums total = Totals();
  return Ratio(total.error, total.reference);
}

double ErrorMeter::RoundingFloor() const {
  const RowSums total = Totals();
  return Ratio(total.floor, total.reference);
}

std::optional<Reason> ErrorMeter::Problem() const {
  if (rows_.empty()) return Reason{"nothingChecked", "No output row was compared with the reference."};
  const double error = RelError();
  const double limit = kMaxFloorRatio * RoundingFloor() + kRelErrorAllowance;
  if (!(error <= limit)) {
    return Reason{"relError", "The output differs from the float64 reference by " + Scientific(error) +
                                  " of its norm over " + std::to_string(rows()) + " rows; rounding explains " +
                                  Scientific(limit) + "."};
  }
  if (lse_error_.has_value() && !(*lse_error_ <= kMaxLseError)) {
    return Reason{"lseError", "The log-sum-exp differs from the float64 reference by up to " +
                                  Scientific(*lse_error_) + "; the limit is " + Scientific(kMaxLseError) + "."};
  }
  return std::nullopt;
}

}  // namespace attn
