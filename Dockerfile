# One image for what is ours: collector, console, gateway and MLflow at the pinned versions.
FROM python:3.11-slim
WORKDIR /app
COPY requirements/run.txt requirements/staging.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/run.txt \
 && pip install --no-cache-dir --require-hashes -r requirements/staging.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
 && useradd --create-home mangaops && mkdir /data && chown mangaops /data
USER mangaops
CMD ["mangaops", "--help"]
