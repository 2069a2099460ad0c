/*
 * What the host hands to a kernel: plain structs shared by the runner (C++17) and the device code. Pointers are device
 * addresses held as 64-bit numbers, so that the layout is the same on both sides and no CUDA header is needed.
 *
 * Operands. Q and O are packed token lists [totalQ, qHeads, headDim] addressed by qStart[sequence] + token. K and V are
 * either contiguous (packed token lists, addressed by kvStart[sequence] + token) or paged (a pool of pages and one row of
 * the page table per sequence). Strides are in elements; NHD and HND differ in strides only.
 */
#pragma once

namespace attn {

/* Where the elements of K or V are: base + block * blockStride + token * tokenStride + head * headStride, where block and
 * token are (0, kvStart + t) for contiguous KV and (pageTable[t / page], t % page) for paged KV. Elements have 16 bits, or 8
 * where the KV cache is fp8. In MLA decode V is the first headDimV columns of K: same base and strides. */
struct KvTensor {
  unsigned long long base;
  long long blockStride;
  long long tokenStride;
  long long headStride;
  /* the first two once more in bytes and 32 bits: they sit in the copy loops, where every instruction counts */
  unsigned blockBytes;
  unsigned tokenBytes;
};

/* Parameters of every attention kernel. */
struct AttentionParams {
  unsigned long long q;
  unsigned long long o;
  unsigned long long lse;       /* float [totalQ, qHeads], natural log; 0 = not wanted */
  unsigned long long sinks;     /* float [qHeads], natural-log logits; 0 = none */
  unsigned long long pageTable; /* int [batch, pageTableStride]; 0 = contiguous */
  unsigned long long qStart;    /* int [batch + 1] */
  unsigned long long kvStart;   /* int [batch + 1]; differences are the KV lengths */
  KvTensor k;
  KvTensor v;
  long long qTokenStride;
  long long qHeadStride;
  long long oTokenStride;
  long long oHeadStride;
  int batch;
  int qHeads;
  int kvHeads;
  int group;   /* qHeads / kvHeads */
  int headDim;  /* of Q and K: a multiple of 8, at most the kernel's tile */
  int headDimV; /* of V and O, likewise */
  int pageShift; /* log2 of the page size */
  int pageTableStride;
  int causal;
  int window;       /* keys a query may see including itself; 0 = unlimited */
  float scaleLog2;  /* softmax scale * log2(e), times the scale of K where the KV cache is fp8 */
  float softcapPre; /* scale / softcap; 0 = no soft cap */
  float softcapPost; /* softcap / scale */
  int isBf16;       /* Q and O are bf16, else fp16: read by kernels that serve both */
  float vScale;     /* what a stored element of V is multiplied by: the scale of an fp8 KV cache, else 1 */
  /* split-KV decode only */
  unsigned long long segments;       /* DecodeSegment [segmentCount] */
  unsigned long long segmentStart;   /* int [grid + 1]: the segments of each block */
  unsigned long long partialO;       /* float [parts][16][headDim tile], not normalised */
  unsigned long long partialStats;   /* float [parts][16][2]: running maximum (log2 units) and sum */
  unsigned long long tickets;        /* unsigned [items], 0 before and after every launch */
};

/* A run of keys of one work item (sequence, KV heads, tile of 16 packed query rows) given to one block. */
struct DecodeSegment {
  int sequence;
  int kvHead; /* the first of the launch's heads per item */
  int rowTile;
  int keyBegin; /* a multiple of 16, so that no run of 16 keys crosses a page */
  int keyEnd;
  int item;      /* the item's ticket */
  int part;      /* index of this segment's partial result; -1 = the only segment of its item */
  int firstPart; /* first part of the item */
  int partCount;
  /* the sequence, so that a block need not look it up: first query token, queries, first contiguous key, keys */
  int qBegin;
  int qLen;
  int kvBegin;
  int kvLen;
  /* Hopper only: in the first segment of a block, where its second one is and how many it has */
  int next;
  int count;
  int unused;
};

/* Fill a tensor [tokens, heads, dim] with seeded values, at given strides (in elements) or through a page table. */
struct FillParams {
  unsigned long long base;
  unsigned long long pageTable; /* 0 = contiguous */
  unsigned long long start;     /* int [batch + 1] */
  long long blockStride;
  long long tokenStride;
  long long headStride;
  int batch;
  int heads;
  int dim;
  int pageShift;
  int pageTableStride;
  unsigned int seed;
  unsigned int tensor;
  int format;         /* ElementFormat of random_inputs.h */
  float inverseScale; /* 1 / kvScale of an fp8 KV cache, else unused */
  int repeatPages; /* odd logical pages share the physical page before them and are not written again */
};

/* Check sampled (query row, head) pairs against float64. */
struct ReferenceParams {
  unsigned long long rows;    /* int [rowCount][3]: sequence, query token, query head */
  unsigned long long qStart;  /* int [batch + 1] */
  unsigned long long kvStart; /* int [batch + 1] */
  unsigned long long o;       /* the kernel's output */
  unsigned long long lse;     /* float [totalQ, qHeads] or 0 */
  unsigned long long scratch; /* double [grid][scratchStride]: scores of one row */
  unsigned long long sums;    /* double [rowCount][kReferenceSums] */
  long long oTokenStride;
  long long oHeadStride;
  long long scratchStride;
  double scale;    /* softmax scale * kvScale */
  double softcap;
  double kvScale;  /* what stored elements of K and V are multiplied by; 1 for 16-bit caches */
  float inverseScale;
  int kvFormat;    /* ElementFormat of K and V */
  int latent;      /* MLA decode: V is the first headDimV columns of K */
  int rowCount;
  int qHeads;
  int kvHeads;
  int headDim;
  int headDimV;
  int causal;
  int window;
  int sinks;
  int isBf16;
  unsigned int seed;
  int repeatShift; /* log2 of the page size when odd pages repeat the page before them, else -1 */
};

/* Per checked row: sum of squares of the reference, of (output - reference), of (emulation - reference), |LSE error|,
 * and 1 when a number that must be finite is not, or a row without keys is not exactly 0 / -inf. */
enum { kReferenceSums = 5 };

}  // namespace attn
