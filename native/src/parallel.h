// Work shared among a few short-lived threads. Threads are made per call: cases run for milliseconds to seconds, so a
// pool with its wake-ups would buy nothing, and nothing idles between cases.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "session.h"

namespace attn {

/// Hardware threads this process may run on (its affinity mask), at least 1.
int AvailableThreads();

/// Calls `work(task)` for every task in 0 … count-1 on up to `threads` threads and waits for all of them.
/// @return false when `cancel` was seen; some tasks were then not run
template <typename Work>
bool ParallelFor(int64_t count, int threads, const CancelFlag& cancel, const Work& work) {
  std::atomic<int64_t> next{0};
  const auto drain = [&] {
    while (!cancel.load(std::memory_order_relaxed)) {
      const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= count) return;
      work(task);
    }
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < threads && i < count; ++i) helpers.emplace_back(drain);
  drain();
  for (std::thread& helper : helpers) helper.join();
  return !cancel.load(std::memory_order_relaxed);
}

}  // namespace attn
