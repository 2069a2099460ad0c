#include "kernel_registry.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace attn {
namespace {

namespace table {
constexpr Op prefill = Op::kPrefill;
constexpr Op decode = Op::kDecode;
constexpr DType bf16 = DType::kBf16;
constexpr DType fp16 = DType::kFp16;
constexpr bool kv16 = false; /* KernelRow::fp8_kv */
constexpr bool fp8 = true;
}  // namespace table

/// CRC-32 of IEEE 802.3, as node:zlib computes it.
uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Whether one of the images of a row runs on a GPU of `target`.
bool HasImage(const char* images, const std::string& target) {
  std::istringstream stream(images);
  for (std::string next; stream >> next;) {
    if (RunsImage(target, next)) return true;
  }
  return false;
}

/// Whether a row runs on a GPU and serves the case's options and lengths.
bool Serves(const KernelRow& row, const AttentionCase& spec, const GpuLimits& gpu) {
  if (!HasImage(row.targets, gpu.target)) return false;
  // Strides of a tensor map are multiples of 16 bytes, which rows of an fp8 cache need not be.
  if (row.fp8_kv && (spec.head_dim % 16 != 0 || spec.head_dim_v % 16 != 0)) return false;
  if (!row.options && (spec.window.has_value() || spec.softcap > 0 || spec.sinks)) return false;
  int64_t longest_q = 0;
  for (int64_t b = 0; b < spec.batch; ++b) longest_q = std::max(longest_q, spec.q_lens.At(b));
  return longest_q >= row.min_longest_q;
}

KernelChoice Unsupported(const char* code, std::string text) {
  return {nullptr, Reason{code, std::move(text)}};
}

}  // namespace

const std::vector<KernelRow>& KernelTable() {
  static const std::vector<KernelRow> rows = {
#define SM90_PREFILL(name, dtype, dim, dim_v, m, n, rows_k, rows_v, min_q, options, threads, shared, group, source, ...) \
  {#name, Op::kPrefill, table::dtype, dim, dim_v, m, n, 1, 1, 2, threads, shared, 1, "sm_90a", #group, rows_k, rows_v, min_q, options != 0},
#include "../kernels/sm90a/prefill_table.def"
#undef SM90_PREFILL
#define SM90_MLA(name, dtype, m, n, threads, shared, group, ...) \
  {#name, Op::kMlaDecode, table::dtype, 576, 512, m, n, 1, 1, 2, threads, shared, 1, "sm_90a", #group, n, n, 0, false},
#include "../kernels/sm90a/mla_table.def"
#undef SM90_MLA
#define SM90_DECODE(name, dtype, kv, dim, keys, groups, split, stages, threads, shared, group)                              \
  {#name, Op::kDecode, table::dtype, dim, dim, 16, keys, groups, split, stages, threads, shared, 1, "sm_90a", #group, keys, \
   keys, 0, true, table::kv},
#include "../kernels/sm90a/decode_table.def"
#undef SM90_DECODE
#define ATTN_KERNEL(name, op, dtype, dim, m, n, slabs, split, stages, threads, shared, blocks, targets, group) \
  {#name, table::op, table::dtype, dim, dim, m, n, slabs, split, stages, threads, shared, blocks, targets, #group, 0, 0, 0, true},
#include "../kernels/kernel_table.def"
#undef ATTN_KERNEL
  };
  return rows;
}

ModuleList ReadModuleList(const std::string& kernel_dir) {
  ModuleList list;
  const std::optional<std::string> text = kernel_dir.empty() ? std::nullopt : ReadFile(kernel_dir + "/modules.tsv");
  if (!text.has_value()) {
    list.status = {"kernelsMissing",
                   "This build has no GPU kernels; build them with `npm run build:kernels` or install the linux-x64 "
                   "package.",
                   0};
    return list;
  }
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);
    KernelModule module;
    std::string crc;
    if (!(cells >> module.file >> module.target >> module.group >> module.min_driver_api_version >> crc)) {
      list.modules.clear();
      break;
    }
    module.crc32 = static_cast<uint32_t>(std::strtoul(crc.c_str(), nullptr, 16));
    list.modules.push_back(module);
  }
  if (list.modules.empty()) {
    list.status = {"kernelsInvalid", "modules.tsv in " + kernel_dir + " is damaged; build the kernels again.", 0};
  }
  return list;
}

ModuleImage ReadModule(const std::string& kernel_dir, const KernelModule& module) {
  const std::optional<std::string> bytes = ReadFile(kernel_dir + "/" + module.file);
  if (!bytes.has_value()) {
    return {{"kernelsInvalid", "Kernel module " + module.file + " is missing; build the kernels again.", 0}, ""};
  }
  if (Crc32(*bytes) != module.crc32) {
    return {{"kernelsInvalid", "Kernel module " + module.file + " is damaged; build the kernels again.", 0}, ""};
  }
  return {Status::Ok(), *bytes};
}

std::string TargetFor(int major) {
  if (major < 8) return "";
  if (major == 8) return "sm_80";
  if (major == 9) return "sm_90a";
  if (major == 12) return "sm_120";
  return "ptx";
}

bool RunsImage(const std::string& target, const std::string& image) {
  return image == target || (target == "sm_90a" && image == "sm_90");
}

KernelChoice ChooseKernel(const AttentionCase& spec, const GpuLimits& gpu) {
  const std::string& target = gpu.target;
  if (target.empty()) {
    return Unsupported("noBf16Mma", "Compute capability " + std::to_string(gpu.major) + "." +
                                        std::to_string(gpu.minor) +
                                        " has no bf16 tensor-core instruction; the bundled kernels need 8.0 or newer.");
  }
  if (target == "sm_90a" && !gpu.tensor_maps) {
    return Unsupported("noTensorMaps", "On compute capability 9.0 the bundled kernels need a driver that encodes tensor maps "
                                       "(cuTensorMapEncodeTiled, in 12.0 and newer).");
  }
  if (spec.op == Op::kMlaDecode && target != "sm_90a") {
    return Unsupported("noKernelMlaDecode", "The bundled MLA decode kernel needs compute capability 9.0 (Hopper); this GPU has " +
                                                std::to_string(gpu.major) + "." + std::to_string(gpu.minor) + ".");
  }
  const bool fp8 = spec.kv_dtype == KvDType::kFp8E4m3;
  const auto fits = [&](const KernelRow& row) {
    return row.op == spec.op && row.dtype == spec.dtype && row.fp8_kv == fp8 && row.head_dim_tile >= spec.head_dim &&
           row.head_dim_v_tile >= spec.head_dim_v && Serves(row, spec, gpu);
  };
  // The least padding first; among rows of one tile, the table's order of preference.
  const auto padded = [](const KernelRow& row) { return row.head_dim_tile + row.head_dim_v_tile; };
  const KernelRow* smallest_tile = nullptr;
  for (const KernelRow& row : KernelTable()) {
    if (fits(row) && (smallest_tile == nullptr || padded(row) < padded(*smallest_tile))) smallest_tile = &row;
  }
  if (smallest_tile == nullptr) {
    if (fp8) {
      return Unsupported("noKernelFp8Kv", "No bundled kernel reads an fp8 KV cache for this case on this GPU.");
    }
    if (spec.op == Op::kMlaDecode) {
      return Unsupported("noKernelMlaDecode", "The bundled MLA decode kernel takes no window, soft cap or sinks.");
    }
    return Unsupported("noKernelHeadDim", "No bundled kernel serves headDim " + std::to_string(spec.head_dim) +
                                              " with headDimV " + std::to_string(spec.head_dim_v) + ".");
  }
  int least_shared = 0;
  for (const KernelRow& row : KernelTable()) {
    if (!fits(row) || padded(row) != padded(*smallest_tile)) continue;
    if (row.shared_bytes <= gpu.shared_bytes_per_block) return {&row, std::nullopt};
    if (least_shared == 0 || row.shared_bytes < least_shared) least_shared = row.shared_bytes;
  }
  return Unsupported("sharedMemory", "headDim " + std::to_string(spec.head_dim) + " needs " + std::to_string(least_shared) +
                                         " bytes of shared memory per block; this GPU grants " +
                                         std::to_string(gpu.shared_bytes_per_block) + ".");
}

}  // namespace attn
