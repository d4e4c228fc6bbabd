"""The table of the gallery: one row a mechanism, from which its page, its picture and its line in the backend table come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One page.

    Attributes:
        name: of the mechanism; its page is named after it.
        group: under which it stands.
        formula: in TeX, as matplotlib's mathtext reads it.
        paper: where it comes from, with a link.
        what: what it does.
        when: when to use it.
        cost: beside a plain dot product with softmax.
        code: the example: it is run as it stands, and leaves ``weights``.
        sums_to_one: whether each row of the weights that sees a key does.
    """

    name: str
    group: str
    formula: str
    paper: str
    what: str
    when: str
    cost: str
    code: str
    sums_to_one: bool = True

    @property
    def slug(self) -> str:
        """The name of the page's file."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")


def arxiv(who: str, number: str) -> str:
    """A paper with its link."""
    return f"[{who}](https://arxiv.org/abs/{number})"


def call(*options: str) -> str:
    """The usual example: self-attention over the words, with ``options``."""
    told = "".join(f"    {option},\n" for option in options)
    return f"output, view = attention(\n    words, words, words,\n{told}    look=Look(rows=slice(None)),\n)\nweights = view.rows\n"


SCORES = (
    Entry(
        "Dot", "Scores", r"s_{ij} = \frac{q_i \cdot k_j}{\sqrt{E}}", arxiv("Vaswani et al. 2017", "1706.03762"),
        "The product of query and key, divided by the root of their width so that its spread does not grow with it. "
        "`Dot(scale=1.0)` is the plain product of Luong et al.",
        "Unless there is a reason for another: it is what the fused kernels of every library compute.",
        "The yardstick: two matrix products.",
        call("score=Dot()"),
    ),
    Entry(
        "Cosine", "Scores", r"s_{ij} = c\, \frac{q_i \cdot k_j}{|q_i|\,|k_j|}", arxiv("Graves et al. 2014", "1410.5401"),
        "Only the direction counts. The score stays within ±c, whatever the vectors' lengths; c may be learned, one a head.",
        "Where norms drift, as in long or low-precision training, or with retrieval over unit vectors.",
        "A dot product of vectors normalised once: the same kernels.",
        call("score=Cosine(6.0)"),
    ),
    Entry(
        "Bilinear", "Scores", r"s_{ij} = q_i^T\, W\, k_j", arxiv("Luong et al. 2015", "1508.04025"),
        'A learned matrix between query and key, Luong\'s "general" score. Query and key may have different widths. Here W '
        "swaps animals and what they do, so that a verb finds its animal.",
        "Encoder–decoder attention without projections of their own.",
        "One more product, over the queries alone; then a dot product.",
        "W = torch.eye(6)\nW[[1, 2]] = W[[2, 1]]  # animal and doing change places\n" + call("score=Bilinear(W / 2.4)"),
    ),
    Entry(
        "Additive", "Scores", r"s_{ij} = v \cdot \tanh(q_i + k_j + b)", arxiv("Bahdanau et al. 2015", "1409.0473"),
        "A small network with one hidden layer. Query and key are projected before "
        "([`AdditiveAttention`](../api/nn.md) does both). It is Luong's “concat” too. Here, without projections, the sum of the two is largest where the key adds what the query has not.",
        "Recurrent translators and speech recognisers, whose queries and keys are of different natures.",
        "A tanh for every query, key and unit: Lq × Lk × E of them. The reference holds that tensor.",
        call("score=Additive(3 * torch.ones(6))"),
    ),
    Entry(
        "Distance", "Scores", r"s_{ij} = -c\,|q_i - k_j|^2", arxiv("Tsai et al. 2019", "1908.11775"),
        "Near is alike: with softmax this is a Gaussian kernel smoother, the attention of Nadaraya and Watson.",
        "Where inputs are points, such as coordinates or features with a meaningful distance.",
        "A dot product and two vectors of norms.",
        call("score=Distance(0.4)"),
    ),
    Entry(
        "Softcap", "Scores", r"s_{ij} \leftarrow c\,\tanh(s_{ij} / c)", arxiv("Gemma 2, 2024", "2408.00118"),
        "Keeps any score within ±c, smoothly. No row can become one key's alone while c is small.",
        "Deep models whose logits run away in training.",
        "One tanh a score.",
        call("score=Softcap(Dot(), 1.0)"),
    ),
)  # fmt: skip

BIASES = (
    Entry(
        "Bias", "Biases", r"s_{ij} \leftarrow s_{ij} + b_{ij}", arxiv("Shaw et al. 2018", "1803.02155"),
        "Any tensor that broadcasts to (B, H, Lq, Lk), with its gradient. Here each word is drawn to the one before it.",
        "Anything known of a pair that its vectors do not say: edges of a graph, distances, pair features.",
        "Reads as many numbers as the tensor has. The C++ kernels compute its gradient too.",
        "before = torch.diag(torch.full((11,), 3.0), -1)\n" + call("bias=before"),
    ),
    Entry(
        "ALiBi", "Biases", r"s_{ij} \leftarrow s_{ij} - m_h\, |i - j|", arxiv("Press et al. 2022", "2108.12409"),
        "A penalty that grows with the distance, steeper in some heads than in others. It needs no embedding of positions and "
        "reaches beyond the lengths seen in training.",
        "Language models that are to run on longer texts than they were trained on.",
        "A number a distance, not a pair: Lq + Lk of them a head.",
        call("bias=ALiBi(torch.tensor([0.5]))"),
    ),
    Entry(
        "RelativeBias", "Biases", r"s_{ij} \leftarrow s_{ij} + t_{h,\,\mathrm{bucket}(j - i)}",
        arxiv("Raffel et al. 2020", "1910.10683"),
        "A learned number a head and bucket of distances: T5's, one for each near distance and wider ones farther off, or "
        '`"clipped"`, one for each up to a most. Here the buckets one and two steps back are favoured.',
        "Encoders and decoders of fixed depth that should learn what distance means.",
        "A number a distance; the gradient goes to the table.",
        "table = torch.zeros(1, 8)\ntable[0, 1] = 3.0  # one step back\ntable[0, 2] = 2.0  # two or more, up to a bound\n"
        + call("bias=RelativeBias(table, max_distance=8)"),
    ),
)  # fmt: skip

MASKS = (
    Entry(
        "Causal", "Masks", r"j \leq i + L_k - L_q", arxiv("Vaswani et al. 2017", "1706.03762"),
        "No query sees what comes after it. The last query sees the last key, as every cache of past keys needs it; "
        "`Causal(0)` is PyTorch's own alignment.",
        "Language models and decoders.",
        "A row interval: the C++ kernels do not compute what lies outside, about half. The reference computes all and hides it.",
        call("mask=Causal()"),
    ),
    Entry(
        "Window", "Masks", r"i - l \leq j \leq i + r", arxiv("Beltagy et al. 2020", "2004.05150"),
        "A query sees l keys before its own and r after. `Window(255, 0)` is the sliding window of language models.",
        "Long texts, images and signals in which most of what matters is near.",
        "A row interval: the C++ kernels compute about L × (l + r + 1) scores instead of L². The reference computes all and hides it.",
        call("mask=Window(2, 1)"),
    ),
    Entry(
        "Lengths", "Masks", r"j < n_b", "Padding.",
        "How many keys, and queries, of each sequence of a batch are real. A padded query has output 0 and no gradient.",
        "Batches of sequences of different lengths.",
        "A row interval: the C++ kernels do not compute the padding. The reference does.",
        call("mask=Lengths(torch.tensor([9]))"),
    ),
    Entry(
        "Documents", "Masks", r"d_i = d_j", arxiv("Krell et al. 2021", "2107.02027"),
        "Several texts packed into one sequence; a query sees its own text alone. Where texts stand side by side this lowers "
        "to row intervals. Joined with `Causal()` it is the mask of packed pre-training.",
        "Training without padding.",
        "Row intervals where packed, outside of which the C++ kernels do not compute; a boolean tensor where not. The reference computes all.",
        call("mask=Documents(torch.tensor([0] * 7 + [1] * 5))"),
    ),
    Entry(
        "Prefix", "Masks", r"j < n \;\;\mathrm{or}\;\; j \leq i", arxiv("Raffel et al. 2020", "1910.10683"),
        "The first n keys are visible to all. With `Causal()` and `|` it is the prefix language model: the question is read in "
        "both directions, the answer from left to right.",
        "One decoder that reads an input and writes an output.",
        "A row interval.",
        call("mask=Causal() | Prefix(5)"),
    ),
    Entry(
        "BlockSparse", "Masks", r"\mathrm{layout}_{\lfloor i/s \rfloor,\,\lfloor j/s \rfloor}",
        arxiv("Child et al. 2019", "1904.10509"),
        "A small table says which blocks of keys a block of queries sees.",
        "Very long sequences with a pattern that is known beforehand.",
        "A layout of (L / s)² entries; kernels skip whole blocks. The reference computes all.",
        "layout = torch.eye(4) > 0\nlayout[:, 0] = True  # the first block is seen by all\n"
        + call("mask=BlockSparse(layout, 3)"),
    ),
    Entry(
        "Boolean", "Masks", r"M_{ij}\;\mathrm{is\;True}", "Any pattern.",
        "A boolean tensor, True where the query may attend, and `&`, `|`, `~` of it and any other mask. Here: the same word, and "
        "every other key that is not the query itself.",
        "What no other mask says.",
        "Reads the tensor.",
        "same = torch.tensor([[a == b for b in sentence] for a in sentence])\n"
        "even = torch.arange(12) % 2 == 0\n" + call("mask=Boolean(same) | (~Window(0, 0) & even)"),
    ),
)  # fmt: skip

NORMALIZERS = (
    Entry(
        "Softmax", "Normalizers", r"w_{ij} = \frac{e^{s_{ij}}}{\sum_l e^{s_{il}}}", arxiv("Bahdanau et al. 2015", "1409.0473"),
        "Every visible key gets some weight, the better ones exponentially more.",
        "Unless there is a reason for another.",
        "The yardstick.",
        call("normalizer=Softmax()"),
    ),
    Entry(
        "Sink", "Normalizers", r"w_{ij} = \frac{e^{s_{ij}}}{e^{a_h} + \sum_l e^{s_{il}}}", arxiv("Xiao et al. 2024", "2309.17453"),
        "A learned logit a head that takes part in the sum and carries no value, so a query may attend to nothing much. "
        "The rows sum to less than one.",
        "Streaming models, and against the habit of heads to dump their weight on the first token.",
        "One number a head.",
        call("normalizer=Softmax(sink=torch.tensor([2.0]))"),
        sums_to_one=False,
    ),
    Entry(
        "Sparsemax", "Normalizers", r"w_i = \mathrm{argmin}_{p \in \Delta}\, |p - s_i|^2",
        arxiv("Martins and Astudillo 2016", "1602.02068"),
        "The nearest point of the simplex: most weights are exactly 0, the rest fall linearly.",
        "Where one wants to read which keys counted, and which did not at all.",
        "A threshold a row, found by Newton's method in about ten passes.",
        call("normalizer=Sparsemax()"),
    ),
    Entry(
        "Entmax", "Normalizers", r"w_{ij} = [(\alpha - 1) s_{ij} - \tau_i]_+^{1/(\alpha - 1)}",
        arxiv("Peters et al. 2019", "1905.05702"),
        "Between softmax (α near 1) and sparsemax (α = 2), with exact zeros. α may be learned, one a head "
        "([Correia et al. 2019](https://arxiv.org/abs/1909.00015)); its gradient is exact.",
        "Sparse attention that is gentler than sparsemax; 1.5 is the usual choice.",
        "As sparsemax; powers other than 2 cost more.",
        call("normalizer=Entmax(1.5)"),
    ),
    Entry(
        "Sigmoid", "Normalizers", r"w_{ij} = \sigma(s_{ij} + b)", arxiv("Ramapuram et al. 2025", "2409.04431"),
        "Each weight on its own: keys do not compete, and rows do not sum to one. b is −ln Lk unless given.",
        "Where several keys may each deserve full weight; no sum over the row, so simple kernels.",
        "No pass for a maximum or a sum.",
        call("score=Dot(1.0)", "normalizer=Sigmoid()"),
        sums_to_one=False,
    ),
    Entry(
        "TopK", "Normalizers", r"w_i = \mathrm{softmax}(s_i\;\mathrm{where}\; s_{ij} \geq s_{i(k)})",
        arxiv("Gupta et al. 2021", "2106.06899"),
        "Softmax over the k largest scores of the row. Scores equal to the k-th are kept too: here “the” sees all of itself.",
        "A bound on how many keys a query may mix.",
        "A selection a row.",
        call("normalizer=TopK(2)"),
    ),
    Entry(
        "Hard", "Normalizers", r"j_i \sim \mathrm{softmax}(s_i / T), \quad w_i = e_{j_i}", arxiv("Xu et al. 2015", "1502.03044"),
        "One key a query. In training it is drawn (`gumbel`, `reinforce`) or taken (`straight-through`); in evaluation it is "
        "always the best. The three ways in which the scores learn are told at `regard.Hard`; "
        "[all of them do](../learning.md).",
        "Where a mixture makes no sense, or the choice itself is wanted.",
        "A draw for every pair in training; one row of the values a query in evaluation.",
        call('normalizer=Hard("gumbel", seed=1)'),
    ),
    Entry(
        "Variational", "Normalizers", r"s_{ij} \leftarrow s_{ij} + \sigma \varepsilon_{ij}, \quad \varepsilon_{ij} \sim N(0, 1)",
        arxiv("Fan et al. 2020", "2010.10604"),
        "The weights are latent: noisy scores, so logistic-normal weights, and a divergence from a prior that comes back as "
        "`view.kl`, ready to be added to the loss. Evaluation uses the mean.",
        "Uncertainty about where to look, and regularisation that knows of it.",
        "A normal number for every pair in training.",
        call("normalizer=Variational(0.8, seed=1)"),
    ),
    Entry(
        "Dropout", "Normalizers", r"o_i = \sum_j \frac{m_{ij}}{1 - p}\, w_{ij} v_j", arxiv("Vaswani et al. 2017", "1706.03762"),
        "Weights are dropped after any normalizer. The random bits are a function of seed, batch, head, query and key, so "
        "backward draws them again instead of keeping them. Looks show the weights before: what is shown here are those after.",
        "Training.",
        "Random bits for every pair; the reference draws them faster than PyTorch's own.",
        "output = attention(words, words, torch.eye(12), normalizer=Dropout(Softmax(), 0.5, seed=1))\n"
        "weights = output  # the values are unit vectors, so the output is the weights that were used\n",
        sums_to_one=False,
    ),
)  # fmt: skip

SHARING = (
    Entry(
        "Grouped queries", "Heads", r"\mathrm{head}_h\; \mathrm{reads\; key\; head}\; \lfloor h\, H_k / H \rfloor",
        arxiv("Ainslie et al. 2023", "2305.13245"),
        "Several query heads share one head of keys and values, so a cache is smaller by that factor. Shown is the second of "
        "four query heads on two key heads.",
        "Decoding with long caches.",
        "The same products, fewer keys and values to read.",
        "query = torch.stack([words, words.flip(1), words, 2 * words])\n"
        "key = torch.stack([words, words.roll(1, 0)])\n"
        "output, view = attention(query, key, key, look=Look(rows=slice(None)))\nweights = view.rows[1]\n",
    ),
)  # fmt: skip

LOOKING = (
    Entry(
        "Looking", "Looking", r"H_i = -\sum_j w_{ij} \ln w_{ij}, \quad r_j = \sum_i w_{ij}",
        arxiv("Kobayashi et al. 2020", "2004.10102") + " for the norms.",
        "What a `Look` asks for is computed over tiles of queries and never holds the whole matrix: entropy, received weight, "
        "the largest weights, reach, a pooled map, rows, and norms. `view.tile` computes any piece later.",
        "Whenever one wants to know.",
        "Another pass over the scores; memory linear in the lengths.",
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
