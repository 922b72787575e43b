"""Errors of the command line itself."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "usage": Explanation(
        title="The command line cannot be understood",
        cause="A typo in a command or option, or a value that it cannot have.",
        detection="The command line is parsed before anything else.",
        fix="See --help of the command.",
    ),
    "explanation-unknown": Explanation(
        title="There is no such error id",
        cause="A typo.",
        detection="The catalogue.",
        fix="localai-deploy explain lists all.",
    ),
    "schema-unknown": Explanation(
        title="There is no such JSON schema",
        cause="A typo.",
        detection="The schemas that are shipped with the program.",
        fix="The message lists all.",
    ),
    "confirmation-needed": Explanation(
        title="A question could not be asked",
        cause="Input or output is no terminal, and --yes was not given.",
        detection="Before anything is changed.",
        fix="Read the plan, then run again with --yes.",
    ),
    "declined": Explanation(
        title="The question was answered with no",
        cause="Somebody looked at the plan and did not want it.",
        detection="Nothing was changed.",
        fix="Change what is wanted and run again.",
    ),
    "interrupted": Explanation(
        title="The run was interrupted",
        cause="Ctrl-C, a closed terminal, or a signal to end.",
        detection="The signal. The journal holds the step that was at work; the next run looks at it.",
        fix="Run the same command: what is done stays done, and it goes on from there.",
    ),
    "not-a-terminal": Explanation(
        title="A password could not be asked for",
        cause="Input is no terminal.",
        detection="Before any connection.",
        fix="Put ansible_become_password into a vaulted inventory file.",
    ),
    "picture-library-missing": Explanation(
        title="A PNG cannot be drawn",
        cause="Pillow, which draws it, is an extra that is not installed.",
        detection="The library is imported when a .png is asked for.",
        fix="pip install 'localai-deploy[picture]', or name a file that ends in .svg.",
    ),
    "one-host-only": Explanation(
        title="The command works on one host at a time",
        cause="The name is a group or a pattern that stands for several hosts.",
        detection="The inventory, before any connection.",
        fix="Name one of them.",
    ),
    "local-file": Explanation(
        title="A file of this machine cannot be read or written",
        cause="A missing directory, missing rights or a full disk, on the machine that runs the command.",
        detection="The operating system's own answer is in the message.",
        fix="Name another path, or make this one writable.",
    ),
}
