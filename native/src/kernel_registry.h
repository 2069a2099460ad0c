// Which kernels exist (native/kernels/kernel_table.def), which modules were built, and which kernel serves a case. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "session.h"

namespace attn {

/// One row of kernel_table.def or of sm90a/*_table.def; see there for the columns.
struct KernelRow {
  const char* name;
  Op op;
  DType dtype;
  int head_dim_tile;
  int head_dim_v_tile;
  int rows_per_block;
  int keys_per_step;
  int slabs;  // decode: key groups per block
  int dim_split;
  int stages;
  int threads;
  int shared_bytes;
  int blocks_per_sm;
  const char* targets;
  const char* group;
  // Hopper rows (sm90a/*_table.def) only; zero elsewhere.
  int k_stage_rows = 0;
  int v_stage_rows = 0;
  int min_longest_q = 0;
  bool options = true;  // knows windows, soft caps and sinks
  bool fp8_kv = false;  // reads an fp8-e4m3 KV cache, and only that

  /// Whether the kernel takes tensor maps (HopperPrefill, HopperDecode, HopperMla) instead of AttentionParams.
  bool tensor_maps() const { return k_stage_rows > 0; }
};

/// All rows, in order of preference within a tile.
const std::vector<KernelRow>& KernelTable();

/// One built module: a line of modules.tsv.
struct KernelModule {
  std::string file;
  std::string target;
  std::string group;
  int min_driver_api_version = 0;
  uint32_t crc32 = 0;
};

/// Reads modules.tsv of a kernel folder. `status.code` is `kernelsMissing` or `kernelsInvalid`.
struct ModuleList {
  Status status;
  std::vector<KernelModule> modules;
};
ModuleList ReadModuleList(const std::string& kernel_dir);

/// The bytes of a module after checking their checksum; `status.code` is `kernelsInvalid` when they are not there or not
/// the ones that were built.
struct ModuleImage {
  Status status;
  std::string bytes;
};
ModuleImage ReadModule(const std::string& kernel_dir, const KernelModule& module);

/// What the choice of a kernel needs to know of a GPU.
struct GpuLimits {
  int major = 0;
  int minor = 0;
  int shared_bytes_per_block = 0;
  /// Image this GPU runs, from TargetFor.
  std::string target;
  /// The driver can encode tensor maps (12.0 and newer), which the Hopper kernels need.
  bool tensor_maps = false;
};

/// Image of a compute capability: `sm_80`, `sm_90a` (which runs `sm_90` images too), `sm_120`, `ptx`, or empty when none can
/// run (no bf16 mma before 8.0).
std::string TargetFor(int major);

/// Whether a GPU that runs `target` images runs `image`.
bool RunsImage(const std::string& target, const std::string& image);

/// The kernel for a valid case, or why there is none.
struct KernelChoice {
  const KernelRow* row = nullptr;
  std::optional<Reason> unsupported;
};
KernelChoice ChooseKernel(const AttentionCase& spec, const GpuLimits& gpu);

}  // namespace attn
