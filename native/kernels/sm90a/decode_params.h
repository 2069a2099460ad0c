/** What the host hands to a Hopper decode kernel beside AttentionParams and the tensor maps of K and V. */
#pragma once

namespace sm90 {

/** How K and V are streamed. AttentionParams::segments begins with the first segment of every block. */
struct DecodeStream {
  int heads;     // KV heads of a segment, from DecodeSegment::kvHead on: a power of two that divides the block's key groups
  int boxRows;   // rows per TMA box: the unit's keys when contiguous, else a divisor of them and of the page
  int zeroPage;  // pages in the pool: the page index that reads as zeros
  int qRows;     // packed rows kept per KV head where Q is in shared memory; heads * qRows <= 16 there
};

}  // namespace sm90
