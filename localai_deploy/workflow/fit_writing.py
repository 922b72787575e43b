"""Write down on a host how its model was fitted and how fast it really is, for the next estimate there."""

from __future__ import annotations

import json
import shlex

from localai_deploy.domain import paths
from localai_deploy.domain.fit.record import FEWEST_TOKENS, fit_record
from localai_deploy.errors import LocalaiError
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.workflow.observe import PlannedHost


def record_fit(planned: PlannedHost, report: Report) -> str:
    """Record the fit of a host that passed; the record of an earlier run stays where nothing was fitted anew.

    :returns: why it could not be written; empty when all is well.
    """
    host = planned.host.name
    if planned.fitted is None or planned.deployment is None or not report.host_passed(host):
        return ""
    rate = measured_rate(report.find(host, "completion"))
    model = planned.deployment.models[0]
    record = fit_record(planned.fitted, planned.deployment.spec, model, rate)
    text = json.dumps(record, indent=2) + "\n"
    path = shlex.quote(paths.FIT_FILE)
    command = f"umask 022 && cat > {path}.new && mv {path}.new {path}"
    try:
        done = planned.target.connect().run(["sh", "-c", command], stdin=text.encode(), sudo=True)
    except LocalaiError as error:
        return f"{paths.FIT_FILE} could not be written: {error.what}"
    said = done.stderr.decode(errors="replace").strip()
    return f"{paths.FIT_FILE} could not be written: {said[-200:]}" if done.returncode else ""


def measured_rate(completion: CheckResult | None) -> float | None:
    """Tokens/s of generation that the runtime told; ``None`` where the answer was too short to tell."""
    if completion is None or completion.outcome is not Outcome.PASS:
        return None
    rate, tokens = (completion.evidence.get(key) for key in ("predicted_per_second", "completion_tokens"))
    if not isinstance(rate, int | float) or not isinstance(tokens, int) or tokens < FEWEST_TOKENS:
        return None
    return float(rate) if rate > 0 else None
