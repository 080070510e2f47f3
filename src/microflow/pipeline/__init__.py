"""A job from file to file and database: phases, checkpoints, recovery."""

from microflow.pipeline.attempt import CommitPolicy
from microflow.pipeline.batch import SparkBatchProcessor
from microflow.pipeline.job import JobSpec, StoreRecords
from microflow.pipeline.orchestrator import PipelineOrchestrator

__all__ = ["CommitPolicy", "JobSpec", "PipelineOrchestrator", "SparkBatchProcessor", "StoreRecords"]
