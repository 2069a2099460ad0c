// The paged KV cache a case stands for: which physical page holds which tokens. Host code, the same for every device.
#pragma once

#include <cstdint>
#include <vector>

#include "session.h"

namespace attn {

/// A shuffled pool of KV pages. Some pages belong to no sequence; devices fill them, and the unused rows of last
/// pages, with NaN, so that reading past a sequence shows.
struct PageTable {
  /// [batch, stride]: physical page of each logical page; -1 beyond the sequence's last page.
  std::vector<int32_t> pages;
  int64_t stride = 0;
  int64_t pool_pages = 0;

  int32_t At(int64_t sequence, int64_t logical_page) const {
    return pages[static_cast<size_t>(sequence * stride + logical_page)];
  }
};

/// Builds the table of a valid paged case from its seed. Under kPatternRepeatedPages every odd logical page of a
/// sequence shares the physical page before it.
PageTable BuildPageTable(const AttentionCase& spec);

/// Position within its sequence whose K and V values stand at `token`: the token itself, except under
/// kPatternRepeatedPages in a paged case, where an odd page shows the page before it.
int64_t StoredToken(const AttentionCase& spec, int64_t token);

}  // namespace attn
