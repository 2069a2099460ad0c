"""The installed flash-attn 2: packed sequences, and its KV-cache function for decoding over pages."""
import importlib

from .adapter import Adapter, Prepared, need, require_module, window_pair
from .wire import Refused, Unavailable


class FlashAttention2Adapter(Adapter):
    dist = "flash-attn"
    title = "FlashAttention 2"

    def load(self):
        require_module("flash_attn", "flash-attn is not installed in this environment.")
        library = importlib.import_module("flash_attn")
        if not hasattr(library, "flash_attn_varlen_func"):
            # flash-attn-4 alone leaves a folder of this name without an __init__
            raise Unavailable("notInstalled", "There is a folder flash_attn, but no FlashAttention 2 in it.")
        self.varlen = library.flash_attn_varlen_func
        self.with_kvcache = library.flash_attn_with_kvcache

    def supports(self, problem):
        if problem.sinks:
            need(self.varlen, "s_aux", "sinks")
        if problem.fp8:
            need(self.varlen, "k_descale", "the scale of an fp8 KV cache")

    def prepare(self, problem, tables, out, device):
        arguments = dict(softmax_scale=problem.scale, causal=problem.causal, window_size=window_pair(problem, -1))
        if problem.softcap > 0:
            need(self.varlen, "softcap", "a soft cap")
            arguments["softcap"] = problem.softcap
        if problem.op != "prefill" and len(set(problem.q_lens)) == 1 and (problem.pages is not None or problem.uniform):
            return self._decode(problem, tables, arguments)
        if problem.sinks:
            arguments["s_aux"] = tables.sinks
        if problem.pages is not None:
            need(self.varlen, "block_table", "a page table")
            arguments["block_table"] = tables.page_table
        if problem.lse:
            arguments["return_attn_probs"] = True
        lengths = (tables.cu_q, tables.cu_kv, problem.max_q, problem.max_kv)

        def bind(tensors):
            return lambda: self.varlen(tensors.q, tensors.k, tensors.v, *lengths, **arguments)

        def unpack(value):
            if not problem.lse:
                return value, None
            return value[0], value[1].transpose(0, 1)

        return Prepared("flash_attn_varlen_func", bind, unpack)

    def _decode(self, problem, tables, arguments):
        if problem.sinks:
            raise Refused("flash_attn_with_kvcache() has no argument for sinks.")
        arguments = dict(arguments, cache_seqlens=tables.kv_lens)
        if problem.pages is not None:
            need(self.with_kvcache, "block_table", "a page table")
            arguments["block_table"] = tables.page_table
        if problem.lse:
            need(self.with_kvcache, "return_softmax_lse", "returning the log-sum-exp")
            arguments["return_softmax_lse"] = True

        def bind(tensors):
            q = tensors.q.unflatten(0, (problem.batch, problem.max_q))
            k, v = tensors.k, tensors.v
            if problem.pages is None:
                k, v = (t.unflatten(0, (problem.batch, problem.max_kv)) for t in (k, v))
            return lambda: self.with_kvcache(q, k, v, **arguments)

        return Prepared("flash_attn_with_kvcache", bind, lambda value: unpack_batched(problem, value))


def unpack_batched(problem, value):
    """Of (out [batch, qLen, heads, dim], lse [batch, heads, qLen]) or out alone."""
    o, lse = value[:2] if isinstance(value, (tuple, list)) else (value, None)
    o = o.reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v)
    if lse is not None:
        lse = lse.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads)
    return o, lse
