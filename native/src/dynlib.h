// Opening of system libraries at run time, with a record of every attempt.
#pragma once

#include <string>
#include <vector>

namespace attn {

/// One attempt to open a library and the loader's own words when it failed (loadAttemptSchema in facts.ts).
struct LoadAttempt {
  std::string library;  // `cuda` or `nvml`
  std::string path;
  bool ok = false;
  std::string error;
};

/// A loaded library. It stays loaded for the life of the process: a driver library owns threads and at-exit hooks,
/// so unloading it is never safe.
class DynamicLibrary {
 public:
  DynamicLibrary() = default;

  /// Opens the first of `paths` that loads and appends one record per attempt.
  /// @param library name used in the records
  static DynamicLibrary OpenFirst(const std::string& library, const std::vector<std::string>& paths,
                                  std::vector<LoadAttempt>* attempts);

  bool loaded() const { return handle_ != nullptr; }

  /// Address of an exported function, null when the library does not have it.
  void* Symbol(const char* name) const;

  /// Stores the address of `name` in the function pointer `*target`; false (and null) when it is absent.
  template <typename Function>
  bool Bind(const char* name, Function** target) const {
    *target = reinterpret_cast<Function*>(Symbol(name));
    return *target != nullptr;
  }

 private:
  void* handle_ = nullptr;
};

/// `:`-separated paths of an environment variable when it is set and not empty, else `fallback`.
std::vector<std::string> LibraryCandidates(const char* environment_variable, std::vector<std::string> fallback);

}  // namespace attn
