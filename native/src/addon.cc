// The Node-API surface of native/index.d.ts and nothing else: arguments in, promises out.
//
// Every call runs on a thread of its own, never on the JavaScript thread or libuv's pool: a driver call may block for
// seconds or for ever, and a cancel must still be heard.
#include <napi.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "js_values.h"

#define ATTN_STRINGIFY_(x) #x
#define ATTN_STRINGIFY(x) ATTN_STRINGIFY_(x)

namespace attn {
namespace {

/// Something to do on the JavaScript thread.
using JsTask = std::function<void(Napi::Env)>;

/// Whether an environment still takes tasks. Node frees its thread-safe functions when the environment ends, also those
/// that a thread still holds, so no thread may use one without looking here first.
struct EnvironmentGate {
  std::mutex mutex;
  bool open = true;
};

/// Per-environment data, so that a worker thread or a reload has its own classes.
struct AddonData {
  Napi::FunctionReference device_session;
  std::shared_ptr<EnvironmentGate> gate = std::make_shared<EnvironmentGate>();
};

/// Hands tasks of one working thread to the JavaScript thread, in order. The process stays alive until Finish.
class JsQueue {
 public:
  explicit JsQueue(Napi::Env env)
      : gate_(env.GetInstanceData<AddonData>()->gate),
        function_(Napi::ThreadSafeFunction::New(env, Napi::Function(), "attention", 0, 1)) {}

  /// Does nothing once the environment has ended.
  void Post(JsTask task) {
    auto item = std::make_unique<JsTask>(std::move(task));
    const std::lock_guard<std::mutex> lock(gate_->mutex);
    if (!gate_->open) return;
    const napi_status status = function_.NonBlockingCall(item.get(), [](Napi::Env env, Napi::Function, JsTask* posted) {
      if (static_cast<napi_env>(env) != nullptr) (*posted)(env);  // null while the environment is torn down
      delete posted;
    });
    if (status == napi_ok) item.release();
  }

  void Finish() {
    const std::lock_guard<std::mutex> lock(gate_->mutex);
    if (gate_->open) function_.Release();
  }

 private:
  std::shared_ptr<EnvironmentGate> gate_;
  Napi::ThreadSafeFunction function_;
};

/// Runs `work` on a new thread; it posts its answer and must not touch JavaScript otherwise.
void RunOnThread(Napi::Env env, std::function<void(JsQueue*)> work) {
  JsQueue queue(env);
  std::thread([queue, work = std::move(work)]() mutable {
    work(&queue);
    queue.Finish();
  }).detach();
}

Napi::Promise RejectedPromise(Napi::Env env, const Status& status) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(ErrorToJs(env, status));
  return deferred.Promise();
}

/// What a DeviceSession object and the thread of its running call share. `cancel` is the only member both touch at the
/// same time; `busy` and `closed` belong to the JavaScript thread.
struct SessionState {
  std::unique_ptr<Session> session;
  CancelFlag cancel{false};
  bool busy = false;
  bool closed = false;
};

/// Destroys a session off the JavaScript thread, because freeing a context can block.
void DestroySession(std::unique_ptr<Session> session) {
  if (session != nullptr) std::thread([owned = std::move(session)] {}).detach();
}

class DeviceSessionObject : public Napi::ObjectWrap<DeviceSessionObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "DeviceSession",
                       {InstanceMethod<&DeviceSessionObject::Ceilings>("ceilings"),
                        InstanceMethod<&DeviceSessionObject::RunCase>("runCase"),
                        InstanceMethod<&DeviceSessionObject::Cancel>("cancel"),
                        InstanceMethod<&DeviceSessionObject::Close>("close")});
  }

  explicit DeviceSessionObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<DeviceSessionObject>(info), state_(std::make_shared<SessionState>()) {}

  ~DeviceSessionObject() override { CloseState(); }

  void Adopt(std::unique_ptr<Session> session) { state_->session = std::move(session); }

 private:
  Napi::Value Ceilings(const Napi::CallbackInfo& info) {
    std::string problem;
    const auto options = OptionsFromJs(info[0], &problem);
    if (!options.has_value()) return InvalidArgument(info.Env(), problem);
    struct Answer {
      attn::Ceilings ceilings;
      Status problem;
    };
    return Begin<Answer>(
        info.Env(), Napi::Function(),
        [options = *options](SessionState* state, const PhaseCallback& on_phase) {
          Answer answer;
          answer.ceilings = state->session->MeasureCeilings(options, on_phase, state->cancel, &answer.problem);
          return answer;
        },
        [](Napi::Env env, const Answer& answer, const Napi::Promise::Deferred& deferred) {
          if (answer.problem.ok()) {
            deferred.Resolve(CeilingsToJs(env, answer.ceilings));
          } else {
            deferred.Reject(ErrorToJs(env, answer.problem));
          }
        });
  }

  Napi::Value RunCase(const Napi::CallbackInfo& info) {
    std::string problem;
    const auto spec = CaseFromJs(info[0], &problem);
    if (!spec.has_value()) return InvalidArgument(info.Env(), problem);
    const auto options = OptionsFromJs(info[1], &problem);
    if (!options.has_value()) return InvalidArgument(info.Env(), problem);
    if (!info[2].IsFunction()) return InvalidArgument(info.Env(), "onPhase is not a function");
    return Begin<CaseResult>(
        info.Env(), info[2].As<Napi::Function>(),
        [spec = *spec, options = *options](SessionState* state, const PhaseCallback& on_phase) {
          return state->session->RunCase(spec, options, on_phase, state->cancel);
        },
        [](Napi::Env env, const CaseResult& result, const Napi::Promise::Deferred& deferred) {
          deferred.Resolve(ResultToJs(env, result));
        });
  }

  void Cancel(const Napi::CallbackInfo&) { state_->cancel.store(true); }

  void Close(const Napi::CallbackInfo&) { CloseState(); }

  static Napi::Value InvalidArgument(Napi::Env env, const std::string& problem) {
    return RejectedPromise(env, {"invalidArgument", "Argument not understood: " + problem + ".", 0});
  }

  /// Frees the session, or leaves that to the end of the running call, which is asked to stop.
  void CloseState() {
    state_->closed = true;
    state_->cancel.store(true);
    if (!state_->busy) DestroySession(std::move(state_->session));
  }

  /// Runs `work` on a thread and settles the promise with `settle` on the JavaScript thread.
  template <typename Answer, typename Work, typename Settle>
  Napi::Value Begin(Napi::Env env, Napi::Function on_phase, Work work, Settle settle) {
    if (state_->closed) return RejectedPromise(env, {"closed", "The device session is closed.", 0});
    if (state_->busy) return RejectedPromise(env, {"busy", "The device session is still running another call.", 0});
    state_->busy = true;
    state_->cancel.store(false);

    const auto deferred = Napi::Promise::Deferred::New(env);
    // Owned by the last task, because a JavaScript reference may only be dropped on the JavaScript thread.
    auto* callback = new Napi::FunctionReference();
    if (!on_phase.IsEmpty()) *callback = Napi::Persistent(on_phase);
    RunOnThread(env, [state = state_, deferred, callback, work, settle](JsQueue* queue) {
      const Answer answer = work(state.get(), [queue, callback](Phase phase) {
        queue->Post([callback, phase](Napi::Env js) {
          if (!callback->IsEmpty()) callback->Call({PhaseToJs(js, phase)});
        });
      });
      queue->Post([state, deferred, callback, answer, settle](Napi::Env js) {
        delete callback;
        state->busy = false;
        if (state->closed) DestroySession(std::move(state->session));
        settle(js, answer, deferred);
      });
    });
    return deferred.Promise();
  }

  std::shared_ptr<SessionState> state_;
};

std::optional<std::string> ReadText(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return std::nullopt;
  std::string text;
  char block[8192];
  for (size_t count; (count = std::fread(block, 1, sizeof block, file)) > 0;) text.append(block, count);
  std::fclose(file);
  return text;
}

/// A folder argument: a string, or null for none.
std::string FolderArgument(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

Napi::Value Probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string level_name = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (level_name != "nvml" && level_name != "driver") {
    return RejectedPromise(env, {"invalidArgument", "Argument not understood: level is not nvml or driver.", 0});
  }
  const ProbeLevel level = level_name == "nvml" ? ProbeLevel::kNvml : ProbeLevel::kDriver;
  const std::string kernel_dir = FolderArgument(info[1]);
  const auto deferred = Napi::Promise::Deferred::New(env);
  RunOnThread(env, [deferred, level, kernel_dir](JsQueue* queue) {
    const SystemFacts system = ProbeSystem(level);
    std::optional<std::string> manifest;
    if (!kernel_dir.empty()) manifest = ReadText(kernel_dir + "/manifest.json");
    const double now_ms = static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                  std::chrono::system_clock::now().time_since_epoch())
                                                  .count());
    queue->Post([deferred, system, now_ms, manifest](Napi::Env js) {
      deferred.Resolve(SystemFactsToJs(js, system, now_ms, manifest));
    });
  });
  return deferred.Promise();
}

Napi::Value OpenDevice(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    return RejectedPromise(env, {"invalidArgument", "Argument not understood: deviceId is not a string.", 0});
  }
  const std::string device_id = info[0].As<Napi::String>().Utf8Value();
  const std::string kernel_dir = FolderArgument(info[1]);
  const auto deferred = Napi::Promise::Deferred::New(env);
  RunOnThread(env, [deferred, device_id, kernel_dir](JsQueue* queue) {
    // shared, because a std::function must be copyable
    const auto opened =
        std::make_shared<OpenResult>(device_id == "cpu" ? OpenCpuSession() : OpenGpuSession(device_id, kernel_dir));
    queue->Post([deferred, opened](Napi::Env js) {
      if (opened->session == nullptr) {
        deferred.Reject(ErrorToJs(js, opened->status));
        return;
      }
      const Napi::Object object = js.GetInstanceData<AddonData>()->device_session.New({});
      DeviceSessionObject::Unwrap(object)->Adopt(std::move(opened->session));
      deferred.Resolve(object);
    });
  });
  return deferred.Promise();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  data->device_session = Napi::Persistent(DeviceSessionObject::Define(env));
  env.SetInstanceData(data);
  env.AddCleanupHook([gate = data->gate] {
    const std::lock_guard<std::mutex> lock(gate->mutex);
    gate->open = false;
  });
  exports.Set("version", ATTN_STRINGIFY(ATTN_ADDON_VERSION));
  exports.Set("probe", Napi::Function::New<Probe>(env, "probe"));
  exports.Set("openDevice", Napi::Function::New<OpenDevice>(env, "openDevice"));
  return exports;
}

}  // namespace
}  // namespace attn

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return attn::Init(env, exports); }

NODE_API_MODULE(attention_addon, InitAddon)
