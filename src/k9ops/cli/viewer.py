"""Opening a finished report in the program that this machine shows such files with."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from k9ops.errors import ParamsInvalid, ViewerFailed
from k9ops.reports.artefacts import Artefact, open_artefact

_OPENER = "open" if sys.platform == "darwin" else "xdg-open"
_PATIENCE_S = 5.0


def find_viewer() -> str:
    """Return the command that opens a file.

    Raises:
        ParamsInvalid: There is none.
    """
    path = shutil.which(_OPENER)
    if path is None:
        raise ParamsInvalid(
            f"--open: this machine has no program to show files with ({_OPENER}). Leave the option out; "
            "`k9ops report get ID` copies the finished report to a file."
        )
    return path


def open_in_viewer(viewer: str, folder: Path, artefact: Artefact) -> Path:
    """Show a copy of a report, its digest checked, and return the copy's path.

    A copy, because a program may leave files beside what it opens, or write into it.

    Args:
        viewer: From `find_viewer`.
        folder: The folder of finished reports.
        artefact: The report.

    Raises:
        ArtefactDamaged: The file is not what was written.
        ViewerFailed: The command ended with an error, as it does without a desktop.
    """
    copy = Path(mkdtemp(prefix="k9ops-report-")) / f"{artefact.report}-{artefact.file_name}"
    with open_artefact(folder, artefact) as file, copy.open("xb") as target:
        copy.chmod(0o400)
        shutil.copyfileobj(file, target)
    started = subprocess.Popen(
        [viewer, str(copy)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Some openers stay as long as the file is shown: they have begun well.
    with contextlib.suppress(subprocess.TimeoutExpired):
        if started.wait(_PATIENCE_S) != 0:
            copy.unlink()
            copy.parent.rmdir()
            raise ViewerFailed(
                f"The report is made, but {Path(viewer).name} cannot show it (exit code {started.returncode})."
                f" `k9ops report get {artefact.artefact_id}` copies it to a file."
            )
    return copy
