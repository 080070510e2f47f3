"""Policies as data, compiled to one pass over a batch and to one callable a record."""

from microflow.compliance.checkers import BatchChecker, RecordChecker, detailed_compliance_check
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.policy import Policy, Rule, load_policy, policy_names
from microflow.compliance.remedy import BatchRemedy, RecordRemedy

__all__ = [
    "BatchChecker",
    "BatchRemedy",
    "Findings",
    "Policy",
    "RecordChecker",
    "RecordRemedy",
    "Rule",
    "Violation",
    "detailed_compliance_check",
    "load_policy",
    "policy_names",
]
