#include "js_values.h"

#include <cmath>

namespace attn {
namespace {

/// Reads typed fields of one object and remembers the first that is missing or of another type.
class FieldReader {
 public:
  explicit FieldReader(const Napi::Value& value) {
    if (value.IsObject()) {
      object_ = value.As<Napi::Object>();
    } else {
      problem_ = "expected an object";
    }
  }

  const std::string& problem() const { return problem_; }

  double Number(const char* name) {
    const Napi::Value value = Get(name);
    if (!value.IsEmpty() && value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
    Fail(name, "a number");
    return 0;
  }

  int64_t Integer(const char* name) {
    const Napi::Value value = Get(name);
    int64_t integer = 0;
    if (value.IsEmpty() || !ToInteger(value, &integer)) Fail(name, "an integer");
    return integer;
  }

  std::optional<int64_t> NullableInteger(const char* name) {
    const Napi::Value value = Get(name);
    if (!value.IsEmpty() && value.IsNull()) return std::nullopt;
    return Integer(name);
  }

  bool Boolean(const char* name) {
    const Napi::Value value = Get(name);
    if (!value.IsEmpty() && value.IsBoolean()) return value.As<Napi::Boolean>().Value();
    Fail(name, "a boolean");
    return false;
  }

  std::string Text(const char* name) {
    const Napi::Value value = Get(name);
    if (!value.IsEmpty() && value.IsString()) return value.As<Napi::String>().Utf8Value();
    return "";
  }

  /// Position of the field's text among `choices`.
  template <typename Enum, size_t N>
  Enum Choice(const char* name, const char* const (&choices)[N]) {
    const std::string text = Text(name);
    for (size_t i = 0; i < N; ++i) {
      if (text == choices[i]) return static_cast<Enum>(i);
    }
    Fail(name, "one of the known names");
    return static_cast<Enum>(0);
  }

  Lengths ReadLengths(const char* name) {
    Lengths lengths;
    const Napi::Value value = Get(name);
    if (value.IsEmpty() || !value.IsArray()) {
      lengths.values = {Integer(name)};
      return lengths;
    }
    lengths.uniform = false;
    const Napi::Array list = value.As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const Napi::Value item = list.Get(i);
      int64_t integer = 0;
      if (item.IsEmpty() || !ToInteger(item, &integer)) Fail(name, "integers");
      lengths.values.push_back(integer);
    }
    return lengths;
  }

 private:
  /// Value of a field; empty when there is no object.
  Napi::Value Get(const char* name) { return object_.IsEmpty() ? Napi::Value() : object_.Get(name); }

  static bool ToInteger(const Napi::Value& value, int64_t* integer) {
    if (!value.IsNumber()) return false;
    const double number = value.As<Napi::Number>().DoubleValue();
    if (!(std::fabs(number) <= 9007199254740991.0) || number != std::floor(number)) return false;
    *integer = static_cast<int64_t>(number);
    return true;
  }

  void Fail(const char* name, const char* expected) {
    if (problem_.empty()) problem_ = std::string(name) + " is not " + expected;
  }

  Napi::Object object_;
  std::string problem_;
};

// Names in the order of the enumerators of session.h.
constexpr const char* kOps[] = {"prefill", "decode", "mlaDecode"};
constexpr const char* kDTypes[] = {"bf16", "fp16"};
constexpr const char* kKvDTypes[] = {"auto", "fp8_e4m3"};
constexpr const char* kKvLayouts[] = {"NHD", "HND"};
constexpr const char* kStatuses[] = {"ok",          "unsupported", "wrong",   "failed",
                                     "timeout",     "outOfMemory", "crashed", "cancelled"};
constexpr const char* kCeilings[] = {"tensorCore", "readStream"};
constexpr const char* kPhases[] = {"context", "ceilings", "jit", "allocate", "check", "warmup", "time"};
constexpr const char* kComputeModes[] = {"default", "exclusiveThread", "prohibited", "exclusiveProcess"};

template <typename T>
Napi::Value Nullable(Napi::Env env, const std::optional<T>& value) {
  if (!value.has_value()) return env.Null();
  if constexpr (std::is_same_v<T, std::string>) {
    return Napi::String::New(env, *value);
  } else if constexpr (std::is_same_v<T, bool>) {
    return Napi::Boolean::New(env, *value);
  } else {
    return Napi::Number::New(env, static_cast<double>(*value));
  }
}

Napi::Value ReasonToJs(Napi::Env env, const std::optional<Reason>& reason) {
  if (!reason.has_value()) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("code", reason->code);
  object.Set("text", reason->text);
  return object;
}

Napi::Value KernelToJs(Napi::Env env, const std::optional<KernelIdentity>& kernel) {
  if (!kernel.has_value()) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", kernel->name);
  object.Set("headDimTile", Nullable(env, kernel->head_dim_tile));
  object.Set("target", kernel->target);
  object.Set("numSplits", Nullable(env, kernel->num_splits));
  if (kernel->why.has_value()) object.Set("why", *kernel->why);
  return object;
}

Napi::Value TimingToJs(Napi::Env env, const std::optional<Timing>& timing) {
  if (!timing.has_value()) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("median", timing->median);
  object.Set("p10", timing->p10);
  object.Set("p90", timing->p90);
  object.Set("runs", static_cast<double>(timing->runs));
  return object;
}

/// A finite number, or null: infinities and NaN do not survive JSON, and `wrong` says what they mean.
Napi::Value FiniteOrNull(Napi::Env env, const std::optional<double>& value) {
  if (value.has_value() && !std::isfinite(*value)) return env.Null();
  return Nullable(env, value);
}

Napi::Value ProcessesToJs(Napi::Env env, const std::optional<std::vector<NvmlProcess>>& processes) {
  if (!processes.has_value()) return env.Null();
  Napi::Array list = Napi::Array::New(env);
  for (const NvmlProcess& process : *processes) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("pid", static_cast<double>(process.pid));
    object.Set("kind", process.compute ? "compute" : "graphics");
    object.Set("usedMemoryBytes", Nullable(env, process.used_memory_bytes));
    list.Set(list.Length(), object);
  }
  return list;
}

Napi::Object DeviceToJs(Napi::Env env, const DeviceFacts& device) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", device.id);
  object.Set("kind", device.is_gpu ? "gpu" : "cpu");
  object.Set("name", device.name);
  object.Set("computeCapability", env.Null());
  if (device.compute_capability.has_value()) {
    Napi::Array capability = Napi::Array::New(env, 2);
    capability.Set(0u, device.compute_capability->first);
    capability.Set(1u, device.compute_capability->second);
    object.Set("computeCapability", capability);
  }
  object.Set("smCount", Nullable(env, device.sm_count));
  object.Set("memoryTotalBytes", Nullable(env, device.memory_total_bytes));
  object.Set("memoryFreeBytes", Nullable(env, device.memory_free_bytes));
  object.Set("sharedMemoryPerBlockOptinBytes", Nullable(env, device.shared_memory_per_block_optin_bytes));
  object.Set("l2Bytes", Nullable(env, device.l2_bytes));
  object.Set("smClockMHz", Nullable(env, device.sm_clock_mhz));
  object.Set("smClockMaxMHz", Nullable(env, device.sm_clock_max_mhz));
  object.Set("memoryClockMHz", Nullable(env, device.memory_clock_mhz));
  object.Set("pciBusId", Nullable(env, device.pci_bus_id));
  object.Set("uuid", Nullable(env, device.uuid));
  object.Set("migEnabled", Nullable(env, device.mig_enabled));
  object.Set("computeMode", env.Null());
  if (device.compute_mode.has_value()) {
    object.Set("computeMode", kComputeModes[static_cast<size_t>(*device.compute_mode)]);
  }
  object.Set("cudaIndex", Nullable(env, device.cuda_index));
  object.Set("nvmlIndex", Nullable(env, device.nvml_index));
  object.Set("utilizationPercent", Nullable(env, device.utilization_percent));
  object.Set("processes", ProcessesToJs(env, device.processes));
  object.Set("cpuThreads", Nullable(env, device.cpu_threads));
  return object;
}

/// kernelBuildSchema from the manifest's fields of the same names; null when it is not the JSON we write.
Napi::Value KernelBuildToJs(Napi::Env env, const std::optional<std::string>& manifest) {
  if (!manifest.has_value()) return env.Null();
  const Napi::Object json = env.Global().Get("JSON").As<Napi::Object>();
  const Napi::Value parsed = json.Get("parse").As<Napi::Function>().Call(json, {Napi::String::New(env, *manifest)});
  if (env.IsExceptionPending()) {
    env.GetAndClearPendingException();
    return env.Null();
  }
  if (!parsed.IsObject()) return env.Null();
  const Napi::Object source = parsed.As<Napi::Object>();
  Napi::Object build = Napi::Object::New(env);
  for (const char* name : {"hash", "compiler", "flags", "minDriverApiVersion", "targets"}) {
    const Napi::Value value = source.Get(name);
    if (value.IsUndefined()) return env.Null();
    build.Set(name, value);
  }
  return build;
}

}  // namespace

std::optional<AttentionCase> CaseFromJs(const Napi::Value& value, std::string* problem) {
  FieldReader read(value);
  AttentionCase spec;
  spec.op = read.Choice<Op>("op", kOps);
  spec.dtype = read.Choice<DType>("dtype", kDTypes);
  spec.kv_dtype = read.Choice<KvDType>("kvDtype", kKvDTypes);
  spec.kv_scale = read.Number("kvScale");
  spec.head_dim = read.Integer("headDim");
  spec.head_dim_v = read.Integer("headDimV");
  spec.q_heads = read.Integer("qHeads");
  spec.kv_heads = read.Integer("kvHeads");
  spec.batch = read.Integer("batch");
  spec.q_lens = read.ReadLengths("qLens");
  spec.kv_lens = read.ReadLengths("kvLens");
  spec.causal = read.Boolean("causal");
  spec.window = read.NullableInteger("window");
  spec.softcap = read.Number("softcap");
  spec.sinks = read.Boolean("sinks");
  spec.kv_layout = read.Choice<KvLayout>("kvLayout", kKvLayouts);
  spec.page_size = read.NullableInteger("pageSize");
  spec.lse = read.Boolean("lse");
  spec.seed = static_cast<uint32_t>(read.Integer("seed"));
  *problem = read.problem();
  if (!problem->empty()) return std::nullopt;
  return spec;
}

std::optional<RunOptions> OptionsFromJs(const Napi::Value& value, std::string* problem) {
  FieldReader read(value);
  RunOptions options;
  options.target_ms = read.Number("targetMs");
  options.warmup_ms = read.Number("warmupMs");
  options.check_rows.reset();
  if (read.Text("checkRows") != "all") options.check_rows = read.Integer("checkRows");
  options.check_only = read.Boolean("checkOnly");
  options.max_memory_fraction = read.Number("maxMemoryFraction");
  options.ceilings = read.Boolean("ceilings");
  options.allow_slow_cpu = read.Boolean("allowSlowCpu");
  options.hold = read.Boolean("hold");
  *problem = read.problem();
  if (!problem->empty()) return std::nullopt;
  return options;
}

Napi::Object ResultToJs(Napi::Env env, const CaseResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", kStatuses[static_cast<size_t>(result.status)]);
  object.Set("reason", ReasonToJs(env, result.reason));
  object.Set("kernel", KernelToJs(env, result.kernel));
  object.Set("gpuMs", TimingToJs(env, result.gpu_ms));
  object.Set("hostUs", FiniteOrNull(env, result.host_us));
  object.Set("tflops", FiniteOrNull(env, result.tflops));
  object.Set("tbps", FiniteOrNull(env, result.tbps));
  object.Set("percentOfCeiling", FiniteOrNull(env, result.percent_of_ceiling));
  object.Set("ceiling", env.Null());
  if (result.ceiling.has_value()) object.Set("ceiling", kCeilings[static_cast<size_t>(*result.ceiling)]);
  object.Set("relError", FiniteOrNull(env, result.rel_error));
  object.Set("roundingFloor", FiniteOrNull(env, result.rounding_floor));
  object.Set("lseError", FiniteOrNull(env, result.lse_error));
  object.Set("checkedRows", static_cast<double>(result.checked_rows));
  object.Set("smClockMHz", FiniteOrNull(env, result.sm_clock_mhz));
  object.Set("jitMs", FiniteOrNull(env, result.jit_ms));
  object.Set("contended", result.contended);
  return object;
}

Napi::Object CeilingsToJs(Napi::Env env, const Ceilings& ceilings) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("readStreamTbps", FiniteOrNull(env, ceilings.read_stream_tbps));
  object.Set("copyTbps", FiniteOrNull(env, ceilings.copy_tbps));
  object.Set("tensorCoreTflops", FiniteOrNull(env, ceilings.tensor_core_tflops));
  object.Set("tensorCoreInstruction", Nullable(env, ceilings.tensor_core_instruction));
  object.Set("smClockMHz", FiniteOrNull(env, ceilings.sm_clock_mhz));
  return object;
}

Napi::String PhaseToJs(Napi::Env env, Phase phase) {
  return Napi::String::New(env, kPhases[static_cast<size_t>(phase)]);
}

Napi::Object SystemFactsToJs(Napi::Env env, const SystemFacts& system, double taken_at_ms,
                             const std::optional<std::string>& manifest) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("level", system.level == ProbeLevel::kNvml ? "nvml" : "driver");
  object.Set("takenAtMs", taken_at_ms);
  object.Set("driverVersion", Nullable(env, system.driver_version));
  object.Set("cudaDriverApiVersion", Nullable(env, system.cuda_driver_api_version));
  object.Set("cudaVisibleDevices", Nullable(env, system.cuda_visible_devices));

  Napi::Array attempts = Napi::Array::New(env);
  for (const LoadAttempt& attempt : system.load_attempts) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("library", attempt.library);
    item.Set("path", attempt.path);
    item.Set("ok", attempt.ok);
    item.Set("error", attempt.ok ? env.Null() : Napi::Value(Napi::String::New(env, attempt.error)));
    attempts.Set(attempts.Length(), item);
  }
  object.Set("loadAttempts", attempts);

  Napi::Array errors = Napi::Array::New(env);
  for (const DriverError& error : system.driver_errors) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("call", error.call);
    item.Set("code", static_cast<double>(error.status.number));
    item.Set("name", error.status.code);
    item.Set("text", error.status.text);
    errors.Set(errors.Length(), item);
  }
  object.Set("driverErrors", errors);

  Napi::Array devices = Napi::Array::New(env);
  for (const DeviceFacts& device : system.devices) devices.Set(devices.Length(), DeviceToJs(env, device));
  object.Set("devices", devices);
  object.Set("kernelBuild", KernelBuildToJs(env, manifest));
  return object;
}

Napi::Object ErrorToJs(Napi::Env env, const Status& status) {
  Napi::Object error = Napi::Error::New(env, status.text).Value();
  error.Set("code", status.code);
  Napi::Object data = Napi::Object::New(env);
  data.Set("number", static_cast<double>(status.number));
  error.Set("data", data);
  return error;
}

}  // namespace attn
