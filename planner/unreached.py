"""Owns why a host gave no answer, in a few words that hold nothing of what was asked: addresses may be secrets."""

import ssl
from typing import Any, NamedTuple

import requests
from urllib3 import exceptions as urllib3_errors


class Reason(NamedTuple):
    """Why there is no answer."""

    words: str
    never_left: bool = False
    """True only when the request surely was not sent."""


def reason(error: requests.RequestException, trust: str) -> Reason:
    """Why a request of requests came to nothing; `trust`: what is to be done for a certificate that is not trusted."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    if isinstance(cause, urllib3_errors.NameResolutionError):
        return Reason("no such host name", never_left=True)
    if isinstance(cause, urllib3_errors.NewConnectionError):
        words = getattr(cause.__cause__, "strerror", None) or "no connection"
        return Reason(words.lower(), never_left=True)
    if isinstance(cause, urllib3_errors.ConnectTimeoutError):
        return Reason("no connection in time", never_left=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return Reason("no connection through the proxy that HTTPS_PROXY names")
    if isinstance(error, requests.exceptions.SSLError):
        return _tls(cause, trust)
    if isinstance(error, requests.ReadTimeout) or isinstance(cause, urllib3_errors.ReadTimeoutError):
        return Reason("no answer in time")
    return Reason("connection lost")


def _tls(cause: Any, trust: str) -> Reason:
    inner = cause.args[0] if isinstance(cause, Exception) and cause.args else cause
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Reason(f"its certificate is not trusted ({inner.verify_message}): {trust}", never_left=True)
    if "ingerprint" in str(inner):
        return Reason("its certificate does not have the fingerprint in api.fingerprint", never_left=True)
    return Reason(f"TLS failed ({getattr(inner, 'reason', None) or 'no reason given'})")
