#include "page_table.h"

#include <algorithm>
#include <numeric>

#include "../kernels/common/random_inputs.h"

namespace attn {
namespace {

bool RepeatsPages(const AttentionCase& spec) {
  return spec.page_size.has_value() && (spec.seed >> 28) == kPatternRepeatedPages;
}

}  // namespace

PageTable BuildPageTable(const AttentionCase& spec) {
  const int64_t page_size = *spec.page_size;
  PageTable table;
  int64_t owned = 0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t pages = (spec.kv_lens.At(b) + page_size - 1) / page_size;
    table.stride = std::max(table.stride, pages);
    owned += RepeatsPages(spec) ? (pages + 1) / 2 : pages;
  }
  table.pool_pages = owned + std::max<int64_t>(1, owned / 8);

  std::vector<int32_t> order(static_cast<size_t>(table.pool_pages));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size() - 1; i > 0; --i) {
    std::swap(order[i], order[random_bits(spec.seed, kTensorPage, i) % (i + 1)]);
  }

  table.pages.assign(static_cast<size_t>(spec.batch * table.stride), -1);
  size_t next = 0;
  for (int64_t b = 0; b < spec.batch; ++b) {
    const int64_t pages = (spec.kv_lens.At(b) + page_size - 1) / page_size;
    int32_t* row = table.pages.data() + b * table.stride;
    for (int64_t page = 0; page < pages; ++page) {
      const bool shares = RepeatsPages(spec) && page % 2 == 1;
      row[page] = shares ? row[page - 1] : order[next++];
    }
  }
  return table;
}

int64_t StoredToken(const AttentionCase& spec, int64_t token) {
  if (!RepeatsPages(spec)) return token;
  return (token / *spec.page_size) % 2 == 1 ? token - *spec.page_size : token;
}

}  // namespace attn
