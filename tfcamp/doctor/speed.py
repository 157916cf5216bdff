"""What the speed tests say, and what it means when they fail."""

from collections.abc import Iterator, Mapping
from typing import Any

from tfcamp.doctor.findings import Finding, note, ok, problem
from tfcamp.doctor.gpu import INSTALL_GPU, ON_CPU
from tfcamp.doctor.installation import MAIN_JOB, NEW_ENVIRONMENT

# Of the facts that `tfcamp.doctor.trial` reports, each a second.
UNITS = {
    "matrix": "floating-point operations",
    "words": "headlines cut into words",
    "input": "rows read",
    "training": "rows trained on",
}


def check_speeds(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yields the speeds that were measured.

    >>> facts = {"device": "CPU:0", "matrix": 8e10, "words": 4e4, "input": 2e5, "training": 4e3}
    >>> for finding in check_speeds(facts):
    ...     print(finding.message)
    80 GFLOP/s of a float32 matrix product on CPU:0
    200,000 rows a second read, 50 times what training takes; 40,000 cut into words
    4,000 rows a second through a BiLSTM, forwards and backwards
    """
    if "matrix" in facts:
        speed = f"{facts['matrix'] / 1e9:,.0f} GFLOP/s"
        yield ok("matrices", f"{speed} of a float32 matrix product on {facts['device']}")
    if "training" in facts:
        ratio = facts["input"] / facts["training"]
        message = (
            f"{facts['input']:,.0f} rows a second read, {ratio:.3g} times what training takes; "
            f"{facts['words']:,.0f} cut into words"
        )
        if ratio < 1:
            yield note("input", message, "a larger --batch-size, or more CPU cores")
        else:
            yield ok("input", message)
        speed = f"{facts['training']:,.0f} rows a second"
        yield ok("training", f"{speed} through a BiLSTM, forwards and backwards")


def check_failure(failure: str, *, stage: str, on_gpu: bool, library_path: str | None) -> Finding:
    """Says what an error means that TensorFlow met on this machine.

    Args:
      failure: its type and message.
      stage: what was being done.
      on_gpu: whether TensorFlow computed on a GPU.
      library_path: LD_LIBRARY_PATH, whose libraries come before those that pip installed.
    """
    message = f"{MAIN_JOB} would fail {stage}: {failure}"
    if not on_gpu:
        return problem("training", message, NEW_ENVIRONMENT)
    if "CuDNN" in failure or "DNN library" in failure:
        remedy = "unset LD_LIBRARY_PATH" if library_path else INSTALL_GPU
        return problem("training", message, f"{remedy}; without the GPU: {ON_CPU}")
    return problem("training", message, f"without the GPU: {ON_CPU}")
