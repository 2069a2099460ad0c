// Unit tests of the pure native parts. Prints one line per failed check and exits with 1 when there was one.
// Also built with AddressSanitizer and UndefinedBehaviorSanitizer, which is why it runs whole cases too.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "../../../native/kernels/common/random_inputs.h"
#include "case_math.h"
#include "case_validation.h"
#include "correctness.h"
#include "cpu_attention.h"
#include "page_table.h"
#include "parallel.h"
#include "reference_cpu.h"
#include "session.h"
#include "timing_stats.h"

using attn::AttentionCase;

namespace {

int checks = 0;
int failures = 0;

void Check(bool condition, const char* expression, int line) {
  ++checks;
  if (condition) return;
  ++failures;
  std::printf("line %d: %s\n", line, expression);
}

#define CHECK(condition) Check((condition), #condition, __LINE__)

AttentionCase SmallCase() {
  AttentionCase spec;
  spec.head_dim = spec.head_dim_v = 32;
  spec.q_heads = 4;
  spec.kv_heads = 2;
  spec.batch = 2;
  spec.q_lens = {{5, 3}, false};
  spec.kv_lens = {{40, 70}, false};
  spec.causal = true;
  spec.lse = true;
  spec.seed = 11;
  return spec;
}

std::string ReasonCode(const AttentionCase& spec) {
  const auto reason = attn::ValidateCase(spec);
  return reason.has_value() ? reason->code : "valid";
}

void TestValidation() {
  CHECK(ReasonCode(SmallCase()) == "valid");
  const auto code = [](auto change) {
    AttentionCase spec = SmallCase();
    change(&spec);
    return ReasonCode(spec);
  };
  for (int64_t dim : {0, 7, 12, 520, 100000}) CHECK(code([&](auto* s) { s->head_dim = dim; }) == "headDim");
  for (int64_t dim : {0, 7, 520}) CHECK(code([&](auto* s) { s->head_dim_v = dim; }) == "headDimV");
  for (int64_t dim : {8, 72, 512}) CHECK(code([&](auto* s) { s->head_dim = dim; }) == "valid");
  CHECK(code([](auto* s) { s->batch = 0; }) == "batch");
  CHECK(code([](auto* s) { s->q_heads = 0; }) == "qHeads");
  CHECK(code([](auto* s) { s->kv_heads = 0; }) == "kvHeads");
  CHECK(code([](auto* s) { s->q_heads = 5; }) == "headGroup");
  CHECK(code([](auto* s) { s->q_heads = 1; }) == "headGroup");
  CHECK(code([](auto* s) { s->q_lens.values.push_back(1); }) == "qLens");
  CHECK(code([](auto* s) { s->kv_lens.values.pop_back(); }) == "kvLens");
  CHECK(code([](auto* s) { s->kv_lens.values[0] = -1; }) == "kvLens");
  CHECK(code([](auto* s) { s->kv_lens = {{0}, true}; }) == "valid");
  CHECK(code([](auto* s) { s->q_lens = {{0}, true}; }) == "noQueries");
  CHECK(code([](auto* s) { s->q_lens = {{0, 1}, false}; }) == "valid");
  for (int64_t size : {0, 1, 24, 512}) CHECK(code([&](auto* s) { s->page_size = size; }) == "pageSize");
  for (int64_t size : {16, 32, 64, 128, 256}) CHECK(code([&](auto* s) { s->page_size = size; }) == "valid");
  CHECK(code([](auto* s) { s->window = 0; }) == "window");
  CHECK(code([](auto* s) { s->window = 4, s->causal = false; }) == "window");
  CHECK(code([](auto* s) { s->softcap = -1; }) == "softcap");
  CHECK(code([](auto* s) { s->kv_scale = 0.5; }) == "kvScale");
  CHECK(code([](auto* s) { s->kv_scale = 0, s->kv_dtype = attn::KvDType::kFp8E4m3; }) == "kvScale");
  CHECK(code([](auto* s) { s->kv_scale = 0.5, s->kv_dtype = attn::KvDType::kFp8E4m3; }) == "valid");
  CHECK(code([](auto* s) { s->op = attn::Op::kMlaDecode; }) == "mlaShape");
  CHECK(code([](auto* s) {
          s->op = attn::Op::kMlaDecode, s->head_dim = 576, s->head_dim_v = 512, s->kv_heads = 1;
        }) == "valid");
  CHECK(code([](auto* s) {
          s->q_heads = s->kv_heads = 65536, s->head_dim = 512, s->kv_lens = {{16777216}, true};
        }) == "tooLarge");
  const auto reason = attn::ValidateCase([] {
    AttentionCase spec = SmallCase();
    spec.head_dim = 100;
    return spec;
  }());
  CHECK(reason->text.find("104") != std::string::npos);  // names the next supported value
}

void TestVisibleKeys() {
  AttentionCase spec = SmallCase();
  CHECK(attn::VisibleKeys(spec, 5, 40, 0).end == 36);  // bottom-right: the last query sees the last key
  CHECK(attn::VisibleKeys(spec, 5, 40, 4).end == 40);
  CHECK(attn::VisibleKeys(spec, 40, 5, 0).end == 0);
  CHECK(attn::VisibleKeys(spec, 40, 5, 39).end == 5);
  spec.window = 3;
  CHECK(attn::VisibleKeys(spec, 5, 40, 4).begin == 37);
  CHECK(attn::VisibleKeys(spec, 40, 40, 1).begin == 0);
  for (const bool causal : {true, false}) {
    for (const int64_t window : {0, 1, 7, 1000}) {
      spec.causal = causal;
      spec.window.reset();
      if (causal && window > 0) spec.window = window;
      for (const auto& [q_len, kv_len] : {std::pair<int64_t, int64_t>{9, 30}, {30, 9}, {1, 1}, {4, 0}, {12, 12}}) {
        spec.batch = 1;
        spec.q_lens = {{q_len}, true};
        spec.kv_lens = {{kv_len}, true};
        int64_t counted = 0;
        for (int64_t i = 0; i < q_len; ++i) {
          const auto range = attn::VisibleKeys(spec, q_len, kv_len, i);
          counted += std::max<int64_t>(0, range.end - range.begin);
        }
        CHECK(attn::VisiblePairs(spec) == static_cast<double>(counted));
      }
    }
  }
}

void TestWork() {
  AttentionCase spec = SmallCase();
  spec.causal = false;
  CHECK(attn::CaseFlops(spec) == 2.0 * (32 + 32) * (5 * 40 + 3 * 70) * 4);
  CHECK(attn::KvBytes(spec) == 110.0 * 2 * 64 * 2);
  spec.kv_dtype = attn::KvDType::kFp8E4m3;
  CHECK(attn::KvBytes(spec) == 110.0 * 2 * 64);
  spec.op = attn::Op::kMlaDecode;
  CHECK(attn::KvBytes(spec) == 110.0 * 2 * 32);

  AttentionCase mla;
  mla.op = attn::Op::kMlaDecode;
  mla.head_dim = 576, mla.head_dim_v = 512, mla.kv_heads = 1, mla.batch = 2;
  const auto counts_bytes = [&](int64_t heads, std::vector<int64_t> q_lens) {
    mla.q_heads = heads;
    mla.q_lens = {std::move(q_lens), false};
    return attn::CountsBytes(mla);
  };
  CHECK(counts_bytes(16, {1, 1}) && counts_bytes(64, {1, 1}));
  CHECK(!counts_bytes(128, {1, 1}) && !counts_bytes(64, {1, 2}));
  mla.op = attn::Op::kPrefill;
  CHECK(!attn::CountsBytes(mla));
  mla.op = attn::Op::kDecode;
  CHECK(attn::CountsBytes(mla));
}

void TestFp8() {
  for (int bits = 0; bits < 256; ++bits) {
    const float value = attn::e4m3_value(static_cast<unsigned char>(bits));
    if ((bits & 0x7F) == 0x7F) {
      CHECK(std::isnan(value));
    } else {
      CHECK(attn::e4m3_bits(value) == bits);
    }
  }
  for (int bits = 0; bits < 0x7E; ++bits) { /* between neighbours: to the nearer one, halfway to the even one */
    const float low = attn::e4m3_value(static_cast<unsigned char>(bits));
    const float high = attn::e4m3_value(static_cast<unsigned char>(bits + 1));
    const float middle = (low + high) / 2;
    CHECK(attn::e4m3_bits(middle) == bits + (bits & 1));
    CHECK(attn::e4m3_bits(std::nextafter(middle, low)) == bits);
    CHECK(attn::e4m3_bits(-std::nextafter(middle, high)) == (0x80 | (bits + 1)));
  }
  CHECK(attn::e4m3_value(0x7E) == 448.0f);
  CHECK(attn::e4m3_bits(1e9f) == 0x7E);
  CHECK(attn::e4m3_bits(-460.0f) == 0xFE);
  CHECK(attn::e4m3_value(attn::e4m3_bits(17.0f)) == 16.0f);  // halfway between 16 and 18, to the even mantissa
  CHECK(attn::e4m3_value(attn::e4m3_bits(19.0f)) == 20.0f);
  CHECK(attn::e4m3_value(attn::e4m3_bits(0x1p-10f)) == 0.0f);  // halfway to the smallest number
  CHECK(attn::e4m3_value(attn::e4m3_bits(0x1.8p-10f)) == 0x1p-9f);
}

void TestPageTable() {
  AttentionCase spec = SmallCase();
  spec.page_size = 16;
  const attn::PageTable table = attn::BuildPageTable(spec);
  CHECK(table.stride == 5);
  std::set<int32_t> used;
  for (int64_t page = 0; page < 3; ++page) used.insert(table.At(0, page));
  for (int64_t page = 0; page < 5; ++page) used.insert(table.At(1, page));
  CHECK(used.size() == 8);
  CHECK(*used.begin() >= 0 && *used.rbegin() < table.pool_pages);
  CHECK(table.pool_pages > 8);  // some pages belong to nobody
  CHECK(table.At(0, 3) == -1 && table.At(0, 4) == -1);
  bool in_order = true;
  for (int64_t page = 1; page < 5; ++page) in_order = in_order && table.At(1, page) == table.At(1, page - 1) + 1;
  CHECK(!in_order);

  spec.seed = static_cast<uint32_t>(attn::kPatternRepeatedPages) << 28 | 5;
  const attn::PageTable shared = attn::BuildPageTable(spec);
  CHECK(shared.At(1, 0) == shared.At(1, 1) && shared.At(1, 2) == shared.At(1, 3));
  CHECK(shared.At(1, 1) != shared.At(1, 2));
  CHECK(attn::StoredToken(spec, 15) == 15 && attn::StoredToken(spec, 16) == 0 && attn::StoredToken(spec, 33) == 33);
}

void TestSampleRows() {
  AttentionCase spec = SmallCase();
  CHECK(attn::SampleRows(spec, std::nullopt).size() == 8 * 4);
  CHECK(attn::SampleRows(spec, 1000).size() == 8 * 4);
  spec.q_lens = {{1000}, true};
  const auto rows = attn::SampleRows(spec, 64);
  CHECK(rows.size() == 64);
  const auto has = [&](int64_t sequence, int64_t q_index) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const attn::RowId& row) { return row.sequence == sequence && row.q_index == q_index; });
  };
  CHECK(has(0, 0) && has(1, 999) && has(0, 63) && has(0, 64) && has(0, 65));
  CHECK(attn::SampleRows(spec, 1).size() == 1);
}

/// Runs a case, lets `damage` change what the device wrote, and returns what the meter says.
template <typename Damage>
std::string Verdict(const AttentionCase& spec, const Damage& damage) {
  const attn::CancelFlag never{false};
  attn::CpuAttention attention(spec);
  CHECK(attention.Allocate() && attention.Poison(2, never) && attention.Fill(2, never));
  attention.Run(2, never);
  const auto starts = attn::PackedStarts(spec.q_lens, spec.batch);
  attn::ErrorMeter meter;
  attn::ComputeReferenceRows(spec, attn::SampleRows(spec, std::nullopt), 2, never, [&](const attn::ReferenceRow& row) {
    const int64_t token = starts[static_cast<size_t>(row.id.sequence)] + row.id.q_index;
    std::vector<double> out(row.out.size());
    attention.ReadOutput(token, row.id.head, out.data());
    double lse = attention.ReadLse(token, row.id.head);
    damage(row.id, &out, &lse);
    meter.Add(row, out.data(), spec.lse ? &lse : nullptr);
  });
  const auto problem = meter.Problem();
  return problem.has_value() ? problem->code : "ok";
}

void TestCorrectnessGate() {
  using Row = std::vector<double>;
  const AttentionCase spec = SmallCase();
  CHECK(Verdict(spec, [](const attn::RowId&, Row*, double*) {}) == "ok");
  CHECK(Verdict(spec, [](const attn::RowId&, Row* out, double*) {
          for (double& value : *out) value *= 1.01;
        }) == "relError");
  CHECK(Verdict(spec, [](const attn::RowId& id, Row* out, double*) {
          if (id.q_index == 0 && id.head == 3) std::fill(out->begin(), out->end(), 0.0);
        }) == "relError");
  CHECK(Verdict(spec, [](const attn::RowId& id, Row* out, double*) {
          if (id.q_index == 2) (*out)[7] = std::numeric_limits<double>::quiet_NaN();
        }) == "relError");
  CHECK(Verdict(spec, [](const attn::RowId& id, Row*, double* lse) {
          if (id.head == 1) *lse += 0.01;
        }) == "lseError");
  CHECK(Verdict(spec, [](const attn::RowId& id, Row*, double* lse) {
          if (id.head == 1) *lse = std::numeric_limits<double>::quiet_NaN();
        }) == "lseError");

  // A mask that is off by one key, as a kernel under test would have it: compare with a case one key longer.
  const attn::CancelFlag never{false};
  AttentionCase shifted = spec;
  shifted.batch = 1;
  shifted.q_lens = {{5}, true};
  shifted.kv_lens = {{40}, true};
  AttentionCase truth = shifted;
  truth.window = 39;  // hides one of up to 40 keys from the last query only
  attn::CpuAttention attention(shifted);
  CHECK(attention.Allocate() && attention.Poison(1, never) && attention.Fill(1, never));
  attention.Run(1, never);
  attn::ErrorMeter meter;
  attn::ComputeReferenceRows(truth, attn::SampleRows(truth, std::nullopt), 1, never, [&](const attn::ReferenceRow& row) {
    Row out(row.out.size());
    attention.ReadOutput(row.id.q_index, row.id.head, out.data());
    meter.Add(row, out.data(), nullptr);
  });
  CHECK(meter.Problem().has_value());

  CHECK(attn::ErrorMeter().Problem()->code == "nothingChecked");
}

void TestPoison() {
  // An output that was never computed is NaN, so an incomplete run cannot look right.
  const attn::CancelFlag never{false};
  attn::CpuAttention attention(SmallCase());
  CHECK(attention.Allocate() && attention.Poison(2, never));
  std::vector<double> out(32);
  attention.ReadOutput(0, 0, out.data());
  CHECK(std::isnan(out[0]) && std::isnan(attention.ReadLse(0, 0)));
  // Storage that belongs to no sequence is NaN too: without Fill everything is, and so is every result.
  attention.Run(1, never);
  attention.ReadOutput(7, 3, out.data());
  CHECK(std::isnan(out[0]));
}

void TestTimingStats() {
  const attn::Timing timing = attn::SummarizeMs({5, 1, 4, 2, 3});
  CHECK(timing.median == 3 && timing.runs == 5);
  CHECK(std::fabs(timing.p10 - 1.4) < 1e-12 && std::fabs(timing.p90 - 4.6) < 1e-12);
  const attn::Timing single = attn::SummarizeMs({7});
  CHECK(single.median == 7 && single.p10 == 7 && single.p90 == 7 && single.runs == 1);
}

void TestParallelFor() {
  const attn::CancelFlag never{false};
  std::mutex mutex;
  std::set<int64_t> seen;
  CHECK(attn::ParallelFor(100, 4, never, [&](int64_t task) {
    const std::lock_guard<std::mutex> lock(mutex);
    seen.insert(task);
  }));
  CHECK(seen.size() == 100);
  CHECK(attn::ParallelFor(0, 4, never, [&](int64_t) { failures += 1; }));
  attn::CancelFlag cancel{false};
  std::atomic<int> ran{0};
  CHECK(!attn::ParallelFor(1000, 2, cancel, [&](int64_t) {
    if (++ran == 3) cancel.store(true);
  }));
  CHECK(ran.load() < 10);
}

/// Whole cases through the session, for the sanitizers as much as for the status.
void TestSession() {
  const attn::OpenResult opened = attn::OpenCpuSession();
  CHECK(opened.status.ok() && opened.session != nullptr);
  const attn::CancelFlag never{false};
  attn::RunOptions options;
  options.target_ms = 1;
  options.warmup_ms = 0;
  std::vector<AttentionCase> cases;
  for (const uint32_t pattern : {0u, 1u, 2u, 3u}) {
    for (const bool paged : {false, true}) {
      AttentionCase spec = SmallCase();
      spec.seed = pattern << 28 | 9;
      spec.sinks = paged;
      spec.softcap = pattern == 1 ? 20 : 0;
      if (paged) spec.page_size = 16;
      spec.kv_layout = paged ? attn::KvLayout::kHnd : attn::KvLayout::kNhd;
      cases.push_back(spec);
      spec.dtype = attn::DType::kFp16;
      cases.push_back(spec);
      spec.kv_dtype = attn::KvDType::kFp8E4m3;
      spec.kv_scale = 0.02;
      spec.window = 9;
      cases.push_back(spec);
    }
  }
  for (const AttentionCase& spec : cases) {
    std::vector<attn::Phase> phases;
    const auto result = opened.session->RunCase(spec, options, [&](attn::Phase p) { phases.push_back(p); }, never);
    CHECK(result.status == attn::CaseStatus::kOk);
    CHECK(result.checked_rows == 32 && result.gpu_ms.has_value() && result.gpu_ms->median > 0);
    CHECK(phases.size() == 4);
  }
  options.check_only = true;
  const auto checked = opened.session->RunCase(SmallCase(), options, [](attn::Phase) {}, never);
  CHECK(checked.status == attn::CaseStatus::kOk && !checked.gpu_ms.has_value() && !checked.tflops.has_value());
  const attn::CancelFlag cancelled{true};
  const auto stopped = opened.session->RunCase(SmallCase(), options, [](attn::Phase) {}, cancelled);
  CHECK(stopped.status == attn::CaseStatus::kCancelled && !stopped.rel_error.has_value());
}

}  // namespace

int main() {
  TestValidation();
  TestVisibleKeys();
  TestWork();
  TestFp8();
  TestPageTable();
  TestSampleRows();
  TestCorrectnessGate();
  TestPoison();
  TestTimingStats();
  TestParallelFor();
  TestSession();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
