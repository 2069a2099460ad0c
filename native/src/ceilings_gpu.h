// What a GPU can do at most, measured: the denominators of percentOfCeiling.
#pragma once

#include "gpu_device.h"
#include "session.h"

namespace attn {

/// Measures the read-only stream, the copy and the tensor-core issue loop, about 0.1 s of GPU time each.
/// @param problem says why when something failed; untouched otherwise
Ceilings MeasureGpuCeilings(GpuDevice& device, const RunOptions& options, const CancelFlag& cancel, Status* problem);

}  // namespace attn
