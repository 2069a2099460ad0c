/** What the host hands to a Hopper prefill kernel beside its four tensor maps. Plain data, one layout on both sides. */
#pragma once

namespace sm90 {

/** Lengths in tokens, strides in elements. Q and O are packed over the batch: sequence b owns tokens qStarts[b] … qStarts[b+1]. */
struct PrefillParams {
  const int* qStarts;    // [batch + 1]
  const int* kvStarts;   // [batch] first row in the contiguous K/V tensor; paged: only the difference to kvEnds counts
  const int* kvEnds;     // [batch] one past the last
  const int* pageTable;  // [batch][pageTableStride] page numbers; null = contiguous K/V
  void* out;             // bf16/fp16, the tensor behind the O map
  float* lse;            // natural-log sum of exponentials per (token, head); null = not wanted
  unsigned int* counter; // one word, zero before the first launch; every launch leaves it zero again
  long long outTokenStride;
  long long outHeadStride;
  long long lseTokenStride;
  long long lseHeadStride;
  const float* sinks;   // [qHeads] natural-log logits that join each row's sum; null = none
  float scaleLog2;      // softmax scale x log2(e)
  float softcapPre;     // a soft cap turns the score s = q·k into softcapPost * tanh(softcapPre * s); softcapPre 0 = none
  float softcapPost;
  int headDimV;         // columns of O that exist; the tile may be wider
  int batch;
  int qHeads;
  int kvHeads;
  int qLenMax;
  int causal;           // 1 = bottom-right causal
  int window;           // keys a query may see including itself (causal only); 0 = all
  int pageTableStride;
  int pageShift;        // log2(page size)
  int pageCount;        // pages in the pool: the page index that reads as zeros
  int boxRows;          // rows per TMA box of K: the stage's rows when contiguous, else a divisor of them and of the page
  int boxRowsV;         // the same for V, whose stages may be shorter
  int sectionHeads;     // heads whose causal tiles are handed out together, longest first; >= 1
  int shortBlocks;      // causal: so many row blocks of every head, the shortest, come after all sections
};

}  // namespace sm90
