"""The judge: sampled output rows against float64, and what rounding alone would cost on the same rows.

Inputs are made again from the seed instead of being read from what the library was given, so that a wrong layout or page table
on our side shows. The limits are in limits.py.
"""
import math

import torch

from . import limits
from .inputs import DTYPES, element_values, sink_values, stored_tokens, to_storage
from .problem import TENSOR_K, TENSOR_Q, TENSOR_V

# Elements of K made at a time, as 64-bit integers.
CHUNK = 1 << 22


class Reference(object):
    """What the sampled rows should be, on the CPU, float64."""

    def __init__(self, rows, out, rounded, lse):
        self.rows = rows
        self.out = out
        self.rounded = rounded
        self.lse = lse


def _stored(problem, tensor, sequence, tokens, head, dim, device):
    """K or V of one head as stored, float64, made in parts."""
    packed = problem.kv_starts[sequence] + stored_tokens(problem, tokens)
    step = max(1, CHUNK // dim)
    out = torch.empty(len(tokens), dim, dtype=torch.float64, device=device)
    for first in range(0, len(tokens), step):
        x = element_values(problem, tensor, packed[first : first + step], problem.kv_heads, dim, head)
        out[first : first + step] = to_storage(problem, x)[:, 0].to(torch.float64)
    return out


def compute_reference(problem, rows, device, sinks_type):
    """The reference of `rows` as from Problem.sample_rows. `sinks_type`: what the library takes sinks as, a rounding of its
    inputs; None = float32."""
    dtype = DTYPES[problem.dtype]
    kv_scale = torch.tensor(problem.kv_scale, dtype=torch.float32).item() if problem.fp8 else 1.0
    sinks = sink_values(problem, device)
    if sinks is not None:
        sinks = sinks.to(sinks_type or torch.float32).to(torch.float64)
    group = problem.q_heads // problem.kv_heads
    outs, roundeds, lses = [], [], []
    first = 0
    while first < len(rows):
        sequence, kv_head = rows[first][0], rows[first][2] // group
        last = first
        while last < len(rows) and (rows[last][0], rows[last][2] // group) == (sequence, kv_head):
            last += 1
        part = rows[first:last]
        ranges = [problem.visible(sequence, row[1]) for row in part]
        seen = [r for r in ranges if r[0] < r[1]]
        begin = min((r[0] for r in seen), default=0)
        end = max((r[1] for r in seen), default=0)
        keys = torch.arange(begin, end, device=device)
        k = _stored(problem, TENSOR_K, sequence, keys, kv_head, problem.head_dim, device)
        if problem.mla:
            v = k[:, : problem.head_dim_v]
        else:
            v = _stored(problem, TENSOR_V, sequence, keys, kv_head, problem.head_dim_v, device)
        tokens = torch.tensor([problem.q_starts[sequence] + row[1] for row in part], device=device)
        heads = torch.tensor([row[2] for row in part], device=device)
        q = element_values(problem, TENSOR_Q, tokens, problem.q_heads, problem.head_dim)
        q = q[torch.arange(len(part), device=device), heads].to(dtype).to(torch.float64)
        bounds = torch.tensor(ranges, device=device)
        hidden = (keys < bounds[:, :1]) | (keys >= bounds[:, 1:])
        sink = sinks[heads] if sinks is not None else None
        # a few rows at a time, so that the scores of a long sequence fit
        step = max(1, (1 << 25) // max(1, len(keys)))
        for i in range(0, len(part), step):
            j = slice(i, i + step)
            out, rounded, lse = _rows(problem, q[j], k, v, hidden[j], sink[j] if sink is not None else None, kv_scale, dtype)
            outs.append(out)
            roundeds.append(rounded)
            lses.append(lse)
        first = last
    # moved at the end, so that the device need not be waited for after each part
    return Reference(rows, *(torch.cat(parts).cpu() for parts in (outs, roundeds, lses)))


def _rows(problem, q, k, v, hidden, sink, kv_scale, dtype):
    scores = (q @ k.T) * (problem.scale * kv_scale)
    if problem.softcap > 0:
        scores = problem.softcap * torch.tanh(scores / problem.softcap)
    scores = scores.masked_fill(hidden, -math.inf)
    top = scores.amax(1) if scores.shape[1] else torch.full((len(q),), -math.inf, dtype=torch.float64, device=q.device)
    if sink is not None:
        top = torch.maximum(top, sink)
    empty = top == -math.inf
    safe = torch.where(empty, torch.zeros_like(top), top)
    p = torch.exp(scores - safe[:, None])
    p32 = p.to(torch.float32)
    extra = torch.exp(sink - safe) if sink is not None else torch.zeros_like(top)
    total = p.sum(1) + extra
    total32 = p32.sum(1) + extra.to(torch.float32)
    out = (p @ v) * (kv_scale / total)[:, None]
    # the same row when P and O are rounded to the case's type
    rounded = (p32.to(dtype).to(torch.float64) @ v).to(torch.float32) / total32[:, None] * kv_scale
    rounded = rounded.to(dtype).to(torch.float64)
    lse = safe + torch.log(total)
    zero = torch.zeros((), dtype=torch.float64, device=q.device)
    out = torch.where(empty[:, None], zero, out)
    rounded = torch.where(empty[:, None], zero, rounded)
    lse = torch.where(empty, torch.full_like(lse, -math.inf), lse)
    return out, rounded, lse


class Judgement(object):
    """Errors of a library's output, and `problem` = (code, text) when it is wrong."""

    def __init__(self):
        self.rel_error = None
        self.floor = None
        self.lse_error = None
        self.problem = None
        self.finite = True


def _ratio(error, reference):
    if error == 0:
        return 0.0
    return math.sqrt(error / reference) if reference > 0 else math.inf


def _row_ratio(error2, ref2):
    return torch.where(error2 == 0, torch.zeros_like(error2), torch.sqrt(error2 / ref2))


def judge(problem, reference, out, lse):
    """Compares `out` [tokens, qHeads, headDimV] and `lse` [tokens, qHeads] (or None) with the reference."""
    verdict = Judgement()
    index = torch.tensor([problem.q_starts[s] + i for s, i, _ in reference.rows], device=out.device)
    heads = torch.tensor([h for _, _, h in reference.rows], device=out.device)
    got = out[index, heads].to(torch.float64).cpu()
    bad = (~torch.isfinite(got) | (got.abs() >= 1e30)).any(1)
    bad |= (reference.lse == -math.inf) & (got != 0).any(1)
    ref2 = (reference.out**2).sum(1)
    error2 = ((got - reference.out) ** 2).sum(1)
    floor2 = ((reference.rounded - reference.out) ** 2).sum(1)
    verdict.rel_error = _ratio(error2.sum().item(), ref2.sum().item())
    verdict.floor = _ratio(floor2.sum().item(), ref2.sum().item())
    verdict.finite = not bool((~torch.isfinite(got)).any())
    floor = max(verdict.floor, limits.OUTPUT_ROUNDING[problem.dtype])
    # floors of the rows, and their errors in norms of the reference; a reference of nothing allows no error
    row_limits = limits.MAX_ROW_RATIO * torch.clamp(_row_ratio(floor2, ref2), min=floor)
    errors = _row_ratio(error2, ref2)
    offending = torch.nonzero(bad | ~(errors <= row_limits)).flatten()
    if len(offending):
        first = offending[0].item()
        where = "The row of sequence {}, query {}, head {}".format(*reference.rows[first])
        if bad[first]:
            verdict.problem = ("notFinite", where + " holds a NaN or infinity, or should be empty and is not.")
        else:
            text = "{} is off by {:.2e} of its norm; rounding explains at most {:.2e}."
            verdict.problem = ("rowError", text.format(where, errors[first].item(), row_limits[first].item()))
        return verdict
    limit = limits.output_limit(verdict.floor, problem.dtype)
    if not verdict.rel_error <= limit:
        text = "The output differs from the float64 reference by {:.2e} of its norm over {} rows; rounding explains {:.2e}."
        verdict.problem = ("relError", text.format(verdict.rel_error, len(reference.rows), limit))
    if lse is not None:
        found = lse[index, heads].to(torch.float64).cpu()
        same = found == reference.lse
        difference = torch.where(same, torch.zeros_like(found), (found - reference.lse).abs())
        verdict.lse_error = difference.max().item()
        if verdict.problem is None and not verdict.lse_error <= limits.MAX_LSE_ERROR:
            text = "The log-sum-exp differs from the float64 reference by up to {:.2e}; the limit is {:.2e}."
            verdict.problem = ("lseError", text.format(verdict.lse_error, limits.MAX_LSE_ERROR))
    return verdict
