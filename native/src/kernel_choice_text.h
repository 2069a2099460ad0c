// Why a kernel was chosen, as one sentence for people.
#pragma once

#include <string>

#include "kernel_registry.h"

namespace attn {

/// What of the case and the GPU made ChooseKernel take `row`: tile, instructions, and the limits that ruled others out.
std::string WhyThisKernel(const KernelRow& row, const AttentionCase& spec, const GpuLimits& gpu);

}  // namespace attn
