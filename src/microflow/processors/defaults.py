"""What the engines do when they are made without a specification, as the seed's examples make them."""

from __future__ import annotations

import os
import secrets

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import KEY_FILE_VARIABLE, KEY_VARIABLE, read_key
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.processors.contract import ProcessingSpec

__all__ = ["default_spec"]


def default_spec(schema: str = "healthcare", method: str = "tokenization") -> ProcessingSpec:
    """A data type under its own policy, by one method with its default parameters.

    Tokens are made with the key of the environment. Without one a random key is drawn that nobody keeps: such tokens
    are consistent within this specification and can be linked with nothing else.

    >>> default_spec("iot", "k_anonymity").policy.name
    'gdpr'
    """
    described, settings = load_schema(schema), MethodSettings(Method(method))
    key = _key(settings.key_bits) if settings.method is Method.TOKENIZATION else None
    return ProcessingSpec(described, load_policy(described.policy), settings, key=key)


def _key(bits: int) -> bytes:
    is_named = os.environ.keys() & {KEY_VARIABLE, KEY_FILE_VARIABLE}
    return read_key(bits) if is_named else secrets.token_bytes(bits // 8)
