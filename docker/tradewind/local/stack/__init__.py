"""The environment in containers, as MWAA lays it out: what runs inside of them, and what starts them.

``Dockerfile`` and ``compose.yaml`` lie beside this file. On the machine: ``engine``, ``images``, ``compose``,
``forward``, ``reaper``. Inside: ``component`` (the parts of Airflow), ``serve`` (PostgreSQL, broker, AWS), and what
they need.
"""
