"""Which term of the glossary each help mark leads to."""

from explorer.texts.translate import _, language

GLOSSARY = {
    "sparsity": "sparsity removed ratio target",
    "mask": "mask nonzeros cut start lock",
    "granularity": "granularity multiples whole_network study_granularities",
    "structured": "same_channels tied filter round_to unit_maps units",
    "unstructured": "view kernels",
    "criterion": "criterion filter_ranks filter_score filter_rank study_criteria",
    "magnitude": "weights histogram",
    "fine_tuning": "schedule rounds epochs lr states flow",
    "dropout": "dropping freeze",
    "seven": "seven_noise seven_layer",
    "subnet": "lab_count search_budget search_keep",
    "recalibration": "repair repaired calibration",
    "sensitivity": "scan preview bounds worst_alone highlight",
    "search": "search search_front search_evaluations search_start search_over",
    "csr": "stored_file storage_write",
    "bitmap": "index_bits",
}
"""A term of the glossary -> the help texts that lead to it. The others lead to its start."""
GLOSSARY_OF = {term: entry for entry, terms in GLOSSARY.items() for term in terms.split()}


def glossary_link(term: str) -> str:
    """A link to the glossary of the page Learn, in the page's language."""
    return f"[{_('Glossary')}](learn?glossary={GLOSSARY_OF.get(term, 'all')}&lang={language()})"


def with_one_link(*helps: str) -> str:
    """Several help texts as one, with the first one's link at the end."""
    parts = [text.partition("\n\n[") for text in helps]
    link = next((f"{mark}{rest}" for _text, mark, rest in parts if mark), "")
    return "\n\n".join(text for text, _mark, _rest in parts) + link
