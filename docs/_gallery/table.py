"""The table of the gallery: one row per mechanism, from which its page, its figure and its row in the backend table are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One page.

    Attributes:
        name: the name of the mechanism and of its page.
        group: the heading under which the page is listed.
        formula: in TeX, for matplotlib's mathtext.
        paper: its source, with a link.
        description: what it computes.
        use: when to use it.
        cost: compared with a dot product and softmax.
        code: the example as shown; running it sets ``weights``.
        sums_to_one: whether the weights of each query that sees a key sum to one.
    """

    name: str
    group: str
    formula: str
    paper: str
    description: str
    use: str
    cost: str
    code: str
    sums_to_one: bool = True

    @property
    def slug(self) -> str:
        """The name of the page's file."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")


def arxiv(citation: str, number: str) -> str:
    """A citation with a link to arXiv."""
    return f"[{citation}](https://arxiv.org/abs/{number})"


def call(*options: str) -> str:
    """The usual example: self-attention over the words, with ``options``."""
    lines = "".join(f"    {option},\n" for option in options)
    return f"output, view = attention(\n    words, words, words,\n{lines}    look=Look(rows=slice(None)),\n)\nweights = view.rows\n"


SCORES = (
    Entry(
        "Dot", "Scores", r"s_{ij} = \frac{q_i \cdot k_j}{\sqrt{E}}", arxiv("Vaswani et al. 2017", "1706.03762"),
        "The dot product of query and key, divided by the square root of their width, so that its variance does not grow with the width. "
        "`Dot(scale=1.0)` is the unscaled product of Luong et al.",
        "The default. The fused kernels of every library compute this score.",
        "Two matrix products. The other pages compare with this.",
        call("score=Dot()"),
    ),
    Entry(
        "Cosine", "Scores", r"s_{ij} = c\, \frac{q_i \cdot k_j}{|q_i|\,|k_j|}", arxiv("Graves et al. 2014", "1410.5401"),
        "Only the directions of the vectors matter. The score is within ±c for vectors of any length; c may be learned, one number for each head.",
        "If norms grow during training, as in long or low-precision runs, and for retrieval with unit vectors.",
        "Queries and keys are normalized once; then a dot product.",
        call("score=Cosine(6.0)"),
    ),
    Entry(
        "Bilinear", "Scores", r"s_{ij} = q_i^T\, W\, k_j", arxiv("Luong et al. 2015", "1508.04025"),
        'A learned matrix between query and key, Luong\'s "general" score. Query and key may have different widths. Here W '
        "swaps the features of animals and actions, so that a verb attends to animals.",
        "Encoder–decoder attention without separate projections of queries and keys.",
        "One more product, of the queries with W; then a dot product.",
        "W = torch.eye(6)\nW[[1, 2]] = W[[2, 1]]  # swap the features animal and doing\n" + call("score=Bilinear(W / 2.4)"),
    ),
    Entry(
        "Additive", "Scores", r"s_{ij} = v \cdot \tanh(q_i + k_j + b)", arxiv("Bahdanau et al. 2015", "1409.0473"),
        "A small network with one hidden layer, whose input is the sum of a projected query and a projected key "
        "([`AdditiveAttention`](../api/nn.md) includes the projections). Luong's “concat” score is the same. Here, without projections, the score is largest for keys that have the features that the query lacks.",
        "Recurrent translation and speech recognition, where queries and keys come from different networks.",
        "A tanh for each query, key and unit: Lq × Lk × E. The reference backend stores that tensor.",
        call("score=Additive(3 * torch.ones(6))"),
    ),
    Entry(
        "Distance", "Scores", r"s_{ij} = -c\,|q_i - k_j|^2", arxiv("Tsai et al. 2019", "1908.11775"),
        "The negative squared distance: with softmax, this is a Gaussian kernel smoother (Nadaraya–Watson regression).",
        "If inputs are points, such as coordinates, or features with a meaningful distance.",
        "A dot product and two vectors of norms.",
        call("score=Distance(0.4)"),
    ),
    Entry(
        "Softcap", "Scores", r"s_{ij} \leftarrow c\,\tanh(s_{ij} / c)", arxiv("Gemma 2, 2024", "2408.00118"),
        "Limits any score smoothly to ±c. With a small c, no key can get all of the weight.",
        "Deep models whose scores grow without bound in training.",
        "One tanh per score.",
        call("score=Softcap(Dot(), 1.0)"),
    ),
)  # fmt: skip

BIASES = (
    Entry(
        "Bias", "Biases", r"s_{ij} \leftarrow s_{ij} + b_{ij}", arxiv("Shaw et al. 2018", "1803.02155"),
        "Any tensor that broadcasts to (B, H, Lq, Lk), with its gradient. Here it favours the word before each word.",
        "What is known about a pair beyond its vectors: edges of a graph, distances, pair features.",
        "Reads the tensor once. The C++ kernels compute its gradient too.",
        "before = torch.diag(torch.full((11,), 3.0), -1)\n" + call("bias=before"),
    ),
    Entry(
        "ALiBi", "Biases", r"s_{ij} \leftarrow s_{ij} - m_h\, |i - j|", arxiv("Press et al. 2022", "2108.12409"),
        "A penalty that grows with the distance, with a different slope in each head. It needs no position embeddings and "
        "extrapolates to lengths beyond those seen in training.",
        "Language models that run on longer texts than they were trained on.",
        "One number per head and distance, Lq + Lk − 1 of them, instead of one per pair.",
        call("bias=ALiBi(torch.tensor([0.5]))"),
    ),
    Entry(
        "RelativeBias", "Biases", r"s_{ij} \leftarrow s_{ij} + t_{h,\,\mathrm{bucket}(j - i)}",
        arxiv("Raffel et al. 2020", "1910.10683"),
        "A learned number for each head and bucket of distances: T5's buckets, one for each short distance and wider ones for long distances, or "
        '`"clipped"`, one for each distance up to a limit. Here the buckets one and two steps back are favoured.',
        "Encoders and decoders that should learn the effect of distance.",
        "One number per head and distance; the gradient goes to the table.",
        "table = torch.zeros(1, 8)\ntable[0, 1] = 3.0  # one step back\ntable[0, 2] = 2.0  # two or more, up to a limit\n"
        + call("bias=RelativeBias(table, max_distance=8)"),
    ),
)  # fmt: skip

MASKS = (
    Entry(
        "Causal", "Masks", r"j \leq i + L_k - L_q", arxiv("Vaswani et al. 2017", "1706.03762"),
        "No query attends to later keys. The last query is aligned with the last key, which is right with a cache of past keys; "
        "`Causal(0)` aligns the first query with the first key, as PyTorch does.",
        "Language models and decoders.",
        "An interval of keys for each query: the C++ kernels compute about half of the scores. The reference backend computes all and masks them.",
        call("mask=Causal()"),
    ),
    Entry(
        "Window", "Masks", r"i - l \leq j \leq i + r", arxiv("Beltagy et al. 2020", "2004.05150"),
        "A query attends to l keys before its own position and r after it. `Window(255, 0)` is a sliding window of a language model.",
        "Long texts, images and signals in which mainly near positions matter.",
        "An interval of keys for each query: the C++ kernels compute about L × (l + r + 1) scores instead of L². The reference backend computes all and masks them.",
        call("mask=Window(2, 1)"),
    ),
    Entry(
        "Lengths", "Masks", r"j < n_b", "Padding.",
        "The number of keys, and optionally of queries, of each sequence in a batch that are not padding. A padded query has output 0 and no gradient.",
        "Batches of sequences of different lengths.",
        "An interval of keys for each query: the C++ kernels do not compute the padding. The reference backend does.",
        call("mask=Lengths(torch.tensor([9]))"),
    ),
    Entry(
        "Documents", "Masks", r"d_i = d_j", arxiv("Krell et al. 2021", "2107.02027"),
        "Several texts packed into one sequence; a query attends to keys of its own text only. With `& Causal()`, it is the mask of packed pre-training.",
        "Training without padding.",
        "If each text is contiguous, an interval of keys for each query, outside of which the C++ kernels compute nothing; otherwise a boolean tensor. The reference backend computes all.",
        call("mask=Documents(torch.tensor([0] * 7 + [1] * 5))"),
    ),
    Entry(
        "Prefix", "Masks", r"j < n \;\;\mathrm{or}\;\; j \leq i", arxiv("Raffel et al. 2020", "1910.10683"),
        "The first n keys are visible to all queries. `Causal() | Prefix(n)` is the mask of a prefix language model: bidirectional over the input, causal over the output.",
        "A decoder-only model that gets an input and generates an output.",
        "An interval of keys for each query.",
        call("mask=Causal() | Prefix(5)"),
    ),
    Entry(
        "BlockSparse", "Masks", r"\mathrm{layout}_{\lfloor i/s \rfloor,\,\lfloor j/s \rfloor}",
        arxiv("Child et al. 2019", "1904.10509"),
        "A boolean layout of the blocks of keys that each block of queries attends to.",
        "Very long sequences with a pattern that is known beforehand.",
        "A layout of (L / s)² entries; the kernels skip hidden blocks. The reference backend computes all.",
        "layout = torch.eye(4) > 0\nlayout[:, 0] = True  # the first block is visible to all\n"
        + call("mask=BlockSparse(layout, 3)"),
    ),
    Entry(
        "Boolean", "Masks", r"M_{ij}\;\mathrm{is\;True}", "Any pattern.",
        "A boolean tensor, True where the query may attend. It can be combined with other masks by `&`, `|`, `~`. Here: the same word, and "
        "every second key except the query itself.",
        "Patterns that no other mask describes.",
        "Reads the tensor.",
        "same = torch.tensor([[a == b for b in sentence] for a in sentence])\n"
        "even = torch.arange(12) % 2 == 0\n" + call("mask=Boolean(same) | (~Window(0, 0) & even)"),
    ),
)  # fmt: skip

NORMALIZERS = (
    Entry(
        "Softmax", "Normalizers", r"w_{ij} = \frac{e^{s_{ij}}}{\sum_l e^{s_{il}}}", arxiv("Bahdanau et al. 2015", "1409.0473"),
        "Every visible key gets a positive weight, exponential in its score.",
        "The default.",
        "The other normalizers compare with this.",
        call("normalizer=Softmax()"),
    ),
    Entry(
        "Sink", "Normalizers", r"w_{ij} = \frac{e^{s_{ij}}}{e^{a_h} + \sum_l e^{s_{il}}}", arxiv("Xiao et al. 2024", "2309.17453"),
        "A learned logit for each head that takes part in the sum but has no value, so a query can attend to little or nothing. "
        "The weights of a row sum to less than one.",
        "Streaming models, and to keep heads from putting unused weight on the first token.",
        "One number per head.",
        call("normalizer=Softmax(sink=torch.tensor([2.0]))"),
        sums_to_one=False,
    ),
    Entry(
        "Sparsemax", "Normalizers", r"w_i = \mathrm{argmin}_{p \in \Delta}\, |p - s_i|^2",
        arxiv("Martins and Astudillo 2016", "1602.02068"),
        "The projection of the scores onto the simplex: most weights are exactly 0, the others are linear in the score.",
        "If it should be visible which keys had no influence at all.",
        "A threshold for each row, by Newton's method in about ten passes.",
        call("normalizer=Sparsemax()"),
    ),
    Entry(
        "Entmax", "Normalizers", r"w_{ij} = [(\alpha - 1) s_{ij} - \tau_i]_+^{1/(\alpha - 1)}",
        arxiv("Peters et al. 2019", "1905.05702"),
        "Between softmax (α near 1) and sparsemax (α = 2), with exact zeros. α may be learned, one number for each head "
        "([Correia et al. 2019](https://arxiv.org/abs/1909.00015)); its gradient is exact.",
        "Attention that is sparse, but less so than sparsemax; α = 1.5 is the usual choice.",
        "As sparsemax at α = 1.5 and 2; other values of α cost more.",
        call("normalizer=Entmax(1.5)"),
    ),
    Entry(
        "Sigmoid", "Normalizers", r"w_{ij} = \sigma(s_{ij} + b)", arxiv("Ramapuram et al. 2025", "2409.04431"),
        "Each weight depends on its own score only: keys do not compete, and the weights of a row do not sum to one. The default of b is −ln Lk.",
        "If several keys may each need full weight.",
        "No maximum and no sum over the row.",
        call("score=Dot(1.0)", "normalizer=Sigmoid()"),
        sums_to_one=False,
    ),
    Entry(
        "TopK", "Normalizers", r"w_i = \mathrm{softmax}(s_i\;\mathrm{where}\; s_{ij} \geq s_{i(k)})",
        arxiv("Gupta et al. 2021", "2106.06899"),
        "Softmax over the k largest scores of the row. Scores equal to the k-th are kept too: here “the” sees all of itself.",
        "To limit the number of keys that a query attends to.",
        "A selection in each row.",
        call("normalizer=TopK(2)"),
    ),
    Entry(
        "Hard", "Normalizers", r"j_i \sim \mathrm{softmax}(s_i / T), \quad w_i = e_{j_i}", arxiv("Xu et al. 2015", "1502.03044"),
        "Each query attends to one key. In training, the key is drawn (`gumbel`, `reinforce`) or the one with the highest score (`straight-through`); in evaluation, it is "
        "always the one with the highest score. [`regard.Hard`](../api/mechanisms.md) explains the three gradient estimators; "
        "[a comparison](../learning.md) shows that all of them learn.",
        "If a mixture of values makes no sense, or the choice itself is the result.",
        "A random number for each pair in training; one row of the values for each query in evaluation.",
        call('normalizer=Hard("gumbel", seed=1)'),
    ),
    Entry(
        "Variational", "Normalizers", r"s_{ij} \leftarrow s_{ij} + \sigma \varepsilon_{ij}, \quad \varepsilon_{ij} \sim N(0, 1)",
        arxiv("Fan et al. 2020", "2010.10604"),
        "The weights are latent variables: scores with Gaussian noise give logistic-normal weights. Their divergence from a prior is "
        "`view.kl`, to be added to the loss. Evaluation uses the mean.",
        "To model uncertainty about where to attend, and for regularization.",
        "A normal random number for each pair in training.",
        call("normalizer=Variational(0.8, seed=1)"),
    ),
    Entry(
        "Dropout", "Normalizers", r"o_i = \sum_j \frac{m_{ij}}{1 - p}\, w_{ij} v_j", arxiv("Vaswani et al. 2017", "1706.03762"),
        "Sets weights to zero at random, after any normalizer. The random bits are a function of seed, batch, head, query and key, so "
        "the backward pass computes them again instead of storing them. Looks show the weights before dropout; this figure shows those after.",
        "Regularization in training.",
        "Random bits for each pair, which the reference backend computes faster than PyTorch's dropout.",
        "output = attention(words, words, torch.eye(12), normalizer=Dropout(Softmax(), 0.5, seed=1))\n"
        "weights = output  # the values are unit vectors, so the output is the weights\n",
        sums_to_one=False,
    ),
)  # fmt: skip

SHARING = (
    Entry(
        "Grouped queries", "Heads", r"\mathrm{head}_h\; \mathrm{reads\; key\; head}\; \lfloor h\, H_k / H \rfloor",
        arxiv("Ainslie et al. 2023", "2305.13245"),
        "Several query heads share one head of keys and values, so that a cache is smaller by that factor. The figure shows the second of "
        "four query heads with two key heads.",
        "Decoding with long caches.",
        "The same products, with fewer keys and values to read.",
        "query = torch.stack([words, words.flip(1), words, 2 * words])\n"
        "key = torch.stack([words, words.roll(1, 0)])\n"
        "output, view = attention(query, key, key, look=Look(rows=slice(None)))\nweights = view.rows[1]\n",
    ),
)  # fmt: skip

LOOKING = (
    Entry(
        "Looking", "Looking", r"H_i = -\sum_j w_{ij} \ln w_{ij}, \quad r_j = \sum_i w_{ij}",
        arxiv("Kobayashi et al. 2020", "2004.10102") + " for the norms.",
        "The statistics that a `Look` requests are computed in tiles of queries; the Lq × Lk matrix is never stored: entropy, weight received by each key, "
        "the largest weights, reach, a pooled map, rows, and norms. `view.tile` computes any part of the matrix later.",
        "To see what a model attends to.",
        "A second pass over the scores; memory is linear in the lengths.",
        "output, view = attention(\n    words, words, words,\n    mask=Causal(),\n"
        "    look=Look(entropy=True, received=True, reach=True, top=1, map=(4, 4), norms=True, rows=slice(None)),\n)\n"
        "weights = view.rows\n"
        'print("entropy of ran:", round(view.entropy[10].item(), 2), "nats")\n'
        'print("weight that cat received:", round(view.received[2].item(), 2))\n'
        'print("dog looks most at:", sentence[view.top.keys[9, 0]])\n'
        'print("a tile:", view.tile([9], slice(1, 4)).numpy().round(2))\n',
    ),
)  # fmt: skip

ENTRIES = (*SCORES, *BIASES, *MASKS, *NORMALIZERS, *SHARING, *LOOKING)
