// Prints what the CPU device and the reference compute for one case, as JSON, so that a test in another language can
// compare. Arguments are `field=value` with the names of attentionCase.ts; lengths are comma-separated.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "case_math.h"
#include "case_validation.h"
#include "cpu_attention.h"
#include "reference_cpu.h"

namespace {

attn::Lengths ParseLengths(const std::string& text) {
  attn::Lengths lengths;
  lengths.uniform = text.find(',') == std::string::npos;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    lengths.values.push_back(std::atoll(text.substr(at, comma - at).c_str()));
    at = comma + 1;
  }
  return lengths;
}

attn::AttentionCase ParseCase(int count, char** arguments) {
  std::map<std::string, std::string> fields;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const size_t equals = argument.find('=');
    fields[argument.substr(0, equals)] = argument.substr(equals + 1);
  }
  const auto integer = [&](const char* name) { return std::atoll(fields[name].c_str()); };
  attn::AttentionCase spec;
  spec.op = fields["op"] == "mlaDecode" ? attn::Op::kMlaDecode
                                        : fields["op"] == "decode" ? attn::Op::kDecode : attn::Op::kPrefill;
  spec.dtype = fields["dtype"] == "fp16" ? attn::DType::kFp16 : attn::DType::kBf16;
  spec.kv_dtype = fields["kvDtype"] == "fp8_e4m3" ? attn::KvDType::kFp8E4m3 : attn::KvDType::kAuto;
  spec.kv_scale = std::atof(fields["kvScale"].c_str());
  spec.head_dim = integer("headDim");
  spec.head_dim_v = integer("headDimV");
  spec.q_heads = integer("qHeads");
  spec.kv_heads = integer("kvHeads");
  spec.batch = integer("batch");
  spec.q_lens = ParseLengths(fields["qLens"]);
  spec.kv_lens = ParseLengths(fields["kvLens"]);
  spec.causal = fields["causal"] == "true";
  if (fields["window"] != "null") spec.window = integer("window");
  spec.softcap = std::atof(fields["softcap"].c_str());
  spec.sinks = fields["sinks"] == "true";
  spec.kv_layout = fields["kvLayout"] == "HND" ? attn::KvLayout::kHnd : attn::KvLayout::kNhd;
  if (fields["pageSize"] != "null") spec.page_size = integer("pageSize");
  spec.lse = fields["lse"] == "true";
  spec.seed = static_cast<uint32_t>(integer("seed"));
  return spec;
}

/// JSON has no infinities; `null` stands for the -inf of a row without keys.
void PrintNumber(double value) {
  if (std::isfinite(value)) {
    std::printf("%.17g", value);
  } else {
    std::printf(std::isnan(value) ? "\"NaN\"" : "null");
  }
}

}  // namespace

int main(int count, char** arguments) {
  const attn::AttentionCase spec = ParseCase(count, arguments);
  if (const auto reason = attn::ValidateCase(spec)) {
    std::printf("{\"invalid\": \"%s\"}\n", reason->code.c_str());
    return 0;
  }
  const attn::CancelFlag never{false};
  attn::CpuAttention attention(spec);
  if (!attention.Allocate()) return 1;
  attention.Poison(2, never);
  attention.Fill(2, never);
  attention.Run(2, never);

  std::map<std::pair<int64_t, int64_t>, attn::ReferenceRow> rows;  // by packed token and head
  std::mutex mutex;
  const auto starts = attn::PackedStarts(spec.q_lens, spec.batch);
  attn::ComputeReferenceRows(spec, attn::SampleRows(spec, std::nullopt), 2, never, [&](const attn::ReferenceRow& row) {
    const std::lock_guard<std::mutex> lock(mutex);
    rows[{starts[static_cast<size_t>(row.id.sequence)] + row.id.q_index, row.id.head}] = row;
  });

  std::printf("{\"visiblePairs\": %.17g, \"rows\": [", attn::VisiblePairs(spec));
  bool first = true;
  std::vector<double> actual(static_cast<size_t>(spec.head_dim_v));
  for (const auto& [key, row] : rows) {
    attention.ReadOutput(key.first, key.second, actual.data());
    std::printf("%s\n{\"lse\": ", first ? "" : ",");
    first = false;
    PrintNumber(attention.ReadLse(key.first, key.second));
    std::printf(", \"referenceLse\": ");
    PrintNumber(row.lse);
    for (const char* name : {"out", "reference"}) {
      std::printf(", \"%s\": [", name);
      for (size_t d = 0; d < actual.size(); ++d) {
        if (d > 0) std::printf(",");
        PrintNumber(name[0] == 'o' ? actual[d] : row.out[d]);
      }
      std::printf("]");
    }
    std::printf("}");
  }
  std::printf("]}\n");
  return 0;
}
