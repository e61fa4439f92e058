"""The table of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import typer

from collectors.cli import backfill, check, declare, explain, incidents, judged, prefix, run, scope, staging
from collectors.cli import replay as replay_command
from collectors.cli.output import NO, UNUSABLE, USAGE, complain
from collectors.sources.tape import RecordingError
from collectors.store.errors import StoreError
from collectors.validation import ConfigError

app = typer.Typer(
    name="mangaops",
    help="Operations console for a vLLM chat: why it was slow, whether it keeps its promises, what to do.",
    epilog="Exit codes: 0 done; 1 the answer is no; 2 usage or settings wrong; 3 store or recording broken.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
rules = typer.Typer(help="Alert rules and SLOs as files.", no_args_is_help=True)
app.add_typer(rules, name="rules")
stack = typer.Typer(help="The staging stack.", no_args_is_help=True)
app.add_typer(stack, name="staging")
drill = typer.Typer(help="Drills against the staging stack.", no_args_is_help=True)
app.add_typer(drill, name="drill")

app.command("up")(run.up)
app.command("collect")(run.collect)
app.command("console")(run.console)
app.command("replay")(replay_command.replay)
app.command("backfill")(backfill.backfill)
app.command("slo")(judged.slo)
app.command("readings")(judged.readings)
app.command("explain")(explain.explain)
app.command("incidents")(incidents.incidents)
app.command("declare")(declare.declare)
app.command("prefix")(prefix.prefix)
app.command("scope")(scope.scope)
app.command("doctor")(check.doctor)
rules.command("check")(check.rules_check)
stack.command("up", context_settings=staging.HANDED_ON)(staging.up)
drill.command("run", context_settings=staging.HANDED_ON)(staging.run)
drill.command("list", context_settings=staging.HANDED_ON)(staging.drills)


def main() -> None:
    """Run the command named on the command line and leave with its exit code."""
    sys.meta_path.insert(0, _WithoutPandas())
    try:
        app()
    except ConfigError as error:
        complain(error)
        sys.exit(USAGE)
    except (StoreError, RecordingError) as error:
        complain(error)
        sys.exit(UNUSABLE)
    except ValueError as error:
        complain(error)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(NO)


class _WithoutPandas(MetaPathFinder):
    """Keeps pyarrow from importing pandas, as it does where it can: a second and 55 MB for nothing here."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the protocol
        """Every other module is looked for as usual."""
        if fullname == "pandas":
            raise ModuleNotFoundError("the command line does without pandas", name=fullname)
