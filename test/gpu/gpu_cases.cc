// Runs cases of list_cases.mjs on the first GPU through the product's own session, without Node.
//
// usage: gpu_cases KERNEL_DIR CASE_FILE check|time [TARGET_MS WARMUP_MS]
//        gpu_cases KERNEL_DIR CASE_FILE behave
// `check` compares every row and prints only what is not ok; `time` prints one line per case; `behave` tries a case too
// large for the GPU, cancels a long one, and sees that the first case of the file still runs. Last line: a summary.
// Exit code 0 when every case is ok or unsupported, 1 otherwise.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "../../native/src/cuda_driver.h"
#include "../../native/src/session.h"

namespace {

using namespace attn;

Lengths ParseLengths(const std::string& text) {
  Lengths lengths;
  std::istringstream stream(text);
  for (std::string number; std::getline(stream, number, ',');) lengths.values.push_back(std::atoll(number.c_str()));
  lengths.uniform = text.find(',') == std::string::npos;
  return lengths;
}

AttentionCase ParseCase(const std::string& line) {
  std::map<std::string, std::string> words;
  std::istringstream stream(line);
  for (std::string word; stream >> word;) {
    const size_t at = word.find('=');
    words[word.substr(0, at)] = word.substr(at + 1);
  }
  const auto number = [&](const char* key) { return std::atoll(words[key].c_str()); };
  AttentionCase spec;
  spec.op = words["op"] == "decode" ? Op::kDecode : words["op"] == "mlaDecode" ? Op::kMlaDecode : Op::kPrefill;
  spec.dtype = words["dtype"] == "fp16" ? DType::kFp16 : DType::kBf16;
  spec.kv_dtype = words["kvDtype"] == "auto" ? KvDType::kAuto : KvDType::kFp8E4m3;
  spec.kv_scale = std::atof(words["kvScale"].c_str());
  spec.head_dim = number("headDim");
  spec.head_dim_v = number("headDimV");
  spec.q_heads = number("qHeads");
  spec.kv_heads = number("kvHeads");
  spec.batch = number("batch");
  spec.q_lens = ParseLengths(words["qLens"]);
  spec.kv_lens = ParseLengths(words["kvLens"]);
  spec.causal = number("causal") != 0;
  if (words.count("window")) spec.window = number("window");
  spec.softcap = std::atof(words["softcap"].c_str());
  spec.sinks = number("sinks") != 0;
  spec.kv_layout = words["kvLayout"] == "HND" ? KvLayout::kHnd : KvLayout::kNhd;
  if (words.count("pageSize")) spec.page_size = number("pageSize");
  spec.lse = number("lse") != 0;
  spec.seed = static_cast<uint32_t>(number("seed"));
  return spec;
}

const char* StatusName(CaseStatus status) {
  const char* names[] = {"ok", "unsupported", "wrong", "failed", "timeout", "outOfMemory", "crashed", "cancelled"};
  return names[static_cast<int>(status)];
}

std::string FirstGpu() {
  std::vector<LoadAttempt> attempts;
  const std::optional<CudaDriver> driver = CudaDriver::Load(&attempts);
  CUdevice device = 0;
  CUuuid uuid{};
  if (!driver.has_value() || driver->cuInit(0) != kCudaSuccess || driver->cuDeviceGet(&device, 0) != kCudaSuccess ||
      driver->cuDeviceGetUuid(&uuid, device) != kCudaSuccess) {
    return "";
  }
  return FormatUuid("GPU", uuid);
}

AttentionCase LongPrefill(int64_t length, int64_t heads) {
  AttentionCase spec;
  spec.head_dim = spec.head_dim_v = 128;
  spec.q_heads = heads;
  spec.kv_heads = heads;
  spec.batch = 1;
  spec.q_lens.values = {length};
  spec.kv_lens.values = {length};
  return spec;
}

/// What a session must do when a case is too large or no longer wanted. @return failed expectations
int Behave(Session& session, const AttentionCase& small) {
  int failures = 0;
  const PhaseCallback quiet = [](Phase) {};
  CancelFlag cancel{false};
  const auto expect = [&](const char* what, const CaseResult& result, CaseStatus status) {
    const bool right = result.status == status;
    if (!right) ++failures;
    std::printf("%s %s: %s %s\n", right ? "ok  " : "FAIL", what, StatusName(result.status),
                result.reason ? result.reason->text.c_str() : "");
  };
  RunOptions options;
  expect("a case larger than the GPU", session.RunCase(LongPrefill(4'000'000, 128), options, quiet, cancel),
         CaseStatus::kOutOfMemory);
  expect("the next case", session.RunCase(small, options, quiet, cancel), CaseStatus::kOk);
  options.warmup_ms = 60000;
  for (int after_ms : {20, 300, 2000}) {
    std::chrono::steady_clock::time_point asked;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(after_ms));
      asked = std::chrono::steady_clock::now();
      cancel = true;
    });
    const CaseResult result = session.RunCase(LongPrefill(32768, 64), options, quiet, cancel);
    const auto ended = std::chrono::steady_clock::now();
    canceller.join();
    cancel = false;
    const double ms = std::chrono::duration<double, std::milli>(ended - asked).count();
    expect("a cancelled case", result, CaseStatus::kCancelled);
    std::printf("%s ended %.0f ms after the cancel at %d ms\n", ms < 2500 ? "ok  " : "FAIL", ms, after_ms);
    if (!(ms < 2500)) ++failures;
  }
  options.warmup_ms = 100;
  expect("the case after", session.RunCase(small, options, quiet, cancel), CaseStatus::kOk);
  std::printf("%d expectations failed\n", failures);
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const bool check = std::strcmp(argv[3], "check") == 0;
  RunOptions options;
  options.check_only = check;
  if (check) options.check_rows.reset();
  if (argc > 4) options.target_ms = std::atof(argv[4]);
  if (argc > 5) options.warmup_ms = std::atof(argv[5]);

  OpenResult opened = OpenGpuSession(FirstGpu(), argv[1]);
  if (opened.session == nullptr) {
    std::printf("no session: %s: %s\n", opened.status.code.c_str(), opened.status.text.c_str());
    return 1;
  }
  const CancelFlag cancel{false};
  const PhaseCallback quiet = [](Phase) {};
  if (std::strcmp(argv[3], "behave") == 0) {
    std::ifstream first(argv[2]);
    std::string line;
    return std::getline(first, line) && Behave(*opened.session, ParseCase(line)) == 0 ? 0 : 1;
  }
  if (!check) {
    Status problem;
    const Ceilings c = opened.session->MeasureCeilings(options, quiet, cancel, &problem);
    std::printf("ceilings: read %.3f copy %.3f TB/s, %s %.1f TFLOP/s at %.0f MHz %s\n", c.read_stream_tbps.value_or(0),
                c.copy_tbps.value_or(0), c.tensor_core_instruction.value_or("?").c_str(),
                c.tensor_core_tflops.value_or(0), c.sm_clock_mhz.value_or(0), problem.text.c_str());
  }
  std::map<std::string, int> counts;
  std::map<std::string, double> worst;
  std::ifstream file(argv[2]);
  int index = 0;
  for (std::string line; std::getline(file, line); ++index) {
    const AttentionCase spec = ParseCase(line);
    const CaseResult r = opened.session->RunCase(spec, options, quiet, cancel);
    const std::string status = StatusName(r.status);
    counts[status]++;
    const std::string name = r.kernel.has_value() ? r.kernel->name : "-";
    const double ratio = r.rel_error.value_or(0) / std::max(r.rounding_floor.value_or(0), 1e-9);
    if (r.status == CaseStatus::kOk) worst[name] = std::max(worst[name], ratio);
    if (!check || r.status != CaseStatus::kOk) {
      std::printf("%3d %-28s d%-3lld %s b%lld kv%lld p%-3lld %s %8.3f ms (%.3f-%.3f) %7.1f TF %6.3f TB/s %5.1f%% host %.1f us err %.2e/%.2e x%.2f lse %.1e %.0f MHz split %lld %s\n",
                  index, name.c_str(), (long long)spec.head_dim, spec.causal ? "c" : "f", (long long)spec.batch,
                  (long long)spec.kv_lens.values[0], (long long)spec.page_size.value_or(0), status.c_str(),
                  r.gpu_ms ? r.gpu_ms->median : 0.0, r.gpu_ms ? r.gpu_ms->p10 : 0.0, r.gpu_ms ? r.gpu_ms->p90 : 0.0,
                  r.tflops.value_or(0), r.tbps.value_or(0), r.percent_of_ceiling.value_or(0), r.host_us.value_or(0),
                  r.rel_error.value_or(0), r.rounding_floor.value_or(0), ratio, r.lse_error.value_or(0),
                  r.sm_clock_mhz.value_or(0), (long long)(r.kernel ? r.kernel->num_splits.value_or(0) : 0),
                  r.reason ? (r.reason->code + ": " + r.reason->text).c_str() : "");
    }
    if (check && r.status != CaseStatus::kOk) std::printf("      %s\n", line.c_str());
    std::fflush(stdout);
  }
  if (check) {
    for (const auto& [name, ratio] : worst) std::printf("  %-30s worst error / floor %.3f\n", name.c_str(), ratio);
  }
  int bad = 0;
  for (const auto& [status, count] : counts) {
    std::printf("%s %d  ", status.c_str(), count);
    if (status != "ok" && status != "unsupported") bad += count;
  }
  std::printf("of %d cases\n", index);
  return bad == 0 && index > 0 ? 0 : 1;
}
