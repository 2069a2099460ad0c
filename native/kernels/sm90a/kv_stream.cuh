/** K and V by TMA: contiguous or through a page table, at any page size, into the same swizzled tile. */
#pragma once
#include "tiles.cuh"

namespace sm90 {

/** Where a sequence's keys are in the K/V tensor maps (element, row, head, page). */
struct KvSource {
  const int* pages;  // the sequence's row of the page table; null = contiguous
  int pageShift, zeroPage, keys, firstRow, kvHead;

  __device__ __forceinline__ KvSource(const PrefillParams& params, const Tile& tile)
      : pages(params.pageTable ? params.pageTable + static_cast<long long>(tile.sequence) * params.pageTableStride : nullptr),
        pageShift(params.pageShift),
        zeroPage(params.pageCount),
        keys(keyCount(params, tile)),
        firstRow(params.pageTable ? 0 : params.kvStarts[tile.sequence]),
        kvHead(tile.head / (params.qHeads / params.kvHeads)) {}

  /** Keys of one KV head given by themselves; `pageRow` null = contiguous from row `row` on. */
  __device__ __forceinline__ KvSource(const int* pageRow, int shift, int pageCount, int keyCount, int row)
      : pages(pageRow),
        pageShift(shift),
        zeroPage(pageCount),
        keys(keyCount),
        firstRow(pageRow ? 0 : row),
        kvHead(0) {}

  /** Page of a key, 0 when contiguous; beyond the keys of a page table, the page index that reads as zeros. */
  __device__ __forceinline__ int pageOf(int key) const {
    if (!pages) return 0;
#ifdef ATTN_FAULT_PAGE
    if (key > 0) key = (key - 1) & ~((1 << pageShift) - 1);
#endif
    return key >= 0 && key < keys ? pages[key >> pageShift] : zeroPage;
  }
  __device__ __forceinline__ int rowOf(int key) const { return pages ? key & ((1 << pageShift) - 1) : firstRow + key; }
};

/**
 * Streams the blocks of `range`, the last first, of `BlockN` keys each, through a ring of `Stages` stages. A block is cut into `RowPieces` x
 * `ColumnPieces` pieces, one stage each (rows outer), of `ChunkCount` column chunks from chunk `firstChunk` on.
 * Lane i of the warp brings box i (rows from i * boxRows) of every chunk; with contiguous KV one box is all rows of a piece.
 * Page numbers are read one piece ahead of their use: the look-up's latency would otherwise delay every load.
 */
template <int BlockN, int RowPieces, int ColumnPieces, int ChunkCount, int Stages>
__device__ __forceinline__ void streamBlocks(const TensorMap& map, const KvSource& source, BlockRange range, int boxRows, int firstChunk,
                                             u32 ring, u32 full, u32 empty, RingPosition<Stages>& position) {
  constexpr int Rows = BlockN / RowPieces, ChunkBytes = Rows * 128, StageBytes = ChunkCount * ChunkBytes;
  const int laneRow = threadIdx.x % 32 * boxRows;
  int page = laneRow < Rows ? source.pageOf(range.last * BlockN + laneRow) : 0;
  for (int block = range.last; block >= range.first; --block) {
#pragma unroll
    for (int r = 0; r < RowPieces; ++r) {
      const int key = block * BlockN + r * Rows + laneRow;
      const int nextKey = r + 1 < RowPieces ? key + Rows : (block - 1) * BlockN + laneRow;
      const int nextPage = laneRow < Rows ? source.pageOf(nextKey) : 0;
#pragma unroll
      for (int c = 0; c < ColumnPieces; ++c) {
        const int stage = position.stage();
        mbarrierWait(empty + 8 * stage, position.parity() ^ 1);
        if (laneRow == 0) mbarrierArriveExpect(full + 8 * stage, StageBytes);
        __syncwarp();
        if (laneRow < Rows) {
#pragma unroll
          for (int i = 0; i < ChunkCount; ++i)
            tmaLoad4d(ring + stage * StageBytes + i * ChunkBytes + laneRow * 128, &map, full + 8 * stage,
                      64 * (firstChunk + c * ChunkCount + i), source.rowOf(key), source.kvHead, page);
        }
        __syncwarp();
        position.advance();
      }
      page = nextPage;
    }
  }
}

/**
 * Zeroes rows `firstRow` … `rows` - 1 of a V stage in shared memory: beyond the sequence there may be NaN, and 0 * NaN is
 * NaN. `threads` consumer threads share the work, this one being number `thread`, and meet at the named barrier.
 */
__device__ __forceinline__ void zeroRows(u32 stage, int chunks, int firstRow, int rows, int thread, int threads, u32 barrierId) {
  for (int c = 0; c < chunks; ++c)
    for (int i = max(firstRow, 0) * 8 + thread; i < rows * 8; i += threads)
      sharedStore16(stage + c * rows * 128 + i * 16, make_uint4(0, 0, 0, 0));
  fenceProxyAsync();
  namedBarrierSync(barrierId, threads);
}

}  // namespace sm90
