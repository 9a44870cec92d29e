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
    "unstructured": (
        r"m_i \in \{0, 1\}\ \text{for every } i",
        "Han et al. 2015, arXiv:1506.02626",
    ),
    "criterion": (r"m_i = 1 \iff s_i > \tau", "Blalock et al. 2020, arXiv:2003.03033"),
    "magnitude": (r"s_i = |w_i|", "Han et al. 2015, arXiv:1506.02626"),
    "fine_tuning": (
        r"w \leftarrow m \odot (w - \eta\, m \odot \nabla L)",
        "Han et al. 2015, arXiv:1506.02626",
    ),
    "taylor": (
        r"s = \left|w\, \frac{\partial L}{\partial w}\right|",
        "Molchanov et al. 2019, arXiv:1906.10771",
    ),
    "dropout": (
        r"y = \frac{m \odot f(Wv)}{1 - p},\quad m_o \sim \text{Bernoulli}(1 - p)",
        "Srivastava et al. 2014, JMLR 15",
    ),
    "dropconnect": (
        r"y = f\!\left(\frac{(M \odot W) v}{1 - p}\right)",
        "Wan et al. 2013, ICML",
    ),
    "seven": (
        r"S = \sum_t |w\, g_t|\, \frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon}",
        "Xiao et al. 2024, arXiv:2403.12688",
    ),
    "subnet": (
        r"r_l \sim U(0, r_{\max}),\quad \text{cost}(r) \le B",
        "Li et al. 2020 (EagleEye), arXiv:2007.02491",
    ),
    "recalibration": (
        r"\mu = \frac{1}{T} \sum_{t=1}^{T} \mu_t,\quad "
        r"\sigma^2 = \frac{1}{T} \sum_{t=1}^{T} \sigma_t^2",
        "Li et al. 2020 (EagleEye), arXiv:2007.02491",
    ),
    "sensitivity": (r"a(0) - a(r)", "Li et al. 2016, arXiv:1608.08710"),
    "search": (
        r"\max_r\ a(r)\quad \text{with cost}(r) \le B",
        "He et al. 2018 (AMC), arXiv:1802.03494",
    ),
    "csr": (r"a(b + 32) + 32(\text{rows} + 1)\ \text{bits}", "Saad 2003, Iterative Methods"),
    "bitmap": (r"N + a b\ \text{bits}", "Han et al. 2016 (EIE), arXiv:1602.01528"),
    "relative_index": (
        r"(a + \text{fillers})(b + k)\ \text{bits}",
        "Han et al. 2016, arXiv:1510.00149",
    ),
}
"""Term -> formula (KaTeX) and source."""
