"""Owns the act by which an operator has the configuration read again: that he may, and that he did."""

from ledger.acts.base import Act
from schemas.admin.settings import SettingsReload
from schemas.bus.subjects import new_id
from schemas.verbs.base import Rows

# What comes of it is no matter of the books: whoever did this asks for it by the id (`ledger.configured`).
SETTINGS_RELOAD = Act(
    name="settings_reload",
    form=SettingsReload,
    wants=lambda _names, _form, _digest: None,
    do=lambda _book, _form, _digest: Rows(({"id": new_id("rld_")},)),
    scopes=("settings:write",),
)
