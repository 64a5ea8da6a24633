"""The command `k9ops`, which kills itself once at a point of a restore, swap or undo that `KILL_POINT` names."""

from __future__ import annotations

import os

from tests.chaos.killing import after, at_call, before

from k9ops.backups import contents, differences, restore, settling, swap
from k9ops.cli import backup_restore, backup_swap
from k9ops.cli.main import main

#: Of `backup restore ID --swap --yes`: the live database must be as it was.
BEFORE_THE_SWAP = {
    "after the first audit entry": after(restore, "record_event"),
    "with an empty scratch database": before(restore, "restore_archive"),
    "in the middle of the restore": after(contents.ObjectCounter, "hear", is_here=at_call(10)),
    "after the last object": after(restore, "restore_archive"),
    "after the comparison with the manifest": after(restore, "compare_rows"),
    "before the database has its name": before(restore, "publish"),
    "after the database has its name": after(restore, "publish"),
    "in the comparison with the live database": after(differences._Pair, "_compare_table"),
    "before the safety backup": before(swap, "create_backup"),
    "after the safety backup": after(swap, "create_backup"),
    "after the runs are cancelled": after(swap, "cancel_open_runs"),
    "after the audit entries are carried over": after(swap, "carry_events"),
    "after the properties are copied": after(swap, "copy_properties"),
    "before the renames": before(swap, "rename_both"),
    "between the renames and the mark": before(swap, "mark_statement"),
    "before the commit": after(swap, "comment_statement"),
}
#: The swap must be complete.
AFTER_THE_SWAP = {
    "after the commit": after(swap, "rename_both"),
    "after the last audit entries are carried over": after(settling, "carry_events"),
    "between both audit entries of the swap": after(settling, "record_swap_once"),
    "before the swap is marked as settled": before(settling, "mark_statement"),
    "before it is told": before(backup_restore, "print_swap"),
}
#: Of `backup undo --yes`, in the same order.
BEFORE_THE_UNDO = {
    "before the audit entries are carried back": before(swap, "carry_events"),
    "before the renames back": before(swap, "rename_both"),
    "between the renames back and the mark": before(swap, "mark_statement"),
    "before the commit of the undo": after(swap, "comment_statement"),
}
AFTER_THE_UNDO = {
    "after the commit of the undo": after(swap, "rename_both"),
    "between both audit entries of the undo": after(settling, "record_swap_once"),
    "before the undo is told": before(backup_swap, "print_swap"),
}

if __name__ == "__main__":
    (BEFORE_THE_SWAP | AFTER_THE_SWAP | BEFORE_THE_UNDO | AFTER_THE_UNDO)[os.environ["KILL_POINT"]]()
    main()
