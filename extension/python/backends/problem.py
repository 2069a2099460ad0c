"""What a case asks for, in plain numbers: lengths, visible keys, work, page table, sampled rows.

The same definitions as native/src (case_math, page_table, reference_cpu) and native/kernels/common/random_inputs.h: a case and
a seed mean the same inputs, the same pages and the same checked rows for every engine.
"""
import bisect

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
MIX1 = 0xBF58476D1CE4E5B9
MIX2 = 0x94D049BB133111EB

TENSOR_Q, TENSOR_K, TENSOR_V, TENSOR_SINK, TENSOR_PAGE, TENSOR_ROW = 1, 2, 3, 4, 5, 6
# Operations per byte of KV from which MLA decode is counted in operations (extension/core/measure/countedRate.ts).
TENSOR_BOUND_FLOP_PER_BYTE = 160
PATTERN_OUTLIERS, PATTERN_TIES, PATTERN_REPEATED_PAGES = 1, 2, 3

# Rows next to tile edges are where masks go wrong.
TILE_EDGES = (16, 32, 64, 128, 192, 256)
# float32(2.6428614e-5): the inverse deviation of the sum of four uniform 16-bit numbers.
NORMAL_SCALE = 2.6428614e-5


class BadCase(Exception):
    """The case contradicts itself; `code` names the field."""

    def __init__(self, code, text):
        Exception.__init__(self, text)
        self.code = code


def stream_offset(seed, tensor):
    """What is added to an element's index before mixing, so that each tensor of each seed has numbers of its own."""
    return GOLDEN * (((tensor << 32) | seed) + 1) & MASK64


def random_bits(seed, tensor, index):
    """64 random bits of one element."""
    x = (index + stream_offset(seed, tensor)) & MASK64
    x = ((x ^ (x >> 30)) * MIX1) & MASK64
    x = ((x ^ (x >> 27)) * MIX2) & MASK64
    return x ^ (x >> 31)


def normal_value(seed, tensor, index):
    """Approximately normal value of one element, before rounding to float32."""
    bits = random_bits(seed, tensor, index)
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total - 131070) * NORMAL_SCALE


def _lengths(code, value, batch):
    lens = [value] * batch if isinstance(value, int) else list(value)
    if len(lens) != batch:
        raise BadCase(code, "{} lists {} lengths for a batch of {}; write one per sequence.".format(code, len(lens), batch))
    return lens


def _starts(lens):
    starts = [0]
    for n in lens:
        starts.append(starts[-1] + n)
    return starts


class Problem(object):
    """A case with its lengths written out. Raises BadCase for one that contradicts itself."""

    def __init__(self, case):
        self.op = case["op"]
        self.dtype = case["dtype"]
        self.fp8 = case["kvDtype"] != "auto"
        self.kv_scale = case["kvScale"]
        self.head_dim = case["headDim"]
        self.head_dim_v = case["headDimV"]
        self.q_heads = case["qHeads"]
        self.kv_heads = case["kvHeads"]
        self.batch = case["batch"]
        self.causal = case["causal"]
        self.window = case["window"]
        self.softcap = case["softcap"]
        self.sinks = case["sinks"]
        self.heads_first = case["kvLayout"] == "HND"
        self.page_size = case["pageSize"]
        self.lse = case["lse"]
        self.seed = case["seed"]
        if self.batch < 1:
            raise BadCase("batch", "batch is 0; at least one sequence is needed.")
        if self.q_heads < 1 or self.kv_heads < 1 or self.q_heads % self.kv_heads:
            text = "qHeads {} is not a multiple of kvHeads {}, so query heads cannot share KV heads evenly."
            raise BadCase("headGroup", text.format(self.q_heads, self.kv_heads))
        if self.head_dim < 1 or self.head_dim_v < 1:
            raise BadCase("headDim", "A head dimension of 0 leaves nothing to compute.")
        if self.page_size is not None and self.page_size < 1:
            raise BadCase("pageSize", "A page needs at least one token.")
        if self.op == "mlaDecode" and (self.kv_heads != 1 or self.head_dim_v > self.head_dim):
            raise BadCase("mlaShape", "mlaDecode keeps V in the first elements of K: kvHeads 1 and headDimV up to headDim.")
        if self.window is not None and not self.causal:
            raise BadCase("window", "A sliding window ends at the query's own position, so it needs causal attention.")
        if not self.fp8 and self.kv_scale != 1:
            raise BadCase("kvScale", "kvScale applies to fp8 KV only; a 16-bit KV cache needs kvScale 1.")
        self.q_lens = _lengths("qLens", case["qLens"], self.batch)
        self.kv_lens = _lengths("kvLens", case["kvLens"], self.batch)
        self.q_starts = _starts(self.q_lens)
        self.kv_starts = _starts(self.kv_lens)
        if not self.q_tokens:
            raise BadCase("noQueries", "Every qLen is 0, so there is no output to check.")
        self.pages = self._page_table() if self.page_size is not None else None

    @property
    def q_tokens(self):
        return self.q_starts[-1]

    @property
    def kv_tokens(self):
        return self.kv_starts[-1]

    @property
    def max_q(self):
        return max(self.q_lens)

    @property
    def max_kv(self):
        return max(self.kv_lens)

    @property
    def uniform(self):
        """Every sequence has the same lengths."""
        return len(set(self.q_lens)) == 1 and len(set(self.kv_lens)) == 1

    @property
    def mla(self):
        return self.op == "mlaDecode"

    @property
    def scale(self):
        return self.head_dim**-0.5

    @property
    def repeats_pages(self):
        return self.page_size is not None and self.seed >> 28 == PATTERN_REPEATED_PAGES

    @property
    def masks(self):
        """Some query does not see every key of its sequence."""
        if self.window is not None:
            return True
        return self.causal and any(q > 1 or kv < 1 for q, kv in zip(self.q_lens, self.kv_lens))

    def page_counts(self):
        return [-(-n // self.page_size) for n in self.kv_lens]

    def _page_table(self):
        """(rows of physical pages per sequence, pages in the pool, a page that no sequence owns)."""
        counts = self.page_counts()
        owned = sum((n + 1) // 2 if self.repeats_pages else n for n in counts)
        pool = owned + max(1, owned // 8)
        order = list(range(pool))
        for i in range(pool - 1, 0, -1):
            j = random_bits(self.seed, TENSOR_PAGE, i) % (i + 1)
            order[i], order[j] = order[j], order[i]
        rows = []
        given = 0
        for count in counts:
            row = []
            for page in range(count):
                if self.repeats_pages and page % 2:
                    row.append(row[-1])
                else:
                    row.append(order[given])
                    given += 1
            rows.append(row)
        return rows, pool, order[given]

    def visible(self, sequence, q_index):
        """Keys [begin, end) that a query of a sequence sees."""
        kv_len = self.kv_lens[sequence]
        if not self.causal:
            return 0, kv_len
        position = kv_len - self.q_lens[sequence] + q_index
        end = max(0, position + 1)
        return (max(0, end - self.window) if self.window is not None else 0), end

    def flops(self):
        """Useful floating-point operations: 2·(headDim + headDimV) per query, visible key and head."""
        pairs = 0
        for q_len, kv_len in zip(self.q_lens, self.kv_lens):
            if not self.causal:
                pairs += q_len * kv_len
                continue
            window = self.window if self.window is not None else kv_len
            pairs += _pairs_below(kv_len, window) - _pairs_below(max(0, kv_len - q_len), window)
        return 2.0 * (self.head_dim + self.head_dim_v) * pairs * self.q_heads

    def kv_bytes(self):
        """Bytes of K and V that one launch has to read."""
        dims = self.head_dim if self.mla else self.head_dim + self.head_dim_v
        return float(self.kv_tokens) * self.kv_heads * dims * (1 if self.fp8 else 2)

    @property
    def counts_bytes(self):
        """Whether bytes read or operations say how fast it is."""
        if not self.mla:
            return self.op != "prefill"
        row_bytes = self.head_dim * (1 if self.fp8 else 2)
        return 2 * (self.head_dim + self.head_dim_v) * self.q_heads * self.max_q < TENSOR_BOUND_FLOP_PER_BYTE * row_bytes

    def set_bytes(self):
        """Device bytes of one copy of Q, K and V as stored."""
        tokens = self.pages[1] * self.page_size if self.pages else self.kv_tokens
        dims = self.head_dim if self.mla else self.head_dim + self.head_dim_v
        return self.q_tokens * self.q_heads * self.head_dim * 2 + tokens * self.kv_heads * dims * (1 if self.fp8 else 2)

    def out_bytes(self):
        return self.q_tokens * self.q_heads * self.head_dim_v * 2

    def sample_rows(self, count):
        """(sequence, query, head) of the rows to check, sorted by sequence and KV head; `count` None = every row."""
        total = self.q_tokens * self.q_heads
        if count is None or count >= total:
            chosen = range(total)
        else:
            chosen = self._chosen_rows(count, total)
        group = self.q_heads // self.kv_heads
        rows = []
        for row in chosen:
            token, head = divmod(row, self.q_heads)
            sequence = bisect.bisect_right(self.q_starts, token) - 1
            rows.append((sequence, token - self.q_starts[sequence], head))
        rows.sort(key=lambda r: (r[0], r[2] // group))
        return rows

    def _chosen_rows(self, count, total):
        chosen = set()

        def add(token, head):
            if 0 <= token < self.q_tokens and len(chosen) < count:
                chosen.add(token * self.q_heads + head)

        add(0, 0)
        add(self.q_tokens - 1, self.q_heads - 1)
        add(1, 0)
        for edge in TILE_EDGES:
            for token in (edge - 1, edge, edge + 1):
                add(token, token % self.q_heads)
        i = 0
        while len(chosen) < count:
            chosen.add(random_bits(self.seed, TENSOR_ROW, i) % total)
            i += 1
        return sorted(chosen)


def _pairs_below(n, window):
    """Sum over positions 0 … n-1 of the keys seen there: min(position + 1, window)."""
    w = min(n, window)
    return w * (w + 1) // 2 + (n - w) * window
