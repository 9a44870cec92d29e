"""The formula and the source of each term of the glossary. The texts are in the tables."""

TERMS = {
    "sparsity": (
        r"\text{sparsity} = \frac{\#\{i : w_i = 0\}}{N}",
        "Han et al. 2015, arXiv:1506.02626",
    ),
    "mask": (r"w' = m \odot w,\quad m_i \in \{0, 1\}", "Han et al. 2015, arXiv:1506.02626"),
    "granularity": (
        r"m_i = m_j \ \text{for all } i, j \text{ in one group}",
        "Mao et al. 2017, arXiv:1705.08922",
    ),
    "structured": (
        r"W \in \mathbb{R}^{O \times I \times k \times k} \to "
        r"\mathbb{R}^{O' \times I' \times k \times k}",
        "Li et al. 2016, arXiv:1608.08710",
    ),
    "magnitude": (r"s_i = |w_i|", "Han et al. 2015, arXiv:1506.02626"),
    "fine_tuning": (
        r"w \leftarrow m \odot (w - \eta\, m \odot \nabla L)",
        "Han et al. 2015, arXiv:1506.02626",
    ),
    "csr": (r"a(b + 32) + 32(\text{rows} + 1)\ \text{bits}", "Saad 2003, Iterative Methods"),
    "bitmap": (r"N + a b\ \text{bits}", "Han et al. 2016 (EIE), arXiv:1602.01528"),
    "relative_index": (
        r"(a + \text{fillers})(b + k)\ \text{bits}",
        "Han et al. 2016, arXiv:1510.00149",
    ),
}
"""Term -> formula (KaTeX) and source."""
