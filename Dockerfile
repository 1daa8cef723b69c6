# Every step is a script that the Makefile or CI runs too; a test parses this file and checks that they are there.
FROM debian:12-slim AS builder
WORKDIR /src
COPY scripts scripts
RUN scripts/apt_packages.sh build
COPY requirements.lock pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY _ext _ext
COPY kproxy kproxy
RUN scripts/setup.sh && scripts/wheel.sh

FROM builder AS test
COPY . .
RUN scripts/setup.sh test && scripts/lint.sh && scripts/test.sh

FROM debian:12-slim AS runtime
COPY --from=builder /src/dist /tmp/kproxy/dist
COPY scripts /tmp/kproxy/scripts
COPY requirements.lock /tmp/kproxy/
WORKDIR /tmp/kproxy
RUN scripts/install_wheel.sh dist /opt/kproxy && scripts/make_user.sh
USER kproxy
WORKDIR /var/lib/kproxy
ENV PATH=/opt/kproxy/bin:$PATH
ENTRYPOINT ["kproxy"]
CMD ["run", "--config", "/etc/kproxy/kproxy.yaml"]
