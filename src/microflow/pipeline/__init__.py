"""A job from file to file and database: phases, checkpoints, recovery."""

from microflow.pipeline.attempt import CommitPolicy
from microflow.pipeline.job import JobSpec, StoreRecords
from microflow.pipeline.orchestrator import PipelineOrchestrator, SparkBatchProcessor

__all__ = ["CommitPolicy", "JobSpec", "PipelineOrchestrator", "SparkBatchProcessor", "StoreRecords"]
