"""The case's tensors on the device: the same bits as the native runner's for the same case and seed.

Whatever is no input is a NaN: pages that no sequence owns, and the slots past the end of a sequence's last page. Entries past
the end of a row of the page table name such a page, so that a kernel that follows them reads NaNs instead of losing the device.
"""
import torch

from .problem import (
    MIX1,
    MIX2,
    NORMAL_SCALE,
    PATTERN_OUTLIERS,
    PATTERN_TIES,
    TENSOR_K,
    TENSOR_Q,
    TENSOR_SINK,
    TENSOR_V,
    stream_offset,
)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FP8 = getattr(torch, "float8_e4m3fn", None)
FP8_MAX = 448.0
FP8_NAN = 0x7F
# Elements made at a time; the 64-bit integers on the way are four times as large as the float32 result.
CHUNK = 1 << 23


def _signed(x):
    return x - (1 << 64) if x >> 63 else x


def _xor_shifted(x, n):
    """x ^= x >> n, with the shift of an unsigned number."""
    x.bitwise_xor_((x >> n).bitwise_and_((1 << (64 - n)) - 1))


def normal_values(seed, tensor, index):
    """float32 values of the elements at `index` (int64, overwritten)."""
    x = index.add_(_signed(stream_offset(seed, tensor)))
    _xor_shifted(x, 30)
    x.mul_(_signed(MIX1))
    _xor_shifted(x, 27)
    x.mul_(_signed(MIX2))
    _xor_shifted(x, 31)
    total = x & 0xFFFF
    for shift in (16, 32, 48):
        total += (x >> shift) & 0xFFFF
    return (total - 131070).to(torch.float32) * NORMAL_SCALE


def element_values(problem, tensor, tokens, heads, dim, head=None):
    """float32 values before rounding of rows `tokens` (positions in the packed list, int64): [tokens, heads, dim], or of one head."""
    pattern = problem.seed >> 28
    if pattern == PATTERN_TIES and tensor == TENSOR_K:
        tokens = torch.zeros_like(tokens)
    device = tokens.device
    d = torch.arange(dim, device=device)
    h = torch.arange(heads, device=device) if head is None else torch.tensor([head], device=device)
    index = ((tokens[:, None] * heads + h)[:, :, None]) * dim + d
    x = normal_values(problem.seed, tensor, index)
    if pattern == PATTERN_OUTLIERS and tensor != TENSOR_V:
        x[:, :, d % 32 == 5] *= 20.0
    return x


def stored_tokens(problem, tokens):
    """Token whose values stand at each position within its sequence (repeated pages hold their predecessor's)."""
    if not problem.repeats_pages:
        return tokens
    return tokens - (tokens // problem.page_size % 2) * problem.page_size


def to_storage(problem, x):
    """K or V as stored: 16 bits, or fp8 of the value over the scale, saturated."""
    if not problem.fp8:
        return x.to(DTYPES[problem.dtype])
    inverse = (torch.tensor(1.0) / torch.tensor(problem.kv_scale, dtype=torch.float32)).item()
    return (x * inverse).clamp_(-FP8_MAX, FP8_MAX).to(FP8)


class Tensors(object):
    """One copy of the inputs, in the order (token, head, element) whatever the storage order is.

    q: [tokens, qHeads, headDim]. k, v: [tokens, kvHeads, dim], or paged [pages, pageSize, kvHeads, dim].
    """

    def __init__(self, q, k, v):
        self.q = q
        self.k = k
        self.v = v

    def copy(self):
        k = _clone(self.k)
        v = k[..., : self.v.shape[-1]] if self.v.data_ptr() == self.k.data_ptr() else _clone(self.v)
        return Tensors(self.q.clone(), k, v)


def _clone(t):
    """A copy with the same strides."""
    copy = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device)
    _bytes(copy).copy_(_bytes(t))
    return copy


def _bytes(t):
    """fp8 as bytes: torch has few operations on it."""
    return t.view(torch.uint8) if t.element_size() == 1 else t


def _kv_storage(problem, dim, device):
    dtype = FP8 if problem.fp8 else DTYPES[problem.dtype]
    if problem.pages is None:
        shape = (problem.kv_tokens, problem.kv_heads, dim)
    else:
        shape = (problem.pages[1], problem.page_size, problem.kv_heads, dim)
    if problem.heads_first:
        shape = shape[:-3] + (shape[-2], shape[-3], shape[-1])
    t = torch.empty(shape, dtype=dtype, device=device)
    if problem.fp8:
        _bytes(t).fill_(FP8_NAN)
    else:
        t.fill_(float("nan"))
    return t.transpose(-3, -2) if problem.heads_first else t


def _slots(problem, device):
    """For every token of the packed list: (page, slot in the page)."""
    pages, slots = [], []
    for row, length in zip(problem.pages[0], problem.kv_lens):
        token = torch.arange(length, device=device)
        pages.append(torch.tensor(row, dtype=torch.int64, device=device)[token // problem.page_size])
        slots.append(token % problem.page_size)
    return torch.cat(pages), torch.cat(slots)


def _source_tokens(problem, device):
    """For every token of the packed list: the packed position whose values it holds."""
    if not problem.repeats_pages:
        return torch.arange(problem.kv_tokens, device=device)
    parts = [
        start + stored_tokens(problem, torch.arange(length, device=device))
        for start, length in zip(problem.kv_starts, problem.kv_lens)
    ]
    return torch.cat(parts)


def make_tensors(problem, device):
    """The inputs of a case, filled."""
    q = torch.empty(problem.q_tokens, problem.q_heads, problem.head_dim, dtype=DTYPES[problem.dtype], device=device)
    step = max(1, CHUNK // (problem.q_heads * problem.head_dim))
    for first in range(0, problem.q_tokens, step):
        tokens = torch.arange(first, min(first + step, problem.q_tokens), device=device)
        q[first : first + step] = element_values(problem, TENSOR_Q, tokens, problem.q_heads, problem.head_dim).to(q.dtype)
    sources = _source_tokens(problem, device)
    slots = _slots(problem, device) if problem.pages is not None and problem.kv_tokens else None

    def filled(tensor, dim):
        storage = _kv_storage(problem, dim, device)
        target = _bytes(storage)
        step = max(1, CHUNK // (problem.kv_heads * dim))
        for first in range(0, problem.kv_tokens, step):
            part = slice(first, min(first + step, problem.kv_tokens))
            values = _bytes(to_storage(problem, element_values(problem, tensor, sources[part], problem.kv_heads, dim)))
            if slots is None:
                target[part] = values
            else:
                target[slots[0][part], slots[1][part]] = values
        return storage

    k = filled(TENSOR_K, problem.head_dim)
    v = k[..., : problem.head_dim_v] if problem.mla else filled(TENSOR_V, problem.head_dim_v)
    return Tensors(q, k, v)


def clear_unused(problem, tensors, device):
    """Zeroes everything that is no input, for libraries that multiply it by a probability of zero."""
    if problem.pages is None:
        return
    unused = torch.ones(problem.pages[1], problem.page_size, dtype=torch.bool, device=device)
    if problem.kv_tokens:
        pages, slots = _slots(problem, device)
        unused[pages, slots] = False
    for storage in (tensors.k,) if problem.mla else (tensors.k, tensors.v):
        _bytes(storage)[unused] = 0


def sink_values(problem, device):
    """Sink logit of every query head, float32; None without sinks."""
    if not problem.sinks:
        return None
    return normal_values(problem.seed, TENSOR_SINK, torch.arange(problem.q_heads, device=device))


class Tables(object):
    """What libraries are given beside Q, K and V, made once per case: int32 tensors on the device and plain numbers."""

    def __init__(self, problem, device):
        def ints(values):
            return torch.tensor(values, dtype=torch.int32, device=device)

        self.cu_q = ints(problem.q_starts)
        self.cu_kv = ints(problem.kv_starts)
        self.kv_lens = ints(problem.kv_lens)
        self.sinks = sink_values(problem, device)
        self.page_table = None
        if problem.pages is not None:
            rows, _, spare = problem.pages
            stride = max(1, max(len(row) for row in rows))
            self.page_table = ints([row + [spare] * (stride - len(row)) for row in rows])
            counts = problem.page_counts()
            # FlashInfer's form: all pages in one list, where each sequence's start, tokens in its last page
            self.page_indices = ints([page for row in rows for page in row])
            self.page_starts = ints([sum(counts[:i]) for i in range(len(counts) + 1)])
            self.last_page_lens = ints([(n - 1) % problem.page_size + 1 if n else 0 for n in problem.kv_lens])
