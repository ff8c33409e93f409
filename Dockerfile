# Page and worker:           docker build --tag thaw .
# A served model, no torch:  docker build --tag thaw-serve --target serve .
#
# The torch that pip takes by itself runs with NVIDIA GPUs and without, and is large. For machines without a GPU name the
# address of the CPU builds that pytorch.org tells: --build-arg TORCH_INDEX=ADDRESS
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV THAW_HOME=/data THAW_LOG=json
RUN useradd --create-home --uid 1000 thaw && mkdir /data && chown thaw /data
WORKDIR /app

FROM base AS serve
COPY requirements-serve.txt ./
RUN pip install -r requirements-serve.txt
COPY learner learner
COPY recipes recipes
USER thaw
EXPOSE 8600
ENTRYPOINT ["python", "-m", "learner", "serve", "--host", "0.0.0.0"]
CMD ["/data/model.onnx"]

FROM base AS app
ARG TORCH_INDEX=""
COPY requirements.txt requirements-dev.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
      grep -E "^torch(vision)?==" requirements.txt > torch.txt && pip install --index-url "$TORCH_INDEX" -r torch.txt; \
    fi
RUN pip install -r requirements.txt $(grep "^s3fs==" requirements-dev.txt)
COPY tools/web_runtime.py tools/web_runtime.py
COPY learner learner
RUN PYTHONPATH=. python tools/web_runtime.py
COPY . .
USER thaw
EXPOSE 8501
ENV STREAMLIT_SERVER_ADDRESS=0.0.0.0
CMD ["python", "-m", "ui.server"]
