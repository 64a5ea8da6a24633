"""The process that renders: it stays warm, takes one order a line, and may be killed at any time.

    python -m k9ops.reports.pdf.child PARENT_PID MEMORY_MB

Standard input has a JSON line for each document, part or joining, standard output one for each answer. It ends with
its parent.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from k9ops.durable import disk_errors
from k9ops.errors import K9opsError
from k9ops.process_memory import limit_address_space

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, memory_mb: int) -> None:
    """Answer until standard input ends."""
    if not tie_to_parent(parent_pid):
        return
    limit_address_space(memory_mb)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library prints is not an answer.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    for line in sys.stdin:
        answer = render(json.loads(line))
        answers.write(json.dumps(answer, ensure_ascii=False) + "\n")
        answers.flush()


def render(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one order and say how it went: pages, or parts to order, or the error's class, message and detail."""
    try:
        from weasyprint.urls import FatalURLFetchingError

        from k9ops.reports.pdf.page import PageNumbers
        from k9ops.reports.pdf.parts import render_part
        from k9ops.reports.pdf.render import render_document
    except (OSError, ImportError) as exc:
        return {"error": "RendererMissing", "message": "", "detail": {"problem": str(exc)[:500]}}
    try:
        document = json.loads(Path(order["document"]).read_text(encoding="utf-8"))
        output = Path(order["output"])
        with disk_errors():
            if "joined" in order:
                from k9ops.reports.pdf.joining import join_parts  # few reports need it

                return {"pages": join_parts(document, [Path(path) for path in order["joined"]], output)}
            if "spans" in order:
                return {"pages": render_part(document, order["spans"], PageNumbers(*order["numbers"]), output)}
            made = render_document(document, output)
        return {"pages": made} if isinstance(made, int) else {"parts": [asdict(part) for part in made]}
    except K9opsError as exc:
        return {"error": type(exc).__name__, "message": exc.user_message, "detail": exc.detail}
    except MemoryError:
        return {"error": "MemoryError", "message": "", "detail": {}}
    except FatalURLFetchingError as exc:
        return {"error": "FatalURLFetchingError", "message": "", "detail": {"problem": str(exc)}}
    except Exception as exc:
        return {"error": type(exc).__name__, "message": "", "detail": {"problem": repr(exc)[:500]}}


def tie_to_parent(parent_pid: int) -> bool:
    """Ask the kernel to end this process with its parent; tell whether the parent is still there (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    return os.getppid() == parent_pid


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
