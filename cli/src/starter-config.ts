/** The files written by `scistream config init`; commented keys show their default or an example. */
export const STARTERS = {
  s2uc: `# Configuration of a SciStream user. Check it with: scistream config check --config FILE
# Facilities that you use, under names of your choice.
facilities:
  aps:
    s2cs: s2cs.aps.example:5000     # address of the control server
    # ca: aps-ca.crt                # CA to trust (default: the system's CAs)
    # fingerprint: "sha256:…"       # or trust exactly this certificate; the control server prints it
    # token: { file: aps.token }    # or { env: APS_TOKEN }
    # cert: alice.crt               # client certificate, with key: alice.key
    # auth: { use: oidc, issuer: https://login.aps.example, client: scistream }   # then: scistream login aps
  alcf:
    s2cs: gw.alcf.example:5000

# Stream documents, used as: scistream stream up tomo
streams:
  tomo:
    from: aps                       # facility of the producer (inbound side)
    to: alcf                        # facility of the consumers (outbound side)
    producer: [10.0.1.5:5001]       # address of the producer
    connections: 1
    # rate: 20Gbps
    # lifetime: 8h
    # proxy: haproxy
`,
  s2cs: `# Configuration of a SciStream control server. Check it with: s2cs --config FILE --check
facility: aps
listen: 127.0.0.1:5000              # the address that users reach
# tls: { cert: server.crt, key: server.key }   # default: self-signed; the fingerprint is printed at startup
# state: /var/lib/scistream
auth:
  - use: token                      # replace the entry with the output of: scistream token new --subject alice
    tokens: [{ subject: alice, sha256: "0000000000000000000000000000000000000000000000000000000000000000" }]
#   - use: oidc                     # OpenID Connect tokens; users run: scistream login
#     issuer: https://login.aps.example
#     audience: https://stream.aps.example
policy: policy.yaml                 # which users may reach which targets
audit: { file: audit.jsonl }        # a line for each decision; with systemd: /var/log/scistream/audit.jsonl
# limits: { streams: 1000, waiting: 1000, connections: 1024, helloTimeout: 180s, lifetime: 24h }
# encryption: optional              # also allow streams without encryption between the gateways (default: required)

gateways:
  - name: dtn1
    wan: 127.0.0.1                  # inbound listeners bind here: the address that other facilities reach
    lan: 127.0.0.1                  # outbound listeners bind here: the address that applications reach
    ports: 5100-5200
    proxy: relay                    # see: scistream proxies
    runtime: process                # see: scistream runtimes
    # s2ds: unix:/run/scistream/s2ds.sock      # default: embedded in the control server; or host:port with tls
    # capacity: 100Gbps

# proxies: { haproxy: { processes: 2 } }       # options of proxies
# plugins: ["@scistream/plugin-haproxy"]       # use only these installed plugins
`,
  s2ds: `# Configuration of the SciStream data server on a gateway node. Check it with: s2ds --config FILE --check
name: dtn1
listen: unix:/run/scistream/s2ds.sock          # the s2cs configuration names the same path under gateways
# state: /var/lib/scistream-s2ds
wan: 127.0.0.1                      # inbound listeners bind here: the address that other facilities reach
lan: 127.0.0.1                      # outbound listeners bind here: the address that applications reach
ports: 5100-5200
proxy: relay                        # see: scistream proxies
runtime: process                    # see: scistream runtimes
# proxies: { haproxy: { processes: 2 } }
`,
} as const;

/** The policy that belongs to the starter of `s2cs`. */
export const STARTER_POLICY = `# Rules of a SciStream control server. Requests that no rule allows are rejected.
# Test them with: scistream policy check --config s2cs.conf --as token:alice --role inbound --target 10.0.1.5:5001
rules:
  - name: producers                 # streams of data that this facility produces
    who: { identities: ["token:alice"] }
    roles: [inbound]
    # sources: [198.51.100.7]       # the gateway of the other facility
    targets: { networks: [10.0.1.5], ports: [5001-5002] }       # the producer
    limits: { streams: 4, connections: 16, lifetime: 24h }
  - name: consumers                 # streams of data that this facility consumes
    who: { identities: ["token:alice"] }
    roles: [outbound]
    # sources: [10.0.1.0/24]        # the consumers, and this gateway
    targets: { networks: [203.0.113.10], ports: [5100-5200] }   # the gateway of the other facility
    limits: { streams: 4, connections: 16, lifetime: 24h }
`;

/** The file of {@link STARTER_POLICY}, beside the configuration. */
export const STARTER_POLICY_FILE = 'policy.yaml';

/** The default file names. */
export const STARTER_FILES = { s2uc: 'scistream.config.yaml', s2cs: 's2cs.conf', s2ds: 's2ds.conf' } as const;
