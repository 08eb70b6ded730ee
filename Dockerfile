# One image for every service: `tokn edge`, `tokn worker …`, `tokn ledger`, `tokn console`, and the nats-server of its wheel.
# Base images are build arguments. A folder `wheels/` beside this file, if there is one, is installed from instead of an index.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.lock wheels* /src/wheels/
RUN python3 -m venv /opt/tokn \
    && if ls wheels/*.whl >/dev/null 2>&1; then set -- --no-index --find-links wheels; fi \
    && /opt/tokn/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps "$@" -r wheels/requirements.lock

FROM ${PYTHON_IMAGE}
# A volume that is mounted on one of these folders first belongs to their owner: nothing has to run as root.
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/tokn tokn \
    && install -d -o tokn /data /secrets /secrets/nats /secrets/postgres /secrets/edge /secrets/worker /secrets/ledger \
       /secrets/command /secrets/console /secrets/worker-sandbox /secrets/worker-openai /secrets/worker-anthropic /secrets/worker-gemini \
       /secrets/worker-bedrock
COPY --from=build /opt/tokn /opt/tokn
COPY LICENSE NOTICE /opt/tokn/src/
COPY console /opt/tokn/src/console
COPY edge /opt/tokn/src/edge
COPY ledger /opt/tokn/src/ledger
COPY runtime /opt/tokn/src/runtime
COPY schemas /opt/tokn/src/schemas
COPY tokn /opt/tokn/src/tokn
COPY web /opt/tokn/src/web
COPY workers /opt/tokn/src/workers
RUN echo /opt/tokn/src > "$(/opt/tokn/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tokn.pth" \
    && printf '#!/opt/tokn/bin/python\nimport sys\nfrom tokn.__main__ import main\nsys.exit(main())\n' > /opt/tokn/bin/tokn \
    && chmod +x /opt/tokn/bin/tokn \
    && /opt/tokn/bin/python -m compileall -q /opt/tokn/src/console /opt/tokn/src/edge /opt/tokn/src/ledger /opt/tokn/src/runtime \
       /opt/tokn/src/schemas /opt/tokn/src/tokn /opt/tokn/src/web /opt/tokn/src/workers
ENV PATH=/opt/tokn/bin:$PATH PYTHONUNBUFFERED=1
USER tokn
WORKDIR /var/lib/tokn
ENTRYPOINT ["tokn"]
