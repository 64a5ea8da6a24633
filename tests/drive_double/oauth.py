"""Google's token endpoint: refresh tokens, service accounts, devices, revocation."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from tests.drive_double.state import DriveState

Answer = tuple[int, dict[str, Any]]
_LIFETIME_S = 3599
DEVICE_CODE = "device-code-1"


def answer_token(state: DriveState, form: dict[str, str]) -> Answer:
    """Answer a request for a token, of any grant."""
    grant = form.get("grant_type", "")
    if grant == "refresh_token":
        return _refresh(state, form)
    if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
        return _assert(state, form)
    if grant == "urn:ietf:params:oauth:grant-type:device_code":
        return _poll_device(state, form)
    return 400, {"error": "unsupported_grant_type"}


def _issue(state: DriveState, **more: str) -> Answer:
    token = {"access_token": state.new_token(), "expires_in": _LIFETIME_S, "token_type": "Bearer"}
    return 200, {**token, "scope": "https://www.googleapis.com/auth/drive.file", **more}


def _refresh(state: DriveState, form: dict[str, str]) -> Answer:
    with state.lock:
        if form.get("client_secret") != "client-secret-1":
            return 401, {"error": "invalid_client"}
        if form.get("refresh_token") not in state.refresh_tokens:
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        if state.rotates_refresh_tokens:
            state.refresh_tokens = {f"refresh-{len(state.access_tokens) + 2}"}
            return _issue(state, refresh_token=next(iter(state.refresh_tokens)))
        return _issue(state)


def _assert(state: DriveState, form: dict[str, str]) -> Answer:
    signed, _, signature = form["assertion"].rpartition(".")
    state.service_account_key.verify(
        base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), SHA256()
    )
    claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/drive"
    return _issue(state)


def answer_device(state: DriveState, form: dict[str, str], url: str) -> Answer:
    """Begin the flow for a machine without a browser (RFC 8628); only some kinds of clients may."""
    if form.get("client_id") != "client-1":
        return 401, {"error": "invalid_client"}
    return 200, {
        "device_code": DEVICE_CODE,
        "user_code": "GQVQ-JKEC",
        "verification_url": f"{url}device",
        "expires_in": 1800,
        "interval": 0,
    }


def _poll_device(state: DriveState, form: dict[str, str]) -> Answer:
    assert form["device_code"] == DEVICE_CODE
    with state.lock:
        state.device_polls += 1
        polls = state.device_polls
    if polls == 1:
        return 428, {"error": "authorization_pending"}
    if not state.device_is_approved.is_set():
        return 403, {"error": "access_denied"}
    with state.lock:
        state.refresh_tokens.add("refresh-device")
    return _issue(state, refresh_token="refresh-device")


def answer_revoke(state: DriveState, form: dict[str, str]) -> Answer:
    """Take a token back."""
    with state.lock:
        token = form.get("token", "")
        state.revoked.append(token)
        if token not in state.refresh_tokens:
            return 400, {"error": "invalid_token"}
        state.refresh_tokens.discard(token)
        state.access_tokens.clear()
    return 200, {}
