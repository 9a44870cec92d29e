"""The pages: each is a folder with `page.py`, which has `render(plan, space)`."""

from explorer.texts.translate import N_

PAGES = (
    (N_("Explore"), "grid_view", "explore"),
    (N_("Sensitivity"), "monitoring", "sensitivity"),
    (N_("Search"), "manage_search", "search"),
    (N_("Fine-tune & compare"), "model_training", "finetune"),
    (N_("Flows"), "timeline", "flows"),
    (N_("Methods"), "leaderboard", "methods"),
    (N_("Runs"), "history", "runs"),
    (N_("Export"), "download", "export"),
)
"""Title, icon and path of each page with a plan, in the order of the menu. Its folder has the name
of its path."""
FIRST = "explore"
"""The path of the first page, which has the address /. The address /explore leads there."""
LEARN = "learn"
"""The path of the page that needs no plan."""
