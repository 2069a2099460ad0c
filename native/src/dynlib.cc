#include "dynlib.h"

#include <dlfcn.h>

#include <cstdlib>

namespace attn {

DynamicLibrary DynamicLibrary::OpenFirst(const std::string& library, const std::vector<std::string>& paths,
                                         std::vector<LoadAttempt>* attempts) {
  DynamicLibrary result;
  for (const std::string& path : paths) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) {
      attempts->push_back({library, path, true, ""});
      result.handle_ = handle;
      return result;
    }
    const char* words = dlerror();
    attempts->push_back({library, path, false, words != nullptr ? words : "the loader gave no reason"});
  }
  return result;
}

void* DynamicLibrary::Symbol(const char* name) const { return handle_ == nullptr ? nullptr : dlsym(handle_, name); }

std::vector<std::string> LibraryCandidates(const char* environment_variable, std::vector<std::string> fallback) {
  const char* value = std::getenv(environment_variable);
  if (value == nullptr || *value == '\0') return fallback;
  std::vector<std::string> paths;
  std::string current;
  for (const char* at = value;; ++at) {
    if (*at != ':' && *at != '\0') {
      current.push_back(*at);
      continue;
    }
    if (!current.empty()) paths.push_back(current);
    current.clear();
    if (*at == '\0') return paths;
  }
}

}  // namespace attn
