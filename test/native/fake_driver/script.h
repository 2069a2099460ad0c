// What a stand-in driver pretends, read from the environment variable FAKE_GPU_SCRIPT at each call:
//
//   devices=9.0,8.6       compute capabilities, in PCI order; empty or absent = no device
//   cudaOrder=1,0         PCI positions that libcuda enumerates, in its order; absent = all, in PCI order
//   mig=0                 PCI position of a GPU in MIG mode with two instances
//   memory=8589934592     bytes of each GPU; used=1073741824 bytes taken by somebody else
//   apiVersion=13000      cuDriverGetVersion
//   computeMode=3         of every GPU
//   process=4711          pid of a compute process on every GPU; utilization=97 percent
//   fail=cuInit:100       that call returns this status (repeatable)
//   sleepMs=cuInit:300    that call takes this long (repeatable)
//   crash=cuInit:segv     that call ends in segv, abort or hang (repeatable)
//
// Entries are separated by `;`.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace fake {

inline std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// All values of a key, in the order written.
inline std::vector<std::string> Values(const std::string& key) {
  const char* script = std::getenv("FAKE_GPU_SCRIPT");
  std::vector<std::string> values;
  for (const std::string& entry : Split(script != nullptr ? script : "", ';')) {
    const size_t equals = entry.find('=');
    if (equals != std::string::npos && entry.substr(0, equals) == key) values.push_back(entry.substr(equals + 1));
  }
  return values;
}

inline std::string Value(const std::string& key, const std::string& fallback) {
  const auto values = Values(key);
  return values.empty() ? fallback : values.front();
}

inline long long Number(const std::string& key, long long fallback) {
  const auto values = Values(key);
  return values.empty() ? fallback : std::stoll(values.front());
}

/// The argument written for `call` under `key` (`fail=cuInit:100` gives 100), empty when there is none.
inline std::string ForCall(const std::string& key, const std::string& call) {
  for (const std::string& value : Values(key)) {
    if (value.rfind(call + ":", 0) == 0) return value.substr(call.size() + 1);
  }
  return "";
}

/// Plays the faults scripted for a call and returns its status, 0 when it should succeed.
inline int Enter(const char* call) {
  const std::string sleep_ms = ForCall("sleepMs", call);
  if (!sleep_ms.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(std::stoll(sleep_ms)));
  const std::string crash = ForCall("crash", call);
  if (crash == "segv") std::raise(SIGSEGV);
  if (crash == "abort") std::abort();
  while (crash == "hang") std::this_thread::sleep_for(std::chrono::seconds(1));
  const std::string status = ForCall("fail", call);
  return status.empty() ? 0 : std::stoi(status);
}

struct Gpu {
  int major = 0;
  int minor = 0;
  int position = 0;
};

/// The GPUs in PCI order.
inline std::vector<Gpu> Gpus() {
  std::vector<Gpu> gpus;
  for (const std::string& capability : Split(Value("devices", ""), ',')) {
    const auto parts = Split(capability, '.');
    gpus.push_back({std::stoi(parts[0]), std::stoi(parts[1]), static_cast<int>(gpus.size())});
  }
  return gpus;
}

/// First byte of a GPU's UUID, which is otherwise all 0x11: GPU-a0111111-…, GPU-a1111111-…
inline unsigned char UuidByte(int position) { return static_cast<unsigned char>(0xA0 + position); }

inline std::string UuidText(const std::string& prefix, unsigned char first) {
  const char* hex = "0123456789abcdef";
  return prefix + "-" + hex[first >> 4] + hex[first & 15] + "111111-1111-1111-1111-111111111111";
}

inline unsigned long long MemoryBytes() { return static_cast<unsigned long long>(Number("memory", 8LL << 30)); }
inline unsigned long long UsedBytes() { return static_cast<unsigned long long>(Number("used", 0)); }

}  // namespace fake
