# docker build -t pruning-explorer --build-arg TORCH_INDEX=<address of PyTorch's CPU wheels> .
# docker run --read-only --tmpfs /tmp -v data:/data -p 8501:8501 -e PRUNING_EXPLORER_TOKEN pruning-explorer
FROM python:3.11-slim AS build
# Without it, pip installs the usual, larger torch.
ARG TORCH_INDEX=""
WORKDIR /build
RUN python -m venv /app
COPY requirements.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        grep -E '^torch(vision)?==' requirements.txt | xargs /app/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX"; \
    fi && /app/bin/pip install --no-cache-dir -r requirements.txt
COPY pyproject.toml README.md LICENSE app.py ./
COPY .streamlit .streamlit
COPY pruning_core pruning_core
COPY explorer explorer
RUN /app/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
COPY --from=build /app /app
# A new volume at /data takes the owner of this folder.
RUN useradd --uid 10001 --no-create-home explorer && install -d -o explorer -g explorer /data
USER 10001
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PRUNING_EXPLORER_DATA=/data \
    PRUNING_EXPLORER_LOG_FORMAT=json
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=60s --timeout=10s \
    CMD ["/app/bin/python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
ENTRYPOINT ["/app/bin/pruning-explorer", "--host", "0.0.0.0"]
