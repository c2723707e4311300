# Carillon in a container: only what runs, as a user without rights, on a root file system that may be read-only.
# Not run by the tests of this repository: see docs/operate.md, "Containers".

# npm is needed to build alone; the Node that runs Carillon comes with its packages (docs/decisions/0003).
FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY protocol/package.json protocol/
COPY sdk/package.json sdk/
COPY console/package.json console/
COPY server/package.json server/
# No script of a package is run, as everywhere in this repository.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && node_modules/.bin/node --version
COPY protocol/src protocol/src
COPY sdk/src sdk/src
COPY server/src server/src
COPY LICENSE ./

FROM debian:bookworm-slim
# A number, so that an orchestrator can see that it is not root.
RUN install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /app /app
WORKDIR /app
ENV CARILLON_HTTP=0.0.0.0:8080 CARILLON_MQTT=0.0.0.0:1883 CARILLON_DATA=/data PATH=/app/node_modules/.bin:$PATH
USER 10001:10001
VOLUME /data
EXPOSE 8080 1883
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 \
  CMD ["/app/node_modules/.bin/node", "-e", "fetch('http://127.0.0.1:8080/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/app/node_modules/.bin/node", "/app/server/src/main.ts"]
CMD ["serve"]
