// The CPU device's kernel: tiled online softmax over KV storage as a GPU would have it (16-bit or fp8 bits, pages in
// shuffled order, NaN in everything that belongs to no sequence), accumulated in float64.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "page_table.h"
#include "session.h"

namespace attn {

/// Memory that costs nothing until it is written, so that a cancel need not wait for gigabytes of page faults.
template <typename T>
class Buffer {
 public:
  /// @return false when there is no memory
  bool Allocate(size_t count) {
    count_ = count;
    data_.reset(static_cast<T*>(std::malloc(std::max<size_t>(1, count * sizeof(T)))));
    return data_ != nullptr;
  }
  T* data() const { return data_.get(); }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t count_ = 0;
};

/// Operands and results of one case in CPU memory.
class CpuAttention {
 public:
  /// Bytes that Allocate takes for a valid case.
  static double RequiredBytes(const AttentionCase& spec);

  /// @param spec a case that passed ValidateCase
  explicit CpuAttention(const AttentionCase& spec);

  /// @return false when there is no memory
  bool Allocate();

  /// Writes NaN over all operands and outputs: what is not filled cannot be read unnoticed, and a row that is not
  /// computed cannot pass for one that was. @return false when cancelled
  bool Poison(int threads, const CancelFlag& cancel);

  /// Writes seeded Q, K and V into the storage; rows that belong to no sequence stay NaN. @return false when cancelled
  bool Fill(int threads, const CancelFlag& cancel);

  /// Computes every output row. @return false when cancelled; the output is then incomplete
  bool Run(int threads, const CancelFlag& cancel);

  /// Output row of packed query token `token` and query head `head`, head_dim_v real values.
  void ReadOutput(int64_t token, int64_t head, double* out) const;
  double ReadLse(int64_t token, int64_t head) const {
    return lse_[static_cast<size_t>(token * spec_.q_heads + head)];
  }

 private:
  /// Where the elements of K or V are: `block` is a page (or 0), `token` counts within it.
  struct Storage {
    int64_t dim = 0;
    int64_t block_stride = 0;
    int64_t token_stride = 0;
    int64_t head_stride = 0;
    int64_t elements = 0;
    Buffer<uint16_t> half;  // 16-bit KV
    Buffer<uint8_t> fp8;    // fp8 KV

    int64_t Offset(int64_t block, int64_t token, int64_t head) const {
      return block * block_stride + token * token_stride + head * head_stride;
    }
  };

  struct Scratch;

  Storage LayOut(int64_t dim) const;
  int64_t StorageOffset(const Storage& storage, int64_t sequence, int64_t token, int64_t kv_head) const;
  void Store(Storage* storage, int64_t offset, int64_t d, float value) const;
  void Load(const Storage& storage, int64_t offset, int64_t count, double* out) const;
  void FillToken(int64_t sequence, int64_t token);
  bool RunBlock(int64_t sequence, int64_t kv_head, int64_t first_row, const CancelFlag& cancel);
  void LoadQueries(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows, Scratch* scratch) const;
  void FoldTile(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows, int64_t tile_begin,
                int64_t tile_end, Scratch* scratch) const;
  void WriteOutputs(int64_t sequence, int64_t kv_head, int64_t first_row, int64_t rows, const Scratch& scratch);

  AttentionCase spec_;
  int64_t group_;
  bool is_bf16_;
  std::vector<int64_t> q_starts_;
  std::vector<int64_t> kv_starts_;
  PageTable pages_;
  Storage k_;
  Storage v_;  // empty for mlaDecode, where V is the head of each K row
  Buffer<uint16_t> q_;
  std::vector<float> sinks_;
  Buffer<uint16_t> out_;
  Buffer<double> lse_;
  std::vector<float> half_values_;  // value of each 16-bit pattern
  std::vector<double> fp8_values_;  // real value of each fp8 pattern
};

}  // namespace attn
