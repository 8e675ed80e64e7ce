"""Which services an environment of containers has beside Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tradewind.local.errors import InvalidInput
from tradewind.local.postgres import USER
from tradewind.local.stack import layout
from tradewind.local.stack.images import Images

BROKERS = ("redis", "sqs")
"""What carries the tasks to the workers; the first is the default."""
OPTIONAL = ("mariadb", "warehouse")
"""Those that are there on demand alone."""


@dataclass(frozen=True)
class Services:
    """The services of one environment.

    :param broker: one of :data:`BROKERS`
    :param optional: those of :data:`OPTIONAL` that were asked for
    """

    broker: str
    optional: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names in the Compose file."""
        return ("postgres", *(("broker",) if self.broker == "redis" else ()), "aws", *self.optional)

    @property
    def passwords(self) -> tuple[str, ...]:
        """The names of the passwords that are drawn for them."""
        return ("database", "broker", *self.optional)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of what they keep."""
        return ("postgres", "s3", *self.optional)

    @property
    def reached(self) -> tuple[tuple[str, int], ...]:
        """Those that the machine is given a way to, by host and port in the private network."""
        found = {"mariadb": layout.MARIADB, "warehouse": layout.WAREHOUSE}
        return (layout.AWS, layout.POSTGRES, *(found[name] for name in self.optional))

    def warehouse_dsn(self, passwords: Mapping[str, str], ports: Mapping[str, int]) -> str:
        """Return the address of the database ``warehouse`` on this machine, its password in it.

        :param passwords: by their names
        :param ports: of this machine, by the services that they lead to
        """
        host, secret = ("warehouse", "warehouse") if "warehouse" in self.optional else ("postgres", "database")
        return f"postgresql://{USER}:{passwords[secret]}@127.0.0.1:{ports[host]}/warehouse"

    def beside(self, passwords: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
        """Return the addresses of the others on this machine by their names, likewise."""
        if "mariadb" not in self.optional:
            return {}
        return {"mariadb": f"mysql://{USER}:{passwords['mariadb']}@127.0.0.1:{ports['mariadb']}/warehouse"}

    def images(self, found: Images) -> tuple[str, ...]:
        """Return the images that the environment needs, Airflow's included.

        :param found: those that there are
        """
        return (found.airflow, found.services, *((found.mariadb,) if "mariadb" in self.optional else ()))

    def variables(self, profiles: str) -> dict[str, str]:
        """Return what the Compose file asks for.

        :param profiles: Airflow's profiles
        """
        redis = ("redis",) if self.broker == "redis" else ()
        return {"COMPOSE_PROFILES": ",".join((profiles, *redis, *self.optional)), "TRADEWIND_BROKER": self.broker}


def chosen(broker: str, optional: Iterable[str]) -> Services:
    """Return the services of an environment.

    :param broker: what carries the tasks
    :param optional: the names of those that are there on demand alone
    :raises InvalidInput: for a name that there is not
    """
    if broker not in BROKERS:
        raise InvalidInput(f"there is no broker {broker!r}: choose of {', '.join(BROKERS)}")
    names = tuple(sorted(set(optional)))
    for name in names:
        if name not in OPTIONAL:
            raise InvalidInput(f"there is no service {name!r}: choose of {', '.join(OPTIONAL)}")
    return Services(broker, names)
