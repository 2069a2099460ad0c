#include "timing_stats.h"

#include <algorithm>

namespace attn {
namespace {

/// Value at `share` (0 … 1) of the sorted numbers, interpolated.
double Percentile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Timing SummarizeMs(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  return {Percentile(ms, 0.5), Percentile(ms, 0.1), Percentile(ms, 0.9), static_cast<int64_t>(ms.size())};
}

}  // namespace attn
