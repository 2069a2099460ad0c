#include "system_memory.h"

#include <cstdio>

namespace attn {

std::optional<SystemMemory> ReadSystemMemory() {
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (file == nullptr) return std::nullopt;
  SystemMemory memory;
  char line[256];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    unsigned long long kib = 0;
    if (std::sscanf(line, "MemTotal: %llu kB", &kib) == 1) memory.total_bytes = kib * 1024;
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) memory.available_bytes = kib * 1024;
  }
  std::fclose(file);
  if (memory.total_bytes == 0 || memory.available_bytes == 0) return std::nullopt;
  return memory;
}

}  // namespace attn
