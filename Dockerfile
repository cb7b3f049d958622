# docker build -t tiebreak . && docker run -p 127.0.0.1:7860:7860 -v tiebreak:/home/tiebreak/app/.tiebreak tiebreak
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 tiebreak
USER tiebreak
WORKDIR /home/tiebreak/app

# torch's CPU build is a tenth of the size: pass the address of PyTorch's CPU wheels to get it,
# --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=
ENV PATH=/home/tiebreak/.local/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    NUMBA_CACHE_DIR=/home/tiebreak/.cache/numba \
    TIEBREAK_HOME=/home/tiebreak/app/.tiebreak

COPY --chown=tiebreak requirements.txt .
RUN pip install --user "$(grep '^torch==' requirements.txt)" && pip install --user -r requirements.txt

COPY --chown=tiebreak . .
RUN mkdir -p "$NUMBA_CACHE_DIR" .tiebreak && \
    python -m compileall -q app.py components merge_core && python -m merge_core.kernels

EXPOSE 7860
VOLUME /home/tiebreak/app/.tiebreak
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"]
CMD ["python", "app.py"]
