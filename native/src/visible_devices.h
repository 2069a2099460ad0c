// Which CUDA index each GPU gets under CUDA_VISIBLE_DEVICES, worked out without CUDA. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace attn {

/// A device as CUDA could enumerate it: a whole GPU, or a MIG instance.
struct EnumerableGpu {
  std::string uuid;  // `GPU-…` or `MIG-…`
  bool is_mig_instance = false;
  bool mig_enabled = false;  // a whole GPU in MIG mode, which CUDA does not run on
};

/// CUDA index of each GPU, in the order given; empty where it is hidden or cannot be told.
///
/// Rules (CUDA C++ Programming Guide, environment variables; the corner cases as PyTorch documents them in
/// torch/cuda/__init__.py): entries are indices (read like strtoul: leading digits count) or UUIDs that may be shortened
/// while unambiguous; the first invalid entry ends the list; a device named twice leaves none; unset shows all, empty
/// shows none. Indices count in PCI order only when CUDA_DEVICE_ORDER is PCI_BUS_ID; otherwise the fastest comes first,
/// which can only be told here when all GPUs are alike. With MIG in play, indices cannot be told, and CUDA uses the
/// first MIG instance named only.
///
/// @param gpus in NVML (PCI) order, MIG instances after their GPU
/// @param visible_devices value of CUDA_VISIBLE_DEVICES, empty optional when unset
/// @param index_order_is_pci CUDA_DEVICE_ORDER is PCI_BUS_ID, or all GPUs are the same model
std::vector<std::optional<int>> CudaIndices(const std::vector<EnumerableGpu>& gpus,
                                            const std::optional<std::string>& visible_devices, bool index_order_is_pci);

}  // namespace attn
