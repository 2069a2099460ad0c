// Memory of this machine, from /proc/meminfo.
#pragma once

#include <cstdint>
#include <optional>

namespace attn {

struct SystemMemory {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;
};

/// Empty when /proc/meminfo cannot be read.
std::optional<SystemMemory> ReadSystemMemory();

}  // namespace attn
