/** What the host hands to the MLA decode kernel beside its three tensor maps (Q, halves and rope columns of KV). Plain data, one layout on both sides. */
#pragma once

namespace sm90 {

/**
 * A run of keys of one item (sequence, tile of 64 query rows) given to one block. A query row is a (token, head) pair; rows
 * are counted token by token, so the rows of a launch are the rows of Q and O seen as matrices [tokens * heads][columns].
 */
struct alignas(16) MlaSegment {
  int sequence;
  int qRow;       // first row of the tile, in the launch
  int rows;       // rows of the tile that exist, 1 … 64
  int firstRow;   // first row of the tile, in its sequence
  int firstLimit; // causal: keys that row 0 of the sequence may see (negative when none)
  int kvRow;      // contiguous KV: row of the sequence's first key
  int keyBegin;   // a multiple of 64
  int keyEnd;     // may be keyBegin: no key at all
  int item;
  int part;       // index of this segment's partial result; -1 = the only segment of its item
  int firstPart;  // first part of the item
  int partCount;
};

/** Every pointer is a device address of the case's owner; lengths in tokens, strides in elements. */
struct MlaParams {
  const MlaSegment* segments;
  const int* segmentStart;  // [grid + 1] the segments of each block
  const int* pageTable;     // [batch][pageTableStride] page numbers; null = contiguous KV
  void* out;                // bf16/fp16 [tokens * heads][512]
  float* lse;               // natural-log sum of exponentials [tokens * heads]; null = not wanted
  float* partialO;          // [parts][64][512], not normalised
  float* partialStats;      // [parts][64][2]: maximum (log2 units) and sum
  unsigned int* arrivals;   // [items], zero before and after every launch
  float scaleLog2;          // softmax scale x log2(e)
  int heads;
  int causal;               // 1 = bottom-right causal
  int pageTableStride;
  int pageShift;            // log2(page size)
  int pageCount;            // pages in the pool: the page index that reads as zeros
  int boxRows;              // rows per TMA box of KV: with pages 16 or 32, else 8
};

}  // namespace sm90
