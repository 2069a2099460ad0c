"""torch.nn.functional.scaled_dot_product_attention, held to one of its kernels."""
import torch
import torch.nn.functional as F

from .adapter import Adapter, Prepared
from .wire import Refused, Unavailable

BIG_MASK_ELEMENTS = 1 << 31


class SdpaAdapter(Adapter):
    dist = "torch"
    title = "torch SDPA"

    def __init__(self, backend):
        self.backend_name = backend

    def load(self):
        try:
            from torch.nn.attention import SDPBackend, sdpa_kernel
        except ImportError:
            text = "torch {} cannot be held to one kernel (torch.nn.attention is newer)."
            raise Unavailable("tooOld", text.format(torch.__version__))
        if not hasattr(SDPBackend, self.backend_name):
            raise Unavailable("tooOld", "torch {} has no SDPA kernel {}.".format(torch.__version__, self.backend_name))
        self.backend = getattr(SDPBackend, self.backend_name)
        self.sdpa_kernel = sdpa_kernel

    def version(self):
        version = str(torch.__version__)
        if self.backend_name == "CUDNN_ATTENTION":
            number = torch.backends.cudnn.version()
            if number:
                version += ", cuDNN {}.{}.{}".format(number // 10000, number // 100 % 100, number % 100)
        return version

    def supports(self, problem):
        if problem.pages is not None:
            raise Refused("scaled_dot_product_attention takes no page table.")
        if not problem.uniform:
            raise Refused("scaled_dot_product_attention takes one length for all sequences.")
        if problem.softcap > 0:
            raise Refused("scaled_dot_product_attention has no argument for a soft cap.")
        if problem.sinks:
            raise Refused("scaled_dot_product_attention has no argument for sinks.")
        if problem.fp8:
            raise Refused("scaled_dot_product_attention has no argument for the scale of an fp8 KV cache.")

    def workspace_bytes(self, problem):
        if self.backend_name != "MATH":
            return 0
        # scores and probabilities in fp32, and K and V repeated for every query head, in fp32
        scores = problem.batch * problem.q_heads * problem.max_q * problem.max_kv
        repeated = problem.batch * problem.q_heads * problem.max_kv * (problem.head_dim + problem.head_dim_v)
        return 4 * (3 * scores + repeated)

    def prepare(self, problem, tables, out, device):
        arguments = {}
        if problem.q_heads != problem.kv_heads:
            arguments["enable_gqa"] = True
        q_len, kv_len = problem.max_q, problem.max_kv
        if problem.masks:
            if problem.window is None and q_len == kv_len:
                arguments["is_causal"] = True
            elif problem.window is None and self.backend_name in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION") and device.name == "cuda":
                # is_causal is aligned to the top left; this is torch's own way to the bottom right
                from torch.nn.attention.bias import causal_lower_right

                arguments["attn_mask"] = causal_lower_right(q_len, kv_len)
            else:
                arguments["attn_mask"] = self._mask(problem, q_len, kv_len, device.torch_device)

        def bind(tensors):
            q = tensors.q.view(problem.batch, q_len, problem.q_heads, problem.head_dim).transpose(1, 2)
            k = tensors.k.unflatten(0, (problem.batch, kv_len)).transpose(1, 2)
            v = tensors.v.unflatten(0, (problem.batch, kv_len)).transpose(1, 2)
            return lambda: F.scaled_dot_product_attention(q, k, v, **arguments)

        def unpack(value):
            return value.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v), None

        kernel = "scaled_dot_product_attention {}".format(self.backend_name)
        return Prepared(kernel, bind, unpack, lambda: self.sdpa_kernel(self.backend))

    @staticmethod
    def _mask(problem, q_len, kv_len, place):
        if q_len * kv_len > BIG_MASK_ELEMENTS:
            raise Refused("The mask of this case would have {} elements.".format(q_len * kv_len))
        position = torch.arange(q_len, device=place)[:, None] + (kv_len - q_len)
        key = torch.arange(kv_len, device=place)[None, :]
        mask = key <= position
        if problem.window is not None:
            mask &= key > position - problem.window
        return mask
