"""What jobs are expected to take, for the summary of a plan. No result depends on it."""

from pydantic import Field

from opdlm.config.base import Name, Strict


class Expected(Strict):
    """Measured or reckoned beforehand, for one GPU of the cluster's kind."""

    gpu_hours: dict[Name, float] = Field(default={}, description="of a training, by run")
    tokens_per_second: dict[Name, float] = Field(
        default={}, description="answers written by one GPU, by the teacher whose size the model has"
    )
