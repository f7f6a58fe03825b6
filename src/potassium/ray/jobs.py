"""Background jobs of an app that has several replicas."""

import logging

from potassium.app import Potassium
from potassium.errors import UsageError
from potassium.serving.composition import parts_of

__all__ = ["check_jobs"]

logger = logging.getLogger("potassium")


def check_jobs(app: Potassium, replicas: int) -> None:
    """Check that replicas do not keep jobs that only one of them can see.

    Raises:
        UsageError: several replicas would.

    """
    jobs = parts_of(app).plan.jobs
    if jobs is None or jobs.url is not None or jobs.store is not None:
        return
    where = "in memory" if jobs.path is None else f"in a file ({jobs.path})"
    if replicas > 1:
        raise UsageError(
            f"{app.name} keeps its background jobs {where}, which no other replica can see: of "
            f"{replicas} replicas, only the one that accepted a job would know it. Keep them in "
            'PostgreSQL: Potassium(..., jobs=Jobs(url="postgresql://USER@HOST/DATABASE")).'
        )
    logger.warning(
        "%s keeps its background jobs %s: they are lost when Ray starts its replica on another "
        'node. Keep them in PostgreSQL: Jobs(url="postgresql://USER@HOST/DATABASE")',
        app.name,
        where,
    )
