"""vLLM's FlashMLA, through the copy of FlashMLA's own interface beside it, without importing vLLM."""
import importlib
import os
import sys

from .adapter import Adapter, Prepared, accepts, known, stub_package, vllm_folder, vllm_version
from .wire import Refused, Unavailable


class FlashMlaAdapter(Adapter):
    dist = "vllm"
    title = "vLLM's FlashMLA"

    def load(self):
        self.folder = vllm_folder()
        if not any(name.startswith("_flashmla_C") for name in os.listdir(self.folder)):
            raise Unavailable("notInstalled", "The installed vllm has no FlashMLA (_flashmla_C).")
        if not os.path.isfile(os.path.join(self.folder, "third_party", "flashmla", "flash_mla_interface.py")):
            raise Unavailable("tooOld", "The installed vllm has no third_party/flashmla; its FlashMLA is called in another way.")
        if "vllm" not in sys.modules:
            stub_package("vllm", self.folder)
        self.library = importlib.import_module("vllm.third_party.flashmla.flash_mla_interface")

    def version(self):
        return vllm_version(self.folder)

    def supports(self, problem):
        if problem.pages is None:
            raise Refused("flash_mla_with_kvcache() takes a paged KV cache only.")
        if len(set(problem.q_lens)) != 1:
            raise Refused("flash_mla_with_kvcache() takes one query length for all sequences.")
        if problem.window is not None:
            raise Refused("flash_mla_with_kvcache() has no argument for a sliding window.")
        if problem.softcap > 0:
            raise Refused("flash_mla_with_kvcache() has no argument for a soft cap.")
        if problem.fp8:
            raise Refused("flash_mla_with_kvcache() takes fp8 in a layout of its own only, with scales among the values.")

    def prepare(self, problem, tables, out, device):
        schedule = self.library.get_mla_metadata()[0]
        optional = known(self.library.flash_mla_with_kvcache, attn_sink=tables.sinks) if problem.sinks else {}
        shape = (problem.batch, problem.max_q, problem.q_heads, problem.head_dim_v)
        if accepts(self.library.flash_mla_with_kvcache, "out"):
            optional["out"] = out.view(shape)

        def bind(tensors):
            q = tensors.q.unflatten(0, (problem.batch, problem.max_q))
            return lambda: self.library.flash_mla_with_kvcache(
                q,
                tensors.k,
                tables.page_table,
                tables.kv_lens,
                problem.head_dim_v,
                schedule,
                softmax_scale=problem.scale,
                causal=problem.causal,
                **optional
            )

        def unpack(value):
            o, lse = value
            return o.reshape(problem.q_tokens, problem.q_heads, -1), lse.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads)

        return Prepared("flash_mla_with_kvcache", bind, unpack)
