// From repeated times to the figures of a result, the same for every device.
#pragma once

#include <vector>

#include "session.h"

namespace attn {

/// Median and 10th and 90th percentile (interpolated) of at least one time in milliseconds, in any order.
Timing SummarizeMs(std::vector<double> ms);

}  // namespace attn
