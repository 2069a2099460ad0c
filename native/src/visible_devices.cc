#include "visible_devices.h"

#include <algorithm>
#include <cctype>

namespace attn {
namespace {

using Indices = std::vector<std::optional<int>>;

std::string Trim(const std::string& text) {
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
  const auto end = std::find_if_not(text.rbegin(), text.rend(), is_space).base();
  return begin < end ? std::string(begin, end) : std::string();
}

std::vector<std::string> SplitEntries(const std::string& list) {
  std::vector<std::string> entries;
  size_t start = 0;
  for (;;) {
    const size_t comma = list.find(',', start);
    if (comma == std::string::npos) {
      entries.push_back(Trim(list.substr(start)));
      return entries;
    }
    entries.push_back(Trim(list.substr(start, comma - start)));
    start = comma + 1;
  }
}

/// Leading digits as a number, -1 when there are none or they are absurd.
int LeadingNumber(const std::string& entry) {
  size_t at = !entry.empty() && entry[0] == '+' ? 1 : 0;
  long value = -1;
  for (; at < entry.size() && std::isdigit(static_cast<unsigned char>(entry[at])) != 0; ++at) {
    value = std::max(value, 0L) * 10 + (entry[at] - '0');
    if (value > 1'000'000) return -1;
  }
  return static_cast<int>(value);
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// The one GPU whose UUID starts with `prefix`, -1 when there is none or more than one.
int FindByPrefix(const std::vector<EnumerableGpu>& gpus, const std::string& prefix) {
  int found = -1;
  for (size_t i = 0; i < gpus.size(); ++i) {
    if (Lower(gpus[i].uuid).rfind(Lower(prefix), 0) != 0) continue;
    if (found != -1) return -1;
    found = static_cast<int>(i);
  }
  return found;
}

bool IsUuid(const std::string& entry) { return entry.rfind("GPU-", 0) == 0 || entry.rfind("MIG-", 0) == 0; }

}  // namespace

Indices CudaIndices(const std::vector<EnumerableGpu>& gpus, const std::optional<std::string>& visible_devices,
                    bool index_order_is_pci) {
  const Indices none(gpus.size());
  const bool has_mig =
      std::any_of(gpus.begin(), gpus.end(), [](const EnumerableGpu& gpu) { return gpu.mig_enabled; });
  const bool indices_known = index_order_is_pci && !has_mig;

  Indices result = none;
  if (!visible_devices.has_value()) {
    if (!indices_known) return none;
    for (size_t i = 0; i < gpus.size(); ++i) result[i] = static_cast<int>(i);
    return result;
  }

  int next = 0;
  const std::vector<std::string> entries = SplitEntries(*visible_devices);
  const bool uuids = !entries.empty() && IsUuid(entries[0]);
  for (const std::string& entry : entries) {
    int gpu = -1;
    if (uuids) {
      gpu = IsUuid(entry) ? FindByPrefix(gpus, entry) : -1;
    } else {
      gpu = LeadingNumber(entry);
      if (gpu >= 0 && !indices_known) return none;
    }
    if (gpu < 0 || gpu >= static_cast<int>(gpus.size())) break;
    std::optional<int>& slot = result[static_cast<size_t>(gpu)];
    if (slot.has_value()) return none;
    slot = next++;
    if (gpus[static_cast<size_t>(gpu)].is_mig_instance) break;
  }
  return result;
}

}  // namespace attn
