"""torch's FlexAttention, compiled: masks as mask_mod, the soft cap as score_mod, ragged batches as one packed sequence."""
import torch

from .adapter import Adapter, Prepared
from .wire import Refused, Unavailable


class FlexAdapter(Adapter):
    dist = "torch"
    title = "torch FlexAttention"

    def load(self):
        try:
            from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        except ImportError:
            raise Unavailable("tooOld", "torch {} has no FlexAttention.".format(torch.__version__))
        self.flex_attention = flex_attention
        self.create_block_mask = create_block_mask

    def version(self):
        return str(torch.__version__)

    def supports(self, problem):
        if problem.pages is not None:
            raise Refused("flex_attention takes no page table.")
        if problem.sinks:
            raise Refused("flex_attention has no argument for sinks.")
        if problem.fp8:
            raise Refused("flex_attention has no argument for the scale of an fp8 KV cache.")

    def prepare(self, problem, tables, out, device):
        torch._dynamo.reset()
        packed = not problem.uniform
        batch = 1 if packed else problem.batch
        q_len = problem.q_tokens if packed else problem.max_q
        kv_len = problem.kv_tokens if packed else problem.max_kv
        arguments = {}
        mask = packed_mask(problem, tables) if packed else uniform_mask(problem)
        if mask is not None:
            arguments["block_mask"] = self.create_block_mask(mask, None, None, q_len, kv_len, device=device.torch_device)
        if problem.softcap > 0:
            cap = problem.softcap
            arguments["score_mod"] = lambda score, b, h, i, j: cap * torch.tanh(score / cap)
        if problem.q_heads != problem.kv_heads:
            arguments["enable_gqa"] = True
        # compiled for the CPU it cannot return the log-sum-exp
        with_lse = problem.lse and device.name == "cuda"
        if with_lse:
            arguments["return_lse"] = True
        function = torch.compile(self.flex_attention, dynamic=False)

        def bind(tensors):
            q = tensors.q.view(batch, q_len, problem.q_heads, problem.head_dim).transpose(1, 2)
            k = tensors.k.unflatten(0, (batch, kv_len)).transpose(1, 2)
            v = tensors.v.unflatten(0, (batch, kv_len)).transpose(1, 2)
            return lambda: function(q, k, v, **arguments)

        def unpack(value):
            o, lse = value if with_lse else (value, None)
            if lse is not None:
                lse = lse.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads)
            return o.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v), lse

        return Prepared("flex_attention, compiled", bind, unpack)


def uniform_mask(problem):
    """mask_mod of a batch of equal lengths; None when every query sees every key."""
    if not problem.masks:
        return None
    offset, window = problem.max_kv - problem.max_q, problem.window
    if window is None:
        return lambda b, h, i, j: i + offset >= j
    return lambda b, h, i, j: (i + offset >= j) & (j > i + offset - window)


def packed_mask(problem, tables):
    """mask_mod over the packed sequences: a query sees keys of its own sequence only."""
    place = tables.cu_q.device

    def each(values, lens):
        return torch.repeat_interleave(torch.tensor(values, device=place), torch.tensor(lens, device=place))

    sequences = range(problem.batch)
    q_sequence, kv_sequence = each(list(sequences), problem.q_lens), each(list(sequences), problem.kv_lens)
    # what has to be added to a packed query index to get the packed index of the last key it may see
    shift = each([problem.kv_starts[b] + problem.kv_lens[b] - problem.q_lens[b] - problem.q_starts[b] for b in sequences], problem.q_lens)
    window = problem.window

    def same(b, h, i, j):
        return q_sequence[i] == kv_sequence[j]

    def causal(b, h, i, j):
        return same(b, h, i, j) & (i + shift[i] >= j)

    def windowed(b, h, i, j):
        return causal(b, h, i, j) & (j > i + shift[i] - window)

    return windowed if window is not None else causal if problem.causal else same
