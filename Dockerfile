# The project's environment: docker build -t gad . && docker run --rm -it -v $PWD:/gad gad make test
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /pins
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/python -m pip install --requirement requirements.lock
# the project itself is mounted: its own folder decides, with nothing installed anew
ENV PATH=/venv/bin:$PATH VIRTUAL_ENV=/venv GAD_ENVIRONMENT=/venv
ENV PYTHONPATH=/gad/src JUPYTER_CONFIG_PATH=/gad/etc/jupyter
RUN printf '#!/venv/bin/python\nfrom gad.runtime.commands import gad_command\n\ngad_command()\n' > /venv/bin/gad && \
    chmod +x /venv/bin/gad
RUN git config --system --add safe.directory /gad
WORKDIR /gad
CMD ["bash"]
