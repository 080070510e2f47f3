"""k-anonymity, local differential privacy and tokenization on one contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microflow.anonymize.contract import Anonymizer, Method, MethodSettings, Scope
from microflow.errors import KeyMaterialError

if TYPE_CHECKING:
    from microflow.schema import DatasetSchema

__all__ = ["build_anonymizer"]


def build_anonymizer(settings: MethodSettings, schema: DatasetSchema, key: bytes | None = None) -> Anonymizer:
    """The anonymizer that ``settings`` ask for; only its own module is imported.

    k-anonymity takes the whole data set as its scope unless ``settings.scope`` says otherwise; the other methods know
    one scope only. ``key`` is used by tokenization and by nothing else.

    Raises:
        KeyMaterialError: tokenization without a key, or with one that is too short.
        MicroflowError: parameters outside their range, or a scope the method does not have.

    >>> from microflow.descriptors import load_schema
    >>> build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=3), load_schema("adult")).scope.value
    'dataset'
    """
    if settings.method is Method.TOKENIZATION:
        from microflow.anonymize.tokenization import Tokenizer

        if key is None:
            raise KeyMaterialError(
                "tokenization needs a key", hint="set MICROFLOW_TOKEN_KEY or MICROFLOW_TOKEN_KEY_FILE"
            )
        return Tokenizer(settings, schema, key)
    if settings.method is Method.DIFFERENTIAL_PRIVACY:
        from microflow.anonymize.differential_privacy import LocalDifferentialPrivacy

        return LocalDifferentialPrivacy(settings, schema)
    if settings.method is Method.IDENTITY:
        from microflow.anonymize.contract import Identity

        return Identity(schema)
    if settings.scope is Scope.STREAM:
        from microflow.anonymize.castle import StreamKAnonymity

        return StreamKAnonymity(settings, schema)
    if settings.scope is Scope.MICROFLOW:
        from microflow.anonymize.k_anonymity import MicroflowKAnonymity

        return MicroflowKAnonymity(settings, schema)
    from microflow.anonymize.k_anonymity import KAnonymity

    return KAnonymity(settings, schema)
